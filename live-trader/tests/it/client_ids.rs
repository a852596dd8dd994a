//! Client order ids: the same for the same intention, different for any other, and accepted by the exchange.

use std::collections::BTreeSet;

use polybolos_live_trader::client_id::{ClientId, Intent};
use polybolos_live_trader::symbol::Symbol;

const INTENTS: [Intent; 7] = [
    Intent::Entry,
    Intent::Exit,
    Intent::Stop,
    Intent::Target,
    Intent::Protection,
    Intent::Flatten,
    Intent::Cancel,
];

#[test]
fn an_id_is_a_function_of_what_the_order_is_for() {
    let mut seen = BTreeSet::new();
    for bot in ["alpha", "beta"] {
        for symbol in ["BTCUSDT", "ETHUSDT", "这是测试币456"] {
            for bar_open_ms in [0, 1_700_000_000_000, 1_700_000_060_000] {
                for intent in INTENTS {
                    for attempt in [0, 1, 35, 36] {
                        let make = || ClientId::new(bot, &Symbol::new(symbol), bar_open_ms, intent, attempt);
                        assert_eq!(make(), make());
                        assert_eq!(make().intent(), Some(intent));
                        assert_eq!(
                            (make().is_of("alpha"), make().is_of("beta")),
                            (bot == "alpha", bot == "beta")
                        );
                        assert!(seen.insert(make()), "{} twice", make());
                    }
                }
            }
        }
    }
}

#[test]
fn every_id_is_one_that_the_exchange_accepts() {
    for symbol in ["BTCUSDT", "这是测试币456"] {
        let id = ClientId::new(
            "a bot with a name of some length",
            &Symbol::new(symbol),
            i64::MAX,
            Intent::Protection,
            u16::MAX,
        );
        assert!(id.as_str().len() <= 36, "{id} has {} characters", id.as_str().len());
        assert!(
            id.as_str()
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
        );
    }
}

#[test]
fn an_order_that_somebody_placed_by_hand_is_nobodys() {
    for text in ["web_0a1b", "", "x-abc", "p"] {
        assert!(!ClientId::from_wire(text).is_of("alpha"), "{text}");
    }
}
