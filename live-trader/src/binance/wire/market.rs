//! Bars and quotes, over REST and on streams.

use polybolos_engine::signals::Bar;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::order::WireError;
use crate::symbol::Symbol;

/// A row of `klines`: twelve values, of which the last means nothing.
#[derive(Deserialize)]
struct WireRow(
    i64,
    #[serde(deserialize_with = "number")] f64,
    #[serde(deserialize_with = "number")] f64,
    #[serde(deserialize_with = "number")] f64,
    #[serde(deserialize_with = "number")] f64,
    #[serde(deserialize_with = "number")] f64,
    i64,
    #[serde(deserialize_with = "number")] f64,
    i64,
    #[serde(deserialize_with = "number")] f64,
    #[serde(deserialize_with = "number")] f64,
    #[expect(dead_code, reason = "the row is a tuple of twelve")] Value,
);

/// Numbers of bars come as text; the nearest double of the text is what datasets hold too.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    let value: f64 = text.parse().map_err(serde::de::Error::custom)?;
    if value.is_finite() { Ok(value) } else { Err(serde::de::Error::custom("a number that is not finite")) }
}

/// A page of `klines`: bars, each with the time at which it closes, both UTC milliseconds.
pub(crate) fn klines(document: Value) -> Result<Vec<(Bar, i64)>, WireError> {
    let rows: Vec<WireRow> = serde_json::from_value(document)?;
    let bar = |row: WireRow| {
        let bar = Bar {
            open_time_ms: row.0,
            open: row.1,
            high: row.2,
            low: row.3,
            close: row.4,
            volume: row.5,
            quote_volume: row.7,
            trades: row.8 as f64,
            taker_buy_volume: row.9,
            taker_buy_quote_volume: row.10,
        };
        (bar, row.6)
    };
    Ok(rows.into_iter().map(bar).collect())
}

/// The answer to `ticker/price` for one pair.
pub(crate) fn price(document: Value) -> Result<Decimal, WireError> {
    #[derive(Deserialize)]
    struct Price {
        price: Decimal,
    }
    Ok(serde_json::from_value::<Price>(document)?.price)
}

/// The answer to `time`.
pub(crate) fn server_time(document: Value) -> Result<i64, WireError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Time {
        server_time: i64,
    }
    Ok(serde_json::from_value::<Time>(document)?.server_time)
}

/// A pair's last 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DayStatistics {
    /// The pair.
    pub symbol: Symbol,
    /// Newest price.
    pub last_price: Decimal,
    /// Highest price.
    pub high_price: Decimal,
    /// Lowest price.
    pub low_price: Decimal,
    /// Best price to sell at; 0 without one.
    pub bid_price: Decimal,
    /// Best price to buy at; 0 without one.
    pub ask_price: Decimal,
    /// Quote units traded.
    pub quote_volume: Decimal,
    /// Trades.
    pub count: i64,
}

/// The answer to `ticker/24hr` for all pairs.
pub(crate) fn day_statistics(document: Value) -> Result<Vec<DayStatistics>, WireError> {
    Ok(serde_json::from_value(document)?)
}

/// What a message on a market stream says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StreamMessage {
    /// A bar that has closed.
    Closed {
        symbol: Symbol,
        bar: Bar,
    },
    /// A bar that is still open: proof that the stream lives.
    Open,
    Quote {
        symbol: Symbol,
        bid: Decimal,
        ask: Decimal,
    },
    /// The answer to a control message.
    Control {
        id: i64,
        error: Option<String>,
    },
    /// The server goes away soon.
    Shutdown,
    /// Something else.
    Other,
}

#[derive(Deserialize)]
struct Frame {
    data: Option<Payload>,
    id: Option<i64>,
    error: Option<Value>,
    code: Option<i64>,
    msg: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    e: Option<String>,
    s: Option<Symbol>,
    k: Option<WireKline>,
    b: Option<Decimal>,
    a: Option<Decimal>,
}

#[derive(Deserialize)]
struct WireKline {
    t: i64,
    #[serde(deserialize_with = "number")]
    o: f64,
    #[serde(deserialize_with = "number")]
    h: f64,
    #[serde(deserialize_with = "number")]
    l: f64,
    #[serde(deserialize_with = "number")]
    c: f64,
    #[serde(deserialize_with = "number")]
    v: f64,
    n: i64,
    x: bool,
    #[serde(deserialize_with = "number")]
    q: f64,
    #[serde(rename = "V", deserialize_with = "number")]
    taker_volume: f64,
    #[serde(rename = "Q", deserialize_with = "number")]
    taker_quote_volume: f64,
}

impl WireKline {
    fn bar(&self) -> Bar {
        Bar {
            open_time_ms: self.t,
            open: self.o,
            high: self.h,
            low: self.l,
            close: self.c,
            volume: self.v,
            quote_volume: self.q,
            trades: self.n as f64,
            taker_buy_volume: self.taker_volume,
            taker_buy_quote_volume: self.taker_quote_volume,
        }
    }
}

/// A text frame of a market stream, raw or combined.
pub(crate) fn stream_message(text: &str) -> Result<StreamMessage, WireError> {
    let frame: Frame = serde_json::from_str(text)?;
    if let Some(payload) = frame.data {
        return Ok(payload.message());
    }
    if let Some(id) = frame.id {
        let error = frame.error.map(|error| error.to_string()).or(frame.code.and(frame.msg));
        return Ok(StreamMessage::Control { id, error });
    }
    Ok(serde_json::from_str::<Payload>(text)?.message())
}

impl Payload {
    fn message(self) -> StreamMessage {
        match (self.e.as_deref(), self.s, self.k, self.b, self.a) {
            (Some("serverShutdown"), ..) => StreamMessage::Shutdown,
            (Some("kline"), Some(symbol), Some(kline), ..) if kline.x => {
                StreamMessage::Closed { symbol, bar: kline.bar() }
            }
            (Some("kline"), Some(_), Some(_), ..) => StreamMessage::Open,
            (None | Some("bookTicker"), Some(symbol), None, Some(bid), Some(ask)) => {
                StreamMessage::Quote { symbol, bid, ask }
            }
            _ => StreamMessage::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kline(is_closed: bool) -> Value {
        json!({"e": "kline", "E": 1672515782136_i64, "s": "BNBBTC", "k": {
            "t": 1672515780000_i64, "T": 1672515839999_i64, "s": "BNBBTC", "i": "1m", "f": 100, "L": 200, "o": "0.0010",
            "c": "0.0020", "h": "0.0025", "l": "0.0015", "v": "1000", "n": 100, "x": is_closed, "q": "1.0000",
            "V": "500", "Q": "0.500", "B": "123456"}})
    }

    #[test]
    fn a_bar_of_the_stream_is_the_bar_of_the_page() {
        let page = json!([[
            1672515780000_i64,
            "0.0010",
            "0.0025",
            "0.0015",
            "0.0020",
            "1000",
            1672515839999_i64,
            "1.0000",
            100,
            "500",
            "0.500",
            "0"
        ]]);
        let bars = klines(page).unwrap();
        assert_eq!(bars[0].1, 1_672_515_839_999);
        for text in
            [kline(true).to_string(), json!({"stream": "bnbbtc@kline_1m", "data": kline(true)}).to_string()]
        {
            let expected = StreamMessage::Closed { symbol: Symbol::new("BNBBTC"), bar: bars[0].0 };
            assert_eq!(stream_message(&text).unwrap(), expected);
        }
        assert_eq!(stream_message(&kline(false).to_string()).unwrap(), StreamMessage::Open);
        for broken in ["\"NaN\"", "\"inf\"", "\"\"", "1.5", "null"] {
            let text = kline(true).to_string().replace("\"0.0025\"", broken);
            assert!(stream_message(&text).is_err(), "{broken}");
        }
    }

    #[test]
    fn quotes_answers_and_novelties_are_told_apart() {
        let quote = r#"{"u":400900217,"s":"BNBUSDT","b":"25.3519","B":"31.21","a":"25.3652","A":"40.66"}"#;
        let expected = StreamMessage::Quote {
            symbol: Symbol::new("BNBUSDT"),
            bid: Decimal::new(253_519, 4),
            ask: Decimal::new(253_652, 4),
        };
        assert_eq!(stream_message(quote).unwrap(), expected);
        let cases = [
            (r#"{"result":null,"id":3}"#, StreamMessage::Control { id: 3, error: None }),
            (
                r#"{"code":2,"msg":"Invalid request","id":4}"#,
                StreamMessage::Control { id: 4, error: Some("Invalid request".to_owned()) },
            ),
            (r#"{"e":"serverShutdown","E":1}"#, StreamMessage::Shutdown),
            (r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#, StreamMessage::Shutdown),
            (r#"{"e":"weather","E":1,"s":"X"}"#, StreamMessage::Other),
        ];
        for (text, expected) in cases {
            assert_eq!(stream_message(text).unwrap(), expected, "{text}");
        }
        assert!(stream_message("<html>").is_err());
    }
}
