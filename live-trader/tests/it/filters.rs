//! Filters: what the exchange refuses is refused here first, and rounding never enlarges an order.

use polybolos_live_trader::filters::{Grid, NotionalBounds, PercentPrice, SymbolRules, SymbolStatus};
use polybolos_live_trader::order::{OrderKind, OrderSide, TimeInForce};
use polybolos_live_trader::symbol::Symbol;
use proptest::prelude::*;
use rust_decimal::Decimal;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn grid(min: &str, max: &str, step: &str) -> Grid {
    Grid { min: decimal(min), max: decimal(max), step: decimal(step) }
}

/// The ETHBTC pair as the exchange described it in June 2025.
fn ethbtc() -> SymbolRules {
    SymbolRules {
        symbol: Symbol::new("ETHBTC"),
        base_asset: "ETH".to_owned(),
        quote_asset: "BTC".to_owned(),
        status: SymbolStatus::Trading,
        quote_quantity_allowed: true,
        oco_allowed: true,
        oto_allowed: true,
        price: grid("0.00001000", "922327.00000000", "0.00001000"),
        lot: grid("0.00010000", "100000.00000000", "0.00010000"),
        market_lot: grid("0.00000000", "985.33449583", "0.00000000"),
        percent_price: Some(PercentPrice {
            bid_up: decimal("5"),
            bid_down: decimal("0.2"),
            ask_up: decimal("5"),
            ask_down: decimal("0.2"),
        }),
        notional: Some(NotionalBounds {
            min: decimal("0.0001"),
            min_to_market: true,
            max: Some(decimal("9000000")),
            max_to_market: false,
        }),
        max_orders: Some(200),
        max_algo_orders: Some(5),
        max_order_lists: Some(20),
        max_position: None,
    }
}

fn limit(price: &str) -> OrderKind {
    OrderKind::Limit { price: decimal(price), time_in_force: TimeInForce::Gtc }
}

#[test]
fn each_filter_refuses_what_breaks_it_and_nothing_else() {
    let cases: [(OrderKind, &str, Option<&str>); 14] = [
        (limit("0.02"), "1", None),
        (limit("0.020005"), "1", Some("PRICE_FILTER")),
        (limit("0.000001"), "1", Some("PRICE_FILTER")),
        (limit("0.1"), "1", None),
        (limit("0.10001"), "1", Some("PERCENT_PRICE_BY_SIDE")),
        (limit("0.00399"), "1", Some("PERCENT_PRICE_BY_SIDE")),
        (limit("0.02"), "0.00005", Some("LOT_SIZE")),
        (limit("0.02"), "1.00005", Some("LOT_SIZE")),
        (limit("0.02"), "100000.0001", Some("LOT_SIZE")),
        (limit("0.02"), "0.0049", Some("NOTIONAL")),
        (limit("0.02"), "0.005", None),
        (OrderKind::Market, "0.0049", Some("NOTIONAL")),
        (OrderKind::Market, "985.3345", Some("MARKET_LOT_SIZE")),
        (OrderKind::StopLoss { stop_price: decimal("0.019995") }, "1", Some("PRICE_FILTER")),
    ];
    for (kind, quantity, expected) in cases {
        let found = ethbtc().check(OrderSide::Buy, &kind, decimal(quantity), decimal("0.02"));
        assert_eq!(found.as_ref().err().map(|failure| failure.filter), expected, "{kind:?} of {quantity}");
    }
}

#[test]
fn a_step_or_bound_of_zero_is_no_rule() {
    let free = Grid::default();
    assert_eq!(free.floor(decimal("1.23456789")), decimal("1.23456789"));
    let rules = SymbolRules {
        lot: free,
        market_lot: free,
        price: free,
        notional: None,
        percent_price: None,
        ..ethbtc()
    };
    assert_eq!(
        rules.check(OrderSide::Sell, &limit("0.000000001"), decimal("123456.789"), decimal("1")),
        Ok(())
    );
}

proptest! {
    #[test]
    fn rounding_down_gives_a_lot_that_is_accepted_and_never_more_than_was_wanted(
        mantissa in 1i64..10_000_000_000_000, scale in 0u32..9, is_market: bool
    ) {
        let wanted = Decimal::new(mantissa, scale);
        let kind = if is_market { OrderKind::Market } else { limit("0.02") };
        let rules = SymbolRules { notional: None, ..ethbtc() };
        let rounded = rules.floor_quantity(&kind, wanted);
        prop_assert!(rounded <= wanted);
        if rounded >= rules.lot.min {
            prop_assert_eq!(rules.check(OrderSide::Buy, &kind, rounded, decimal("0.02")), Ok(()));
        }
        let most = if is_market { decimal("985.3344") } else { decimal("100000") };
        prop_assert!(rounded == most || wanted - rounded < rules.lot.step);
    }

    #[test]
    fn grid_points_enclose_a_price(mantissa in 1i64..10_000_000_000, scale in 0u32..8) {
        let price = Decimal::new(mantissa, scale);
        let tick = grid("0", "0", "0.00025");
        let (below, above) = (tick.floor(price), tick.ceil(price));
        prop_assert!(below <= price && price <= above && above - below <= tick.step);
        prop_assert!((below % tick.step).is_zero() && (above % tick.step).is_zero());
    }
}
