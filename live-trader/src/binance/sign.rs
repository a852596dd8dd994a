//! Parameters of a request and the two ways they are signed.
//!
//! REST signs the query string as it is sent, percent-encoded. The WebSocket API signs all parameters sorted by name and not
//! encoded. No request is made of text that was signed in another form than it travels in.

use std::borrow::Cow;
use std::fmt::Write as _;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

use super::secrets::Credentials;

/// One value: decimals and names travel as JSON strings, ids and times as JSON integers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Param {
    Text(String),
    Number(i64),
}

impl Param {
    fn plain(&self) -> Cow<'_, str> {
        match self {
            Param::Text(text) => Cow::Borrowed(text),
            Param::Number(number) => Cow::Owned(number.to_string()),
        }
    }
}

type Name = Cow<'static, str>;

/// Named values in the order in which they were added; written as the `params` object of a WebSocket API request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(Name, Param)>);

impl Params {
    pub(crate) fn text(self, name: impl Into<Name>, value: impl Into<String>) -> Params {
        self.with(name.into(), Param::Text(value.into()))
    }

    pub(crate) fn number(self, name: impl Into<Name>, value: i64) -> Params {
        self.with(name.into(), Param::Number(value))
    }

    fn with(mut self, name: Name, value: Param) -> Params {
        self.0.push((name, value));
        self
    }

    /// Without trailing zeros: the exchange counts digits.
    pub(crate) fn decimal(self, name: impl Into<Name>, value: Decimal) -> Params {
        self.text(name, value.normalize().to_string())
    }

    pub(crate) fn optional(self, name: impl Into<Name>, value: Option<i64>) -> Params {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    /// `name=value&...`, percent-encoded, as it is sent and signed over REST.
    pub(crate) fn query(&self) -> String {
        let mut query = String::new();
        for (name, value) in &self.0 {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            percent_encode(&value.plain(), &mut query);
        }
        query
    }

    /// [`Params::query`] with its signature at the end.
    pub(crate) fn signed_query(&self, credentials: &Credentials) -> String {
        let mut query = self.query();
        let signature = credentials.sign(&query);
        query.push_str("&signature=");
        percent_encode(&signature, &mut query);
        query
    }

    /// `name=value&...` sorted by name and not encoded, as it is signed for the WebSocket API.
    pub(crate) fn sorted(&self) -> String {
        let mut pairs: Vec<(&str, Cow<'_, str>)> =
            self.0.iter().map(|(name, value)| (name.as_ref(), value.plain())).collect();
        pairs.sort();
        let mut text = String::with_capacity(512);
        for (name, value) in pairs {
            for part in [if text.is_empty() { "" } else { "&" }, name, "=", &value] {
                text.push_str(part);
            }
        }
        text
    }

    /// With the API key and the signature of the WebSocket API.
    pub(crate) fn signed(self, credentials: &Credentials) -> Params {
        let with_key = self.text("apiKey", credentials.api_key());
        let signature = credentials.sign(&with_key.sorted());
        with_key.text("signature", signature)
    }
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// RFC 3986: everything but the unreserved characters as `%XX` of its UTF-8 bytes.
pub(crate) fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::binance::secrets::KeyKind;

    const SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";
    const KEY: &str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
    /// Test 1 of RFC 8032.
    const PEM_BODY: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";

    fn credentials(kind: KeyKind, key: &str, secret: &str) -> Credentials {
        Credentials::new(kind, SecretString::from(key), SecretString::from(secret)).unwrap()
    }

    fn json(params: Params) -> serde_json::Value {
        serde_json::to_value(params).unwrap()
    }

    fn limit_order(symbol: &str) -> Params {
        Params::default()
            .text("symbol", symbol)
            .text("side", "BUY")
            .text("type", "LIMIT")
            .text("timeInForce", "GTC")
            .text("quantity", "1")
            .text("price", "0.1")
            .number("recvWindow", 5000)
            .number("timestamp", 1499827319559)
    }

    #[test]
    fn rest_signatures_are_the_published_ones() {
        let hmac = credentials(KeyKind::Hmac, KEY, SECRET);
        for (symbol, sent, signature) in [
            ("LTCBTC", "LTCBTC", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
            (
                "１２３４５６",
                "%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96",
                "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
            ),
        ] {
            let query = limit_order(symbol).signed_query(&hmac);
            assert!(query.starts_with(&format!("symbol={sent}&side=BUY")), "{query}");
            assert!(query.ends_with(&format!("&signature={signature}")), "{query}");
        }
        // A query and a body are signed as one text, without anything between.
        let joined = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559";
        assert_eq!(hmac.sign(joined), "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77");
    }

    #[test]
    fn ed25519_signatures_are_those_of_the_rfcs_key() {
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{PEM_BODY}\n-----END PRIVATE KEY-----\n");
        for secret in [PEM_BODY, &pem] {
            let ed25519 = credentials(KeyKind::Ed25519, KEY, secret);
            let params = Params::default()
                .text("symbol", "BTCUSDT")
                .text("side", "SELL")
                .text("type", "LIMIT")
                .text("timeInForce", "GTC")
                .text("quantity", "1")
                .text("price", "0.2")
                .number("timestamp", 1668481559918)
                .number("recvWindow", 5000);
            let signature =
                "XtZirsmmi0noRzUfkqktvkVfxpkq/WtbLg2UOL3QGYdUBZVlqOBEMuEVw8zioY93N54NcKj9UuAXQEa9zgTDBg==";
            assert_eq!(ed25519.sign(&params.query()), signature);
            let encoded = signature.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
            assert!(params.signed_query(&ed25519).ends_with(&format!("&signature={encoded}")));
        }
        let logon = credentials(
            KeyKind::Ed25519,
            "4yNzx3yWC5bS6YTwEkSRaC0nRmSQIIStAUOh1b6kqaBrTLIhjCpI5lJH8q8R8WNO",
            PEM_BODY,
        );
        let signed = json(Params::default().number("timestamp", 1747385641636).signed(&logon));
        assert_eq!(
            signed["signature"],
            "pJBg0B+FverOfqH6iQP4ZqVsmwmEs0iET0zc6TrrELGicygzqHHGrNXZYyYzXp1p1HrI8muZ8tHKeqZ2OVkPCA=="
        );
    }

    #[test]
    fn websocket_signatures_are_of_sorted_plain_text() {
        let hmac = credentials(KeyKind::Hmac, KEY, SECRET);
        let order = |symbol: &str, side: &str, price: &str, quantity: &str, window: i64| {
            let params = Params::default()
                .text("symbol", symbol)
                .text("side", side)
                .text("type", "LIMIT")
                .text("timeInForce", "GTC")
                .text("price", price)
                .text("quantity", quantity)
                .number("recvWindow", window)
                .number("timestamp", 1645423376532);
            json(params.signed(&hmac))
        };
        let signed = order("BTCUSDT", "SELL", "52000.00", "0.01000000", 100);
        assert_eq!(signed["signature"], "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24");
        assert!(signed["timestamp"].is_i64() && signed["price"].is_string());
        let signed = order("１２３４５６", "BUY", "0.10000000", "1.00000000", 5000);
        assert_eq!(signed["signature"], "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd");
    }

    #[test]
    fn numbers_are_sent_without_sign_exponent_or_trailing_zeros() {
        for (value, sent) in [("0.00001000", "0.00001"), ("100", "100"), ("0", "0"), ("1200.50", "1200.5")] {
            let query = Params::default().decimal("q", value.parse().unwrap()).query();
            assert_eq!(query, format!("q={sent}"));
        }
    }
}
