//! Choosing symbols: each filter, the ranking, and what is held.

use std::collections::BTreeSet;

use polybolos_live_trader::config::SelectionConfig;
use polybolos_live_trader::filters::{Grid, NotionalBounds, SymbolRules, SymbolStatus};
use polybolos_live_trader::selection::{Listing, Selected, Verdict, select};
use polybolos_live_trader::symbol::Symbol;
use rust_decimal::Decimal;

const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 1_000 * DAY_MS;

fn rules(name: &str) -> SymbolRules {
    SymbolRules {
        symbol: Symbol::new(name),
        base_asset: name.trim_end_matches("USDT").to_owned(),
        quote_asset: if name.ends_with("USDT") { "USDT" } else { "BTC" }.to_owned(),
        status: SymbolStatus::Trading,
        quote_quantity_allowed: true,
        oco_allowed: true,
        oto_allowed: true,
        price: Grid::default(),
        lot: Grid::default(),
        market_lot: Grid::default(),
        percent_price: None,
        notional: Some(NotionalBounds {
            min: 5.into(),
            min_to_market: true,
            max: None,
            max_to_market: false,
        }),
        max_orders: None,
        max_algo_orders: None,
        max_order_lists: None,
        max_position: None,
    }
}

/// Closes that alternate by a factor: log returns of +-ln(1.02).
fn closes() -> Vec<f64> {
    (0..40).map(|day| if day % 2 == 0 { 100.0 } else { 102.0 }).collect()
}

fn listing<'a>(rules: &'a SymbolRules, closes: &'a [f64], volume: i64) -> Listing<'a> {
    Listing {
        rules,
        quote_volume_24h: Some(volume.into()),
        quote: Some((Decimal::new(9_999, 2), Decimal::new(10_001, 2))),
        first_bar_ms: Some(NOW_MS - 100 * DAY_MS),
        daily_closes: closes,
    }
}

fn one(config: &SelectionConfig, change: impl FnOnce(&mut Listing<'_>)) -> Verdict {
    let (rules, closes) = (rules("AAAUSDT"), closes());
    let mut listing = listing(&rules, &closes, 1_000);
    change(&mut listing);
    select(config, "USDT", &[listing], &BTreeSet::new(), NOW_MS).pop().unwrap().verdict
}

#[test]
fn each_filter_keeps_out_what_is_on_its_wrong_side_and_what_it_does_not_know() {
    let decimal = |text: &str| Some(text.parse::<Decimal>().unwrap());
    let none = SelectionConfig::default;
    // The spread is 0.02 of 100: 2 bps. 30 returns of +-ln(1.02) have a deviation of 0.020141.
    let cases: [(SelectionConfig, SelectionConfig, &str); 6] = [
        (
            SelectionConfig { min_quote_volume_24h: decimal("1000"), ..none() },
            SelectionConfig { min_quote_volume_24h: decimal("1001"), ..none() },
            "min_quote_volume_24h",
        ),
        (
            SelectionConfig { max_spread_bps: decimal("2"), ..none() },
            SelectionConfig { max_spread_bps: decimal("1.9"), ..none() },
            "max_spread_bps",
        ),
        (
            SelectionConfig { min_age_days: Some(100), ..none() },
            SelectionConfig { min_age_days: Some(101), ..none() },
            "min_age_days",
        ),
        (
            SelectionConfig { min_volatility: decimal("0.0201"), ..none() },
            SelectionConfig { min_volatility: decimal("0.0202"), ..none() },
            "min_volatility",
        ),
        (
            SelectionConfig { max_volatility: decimal("0.0202"), ..none() },
            SelectionConfig { max_volatility: decimal("0.0201"), ..none() },
            "max_volatility",
        ),
        (
            SelectionConfig { max_min_notional: decimal("5"), ..none() },
            SelectionConfig { max_min_notional: decimal("4.9"), ..none() },
            "max_min_notional",
        ),
    ];
    for (wide, narrow, name) in cases {
        assert_eq!(one(&wide, |_| {}), Verdict::Ranked { rank: 1 }, "{name}");
        let verdict = one(&narrow, |_| {});
        assert!(
            matches!(&verdict, Verdict::Filtered { filter, .. } if filter == name),
            "{name}: {verdict:?}"
        );
    }
    let strict = SelectionConfig { max_spread_bps: decimal("5"), ..none() };
    for quote in [None, Some((Decimal::ZERO, Decimal::ONE)), Some((Decimal::TWO, Decimal::ONE))] {
        let verdict = one(&strict, |listing| listing.quote = quote);
        assert_eq!(verdict, Verdict::Unknown { what: "spread bps".to_owned() }, "{quote:?}");
    }
    let volatile = SelectionConfig { min_volatility: decimal("0.001"), ..none() };
    for bad in [&[][..], &[1.0; 30], &[f64::NAN; 31], &[0.0; 31]] {
        let verdict = one(&volatile, |listing| listing.daily_closes = bad);
        assert_eq!(verdict, Verdict::Unknown { what: "volatility".to_owned() }, "{bad:?}");
    }
    let old = SelectionConfig { min_age_days: Some(1), ..none() };
    assert_eq!(
        one(&old, |listing| listing.first_bar_ms = None),
        Verdict::Unknown { what: "age days".to_owned() }
    );
}

#[test]
fn lists_status_and_quote_asset_decide_first() {
    let with = |blacklist: &[&str], whitelist: &[&str]| SelectionConfig {
        blacklist: blacklist.iter().map(|&pattern| pattern.to_owned()).collect(),
        whitelist: whitelist.iter().map(|&pattern| pattern.to_owned()).collect(),
        ..SelectionConfig::default()
    };
    for (blacklist, whitelist, verdict) in [
        (["AAAUSDT"].as_slice(), [].as_slice(), Verdict::Blacklisted),
        (&["AA*"], &[], Verdict::Blacklisted),
        (&["*AUSDT"], &[], Verdict::Blacklisted),
        (&["*AAU*"], &[], Verdict::Blacklisted),
        (&["AAA", "*BUSDT", "B*"], &[], Verdict::Ranked { rank: 1 }),
        (&[], &["BBBUSDT"], Verdict::NotWhitelisted),
        (&[], &["A*"], Verdict::Ranked { rank: 1 }),
        (&["AAAUSDT"], &["AAAUSDT"], Verdict::Blacklisted),
    ] {
        assert_eq!(one(&with(blacklist, whitelist), |_| {}), verdict, "{blacklist:?} {whitelist:?}");
    }
    let halted = SymbolRules { status: SymbolStatus::Halted, ..rules("AAAUSDT") };
    let other = rules("AAABTC");
    let closes = closes();
    for (rules, verdict) in [(&halted, Verdict::NotTrading), (&other, Verdict::OtherQuoteAsset)] {
        let judged = select(
            &SelectionConfig::default(),
            "USDT",
            &[listing(rules, &closes, 9)],
            &BTreeSet::new(),
            NOW_MS,
        );
        assert_eq!(judged[0].verdict, verdict);
    }
}

#[test]
fn the_largest_are_taken_and_what_is_held_stays_whatever_the_filters_say() {
    let all: Vec<SymbolRules> = ["DDDUSDT", "AAAUSDT", "CCCUSDT", "BBBUSDT"].map(rules).into();
    let closes = closes();
    let listings: Vec<Listing<'_>> =
        all.iter().zip([10, 30, 20, 20]).map(|(rules, volume)| listing(rules, &closes, volume)).collect();
    let config = SelectionConfig {
        max_symbols: 2,
        min_quote_volume_24h: Some(11.into()),
        ..SelectionConfig::default()
    };
    let verdicts = |held: &[&str]| {
        let held = held.iter().map(|name| Symbol::new(name)).collect();
        let judged = select(&config, "USDT", &listings, &held, NOW_MS);
        assert!(judged.windows(2).all(|pair| pair[0].symbol < pair[1].symbol), "by name");
        judged
            .into_iter()
            .map(|Selected { symbol, verdict }| (symbol.to_string(), verdict.is_in()))
            .collect::<Vec<_>>()
    };
    let named = |list: &[(&str, bool)]| {
        list.iter().map(|(name, is_in)| ((*name).to_owned(), *is_in)).collect::<Vec<_>>()
    };
    // Equal volumes by name.
    assert_eq!(
        verdicts(&[]),
        named(&[("AAAUSDT", true), ("BBBUSDT", true), ("CCCUSDT", false), ("DDDUSDT", false)])
    );
    assert_eq!(
        verdicts(&["DDDUSDT"]),
        named(&[("AAAUSDT", true), ("BBBUSDT", false), ("CCCUSDT", false), ("DDDUSDT", true)])
    );
    let gone = verdicts(&["DDDUSDT", "EEEUSDT", "CCCUSDT"]);
    assert_eq!(
        gone,
        named(&[
            ("AAAUSDT", false),
            ("BBBUSDT", false),
            ("CCCUSDT", true),
            ("DDDUSDT", true),
            ("EEEUSDT", true)
        ])
    );
}
