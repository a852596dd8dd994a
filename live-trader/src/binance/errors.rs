//! What an answer that is not a result says about the request: one table of the exchange's codes, one of HTTP statuses.
//!
//! The question is always the same: was it done? Where the exchange leaves that open, so does this file.

use super::secrets::Credentials;

/// What is known of a request that has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Perhaps done.
    Unknown,
    /// Perhaps done, by an earlier request: an open order of this client id exists.
    Duplicate,
    /// Not done: this address asks too much.
    Throttled,
    /// Not done: this account has too many new orders.
    OrdersThrottled,
    /// Not done: this address is banned.
    Banned,
    /// Not done: a firewall stands before the exchange.
    Blocked,
    /// Not done: the timestamp was outside its window.
    Clock,
    /// Not done, and would be refused again.
    Refused,
    /// Nothing of that id.
    NotFound,
    /// Not done, and nothing will be: the key, the account or the region is refused.
    Halt,
}

/// A code of the exchange, and what it means. The first row that fits counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodeRow {
    /// First and last code of the row.
    pub(crate) codes: (i32, i32),
    /// Part of the message, for codes that mean several things.
    pub(crate) text: Option<&'static str>,
    pub(crate) class: Class,
}

const fn row(code: i32, class: Class) -> CodeRow {
    CodeRow { codes: (code, code), text: None, class }
}

const fn text(code: i32, text: &'static str, class: Class) -> CodeRow {
    CodeRow { codes: (code, code), text: Some(text), class }
}

const fn range(first: i32, last: i32, class: Class) -> CodeRow {
    CodeRow { codes: (first, last), text: None, class }
}

/// Codes that stand in a body with status 400 or 401 (an order can be known to be not done only there).
pub(crate) const CODES: &[CodeRow] = &[
    row(-1000, Class::Unknown),
    row(-1001, Class::Unknown),
    row(-1002, Class::Halt),
    row(-1003, Class::Throttled),
    row(-1006, Class::Unknown),
    row(-1007, Class::Unknown),
    row(-1008, Class::Unknown),
    row(-1013, Class::Refused),
    row(-1014, Class::Refused),
    row(-1015, Class::OrdersThrottled),
    row(-1016, Class::Halt),
    row(-1020, Class::Refused),
    row(-1021, Class::Clock),
    row(-1022, Class::Refused),
    range(-1199, -1100, Class::Refused),
    range(-1225, -1220, Class::Refused),
    text(-2010, "Duplicate order sent", Class::Duplicate),
    text(-2010, "This action is disabled on this account", Class::Halt),
    text(-2010, "This account may not place or cancel orders", Class::Halt),
    text(-2010, "Rest API trading is not enabled", Class::Halt),
    row(-2010, Class::Refused),
    text(-2011, "This action is disabled on this account", Class::Halt),
    text(-2011, "This account may not place or cancel orders", Class::Halt),
    row(-2011, Class::Refused),
    row(-2013, Class::NotFound),
    row(-2014, Class::Halt),
    row(-2015, Class::Halt),
    text(-2018, "does not exist", Class::NotFound),
    row(-2021, Class::Unknown),
    row(-2022, Class::Refused),
    row(-2026, Class::Refused),
    row(-2035, Class::Refused),
    row(-2036, Class::Refused),
    row(-2038, Class::Refused),
    row(-2039, Class::Refused),
    row(-2042, Class::Refused),
    row(-2043, Class::NotFound),
];

/// Statuses that decide by themselves, whatever the body says.
const STATUSES: &[(u16, u16, Class)] = &[
    (403, 403, Class::Blocked),
    (418, 418, Class::Banned),
    (451, 451, Class::Halt),
    (500, 599, Class::Unknown),
];

/// Statuses that mean "not done" where the body has no code that says more.
const DEFINITE: &[(u16, Class)] = &[
    (400, Class::Refused),
    (401, Class::Halt),
    (404, Class::Refused),
    (405, Class::Refused),
    (410, Class::Refused),
    (411, Class::Refused),
    (413, Class::Refused),
    (414, Class::Refused),
    (415, Class::Refused),
    (431, Class::Refused),
];

/// An answer that is not a result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Failure {
    /// The HTTP status, of the WebSocket API's answers too.
    pub(crate) status: u16,
    /// The exchange's code, 0 without one.
    pub(crate) code: i32,
    /// The exchange's words, short and without secrets.
    pub(crate) message: String,
    /// Seconds to wait, from `Retry-After`.
    pub(crate) retry_after_s: Option<i64>,
    /// Exchange time to wait for, from the WebSocket API.
    pub(crate) retry_at_server_ms: Option<i64>,
}

impl Failure {
    pub(crate) fn class(&self) -> Class {
        if let Some((_, _, class)) =
            STATUSES.iter().find(|(first, last, _)| (*first..=*last).contains(&self.status))
        {
            return *class;
        }
        if self.status == 429 {
            return if self.code == -1015 { Class::OrdersThrottled } else { Class::Throttled };
        }
        let fits = |row: &&CodeRow| {
            (row.codes.0..=row.codes.1).contains(&self.code)
                && row.text.is_none_or(|text| self.message.contains(text))
        };
        if let Some(row) = CODES.iter().find(fits) {
            return row.class;
        }
        let by_status = DEFINITE.iter().find(|(status, _)| *status == self.status);
        by_status.map_or(Class::Unknown, |(_, class)| *class)
    }

    /// What was said, for people.
    pub(crate) fn reason(&self) -> String {
        match (self.code, self.message.is_empty()) {
            (0, true) => format!("status {}", self.status),
            (0, false) => format!("status {}: {}", self.status, self.message),
            (code, _) => format!("status {}, code {code}: {}", self.status, self.message),
        }
    }

    /// The exchange time until which a ban lasts that the message itself names ("... IP banned until 1586146443000").
    pub(crate) fn banned_until_ms(&self) -> Option<i64> {
        let (_, rest) = self.message.split_once("banned until ")?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }
}

/// The message of an answer, shortened, and without the API key should the exchange have repeated it.
pub(crate) fn without_secrets(message: &str, credentials: Option<&Credentials>) -> String {
    const LONGEST: usize = 300;
    let short: String = message.chars().take(LONGEST).collect();
    match credentials {
        Some(credentials) => short.replace(credentials.api_key(), "[API key]"),
        None => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, code: i32, message: &str) -> Class {
        Failure { status, code, message: message.to_owned(), ..Failure::default() }.class()
    }

    #[test]
    fn every_row_of_the_table_is_reached_and_none_survives_a_5xx() {
        for row in CODES {
            for code in [row.codes.0, row.codes.1] {
                let message = row.text.map_or(String::new(), |text| format!("{text}."));
                assert_eq!(class(400, code, &message), row.class, "{code} {message}");
                for status in [500, 502, 503, 504] {
                    assert_eq!(class(status, code, &message), Class::Unknown, "{status} {code}");
                }
                assert_eq!(class(418, code, &message), Class::Banned);
            }
        }
    }

    #[test]
    fn what_the_exchange_leaves_open_stays_open() {
        for code in [-1000, -1001, -1006, -1007, -1008] {
            assert_eq!(class(400, code, ""), Class::Unknown, "{code}");
        }
        for status in [200, 202, 302, 408, 409, 422, 425, 500, 503, 504, 599] {
            assert_eq!(class(status, 0, ""), Class::Unknown, "{status}");
        }
    }

    #[test]
    fn messages_and_statuses_decide_where_codes_do_not() {
        let cases = [
            (400, -2010, "Account has insufficient balance for requested action.", Class::Refused),
            (400, -2010, "Order would immediately match and take.", Class::Refused),
            (400, -2010, "Duplicate order sent.", Class::Duplicate),
            (400, -2010, "This account may not place or cancel orders.", Class::Halt),
            (400, -2011, "Unknown order sent.", Class::Refused),
            (400, -2011, "Order was not canceled due to cancel restrictions.", Class::Refused),
            (400, -1121, "Invalid symbol.", Class::Refused),
            (400, -9999, "Something new.", Class::Refused),
            (400, 0, "", Class::Refused),
            (401, -2015, "Invalid API-key, IP, or permissions for action.", Class::Halt),
            (401, 0, "", Class::Halt),
            (403, 0, "", Class::Blocked),
            (404, 0, "", Class::Refused),
            (429, -1003, "Too many requests.", Class::Throttled),
            (429, -1015, "Too many new orders.", Class::OrdersThrottled),
            (429, 0, "", Class::Throttled),
            (418, -1003, "Way too many requests.", Class::Banned),
            (451, 0, "", Class::Halt),
        ];
        for (status, code, message, expected) in cases {
            assert_eq!(class(status, code, message), expected, "{status} {code} {message}");
        }
    }

    #[test]
    fn a_ban_names_its_end() {
        let failure = |message: &str| Failure { message: message.to_owned(), ..Failure::default() };
        let said =
            "Way too much request weight used; IP banned until 1586146443000. Please use WebSocket Streams";
        assert_eq!(failure(said).banned_until_ms(), Some(1_586_146_443_000));
        assert_eq!(failure("banned until further notice").banned_until_ms(), None);
    }
}
