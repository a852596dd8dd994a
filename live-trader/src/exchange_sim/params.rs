//! Parameters of a request, of either transport, and how the exchange reads them.

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::client_id::ClientId;
use crate::simulator::OrderRef;
use crate::symbol::Symbol;

/// Most decimals of a price or a quantity.
const MOST_DECIMALS: usize = 8;

/// Named values as plain text, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query string and a form; of a name in both the query's value counts.
    pub(super) fn of_query(query: &str, form: &str) -> Result<Params, Refusal> {
        let mut params = Params::default();
        for text in [query, form] {
            let before = params.0.len();
            for pair in text.split('&').filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let (name, value) = (percent_decode(name), percent_decode(value));
                match params.0.iter().position(|(known, _)| *known == name) {
                    Some(at) if at >= before => {
                        return Err(Refusal::bad(-1101, "Duplicate values for a parameter detected."));
                    }
                    Some(_) => {}
                    None => params.0.push((name, value)),
                }
            }
        }
        Ok(params)
    }

    /// Reads the `params` of a request of the WebSocket API.
    pub(super) fn of_json(map: &Map<String, Value>) -> Params {
        let plain = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Params(
            map.iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect(),
        )
    }

    /// `name=value&...` sorted by name, without the signature: what the WebSocket API signs.
    pub(super) fn sorted(&self) -> String {
        let mut pairs: Vec<&(String, String)> =
            self.0.iter().filter(|(name, _)| name != "signature").collect();
        pairs.sort();
        let joined: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        joined.join("&")
    }

    /// Refuses names that the request does not have.
    pub(super) fn check_known(&self, known: &[&str]) -> Result<(), Refusal> {
        const EVERYWHERE: [&str; 6] =
            ["apiKey", "signature", "timestamp", "recvWindow", "returnRateLimits", "computeCommissionRates"];
        let is_known = |name: &str| known.contains(&name) || EVERYWHERE.contains(&name);
        let read = self.0.iter().filter(|(name, _)| is_known(name)).count();
        match read == self.0.len() {
            true => Ok(()),
            false => Err(Refusal::bad(
                -1104,
                format!(
                    "Not all sent parameters were read; read '{read}' parameter(s) but was sent '{}'.",
                    self.0.len()
                ),
            )),
        }
    }

    /// A value that was sent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A value that must have been sent.
    pub(super) fn text(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| Refusal::missing(name))
    }

    pub(super) fn symbol(&self) -> Result<Symbol, Refusal> {
        Ok(Symbol::new(self.text("symbol")?))
    }

    /// Pairs named by `symbol` or by the JSON array `symbols`; `None` where neither was sent.
    pub(super) fn symbols(&self) -> Result<Option<Vec<Symbol>>, Refusal> {
        match (self.get("symbol"), self.get("symbols")) {
            (Some(_), Some(_)) => Err(Refusal::bad(
                -1128,
                "Combination of optional parameters invalid. Recommendation: 'symbol' or 'symbols'.",
            )),
            (Some(symbol), None) => Ok(Some(vec![Symbol::new(symbol)])),
            (None, Some(symbols)) => {
                let names: Vec<String> =
                    serde_json::from_str(symbols).map_err(|_| Refusal::not_valid("symbols"))?;
                Ok(Some(names.iter().map(|name| Symbol::new(name)).collect()))
            }
            (None, None) => Ok(None),
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        const RANGE: &str = "^[0-9]{1,20}$";
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        if value.is_empty() {
            return Err(Refusal::bad(-1105, format!("Parameter '{name}' was empty.")));
        }
        if !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::illegal(name, RANGE));
        }
        value.parse().map(Some).map_err(|_| Refusal::illegal(name, RANGE))
    }

    /// `limit`, between 1 and `most`.
    pub(super) fn limit(&self, default: usize, most: usize) -> Result<usize, Refusal> {
        let limit = match self.integer("limit")? {
            None => default,
            Some(limit) => usize::try_from(limit).unwrap_or(most),
        };
        match limit {
            0 => Err(Refusal::not_valid("limit")),
            limit => Ok(limit.min(most)),
        }
    }

    pub(super) fn decimal(&self, name: &str) -> Result<Option<Decimal>, Refusal> {
        const RANGE: &str = r"^([0-9]{1,20})(\.[0-9]{1,20})?$";
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        if value.is_empty() {
            return Err(Refusal::bad(-1105, format!("Parameter '{name}' was empty.")));
        }
        let (whole, part) = value.split_once('.').map_or((value, None), |(whole, part)| (whole, Some(part)));
        let is_number =
            |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !part.is_none_or(is_number) {
            return Err(Refusal::illegal(name, RANGE));
        }
        if part.is_some_and(|part| part.trim_end_matches('0').len() > MOST_DECIMALS) {
            return Err(Refusal::bad(-1111, format!("Parameter '{name}' has too much precision.")));
        }
        let number = part.map_or(whole.to_owned(), |part| format!("{whole}.{}", part.trim_end_matches('0')));
        number.trim_end_matches('.').parse().map(Some).map_err(|_| Refusal::illegal(name, RANGE))
    }

    pub(super) fn amount(&self, name: &str) -> Result<Decimal, Refusal> {
        self.decimal(name)?.ok_or_else(|| Refusal::missing(name))
    }

    pub(super) fn client_id(&self, name: &str) -> Result<Option<ClientId>, Refusal> {
        const RANGE: &str = "^[a-zA-Z0-9-_]{1,36}$";
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match (1..=36).contains(&value.len()) && value.bytes().all(is_letter) {
            true => Ok(Some(ClientId::from_wire(value))),
            false => Err(Refusal::illegal(name, RANGE)),
        }
    }

    /// What `number` and `id` name together; an error where neither was sent.
    pub(super) fn target(&self, number: &str, id: &str) -> Result<OrderRef, Refusal> {
        match (self.integer(number)?, self.client_id(id)?) {
            (Some(number), Some(id)) => Ok(OrderRef::Both(number, id)),
            (Some(number), None) => Ok(OrderRef::Number(number)),
            (None, Some(id)) => Ok(OrderRef::Client(id)),
            (None, None) => Err(Refusal::bad(
                -1102,
                format!("Param '{id}' or '{number}' must be sent, but both were empty/null!"),
            )),
        }
    }

    /// One of a closed set of words.
    pub(super) fn word<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
        refusal: impl Fn() -> Refusal,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let found = words.iter().find(|(word, _)| *word == value);
        found.map(|(_, meaning)| Some(*meaning)).ok_or_else(refusal)
    }
}

/// Text of a part of a query or a form.
pub(super) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, code.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_wins_over_a_form_and_a_doubled_name_is_refused() {
        let params = Params::of_query("symbol=%EF%BC%91A&side=BUY", "side=SELL&quantity=1").unwrap();
        assert_eq!(params.get("symbol"), Some("１A"));
        assert_eq!((params.get("side"), params.get("quantity")), (Some("BUY"), Some("1")));
        assert_eq!(Params::of_query("a=1&a=2", "").unwrap_err().code, -1101);
    }

    #[test]
    fn decimals_are_read_by_the_exchanges_grammar() {
        let read = |value: &str| Params::of_query(&format!("price={value}"), "").unwrap().decimal("price");
        for (text, value) in [("1", "1"), ("0.50000000", "0.5"), ("100.000000000", "100")] {
            assert_eq!(read(text).unwrap(), Some(value.parse().unwrap()), "{text}");
        }
        for (text, code) in
            [("-1", -1100), ("1e3", -1100), (".5", -1100), ("1.", -1100), ("0.123456789", -1111)]
        {
            assert_eq!(read(text).unwrap_err().code, code, "{text}");
        }
        assert_eq!(read("").unwrap_err().code, -1105);
    }

    #[test]
    fn unknown_names_are_counted() {
        let params = Params::of_query("symbol=A&timestamp=1&colour=red", "").unwrap();
        let refusal = params.check_known(&["symbol"]).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.message.as_str()),
            (-1104, "Not all sent parameters were read; read '2' parameter(s) but was sent '3'.")
        );
    }
}
