//! The ledger: what fills say, once, to the last digit.

use polybolos_engine::interval::DAY_MS;
use polybolos_live_trader::ledger::{Booking, CloseReason, Ledger, LedgerError, Terms};
use polybolos_live_trader::order::{Fill, OrderSide};
use polybolos_live_trader::symbol::Symbol;
use proptest::prelude::*;
use rust_decimal::Decimal;

const MINUTE_MS: i64 = 60_000;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn btc() -> Symbol {
    Symbol::new("BTCUSDT")
}

fn terms(lot_step: &str) -> Terms {
    Terms { base_asset: "BTC".to_owned(), quote_asset: "USDT".to_owned(), lot_step: decimal(lot_step) }
}

fn ledger(lot_step: &str, cash: &str) -> Ledger {
    let mut ledger = Ledger::new(MINUTE_MS);
    ledger.allocate(&btc(), terms(lot_step), decimal(cash), 0);
    ledger
}

fn fill(trade_id: i64, price: &str, quantity: &str, commission: &str, asset: &str) -> Fill {
    Fill {
        trade_id,
        order_id: 1,
        price: decimal(price),
        quantity: decimal(quantity),
        commission: decimal(commission),
        commission_asset: asset.to_owned(),
        is_maker: false,
        time_ms: trade_id * MINUTE_MS,
    }
}

fn booking<'a>(symbol: &'a Symbol, side: OrderSide, fill: &'a Fill) -> Booking<'a> {
    Booking { symbol, side, fill, reason: CloseReason::Signal, commission_price: None }
}

fn buy(ledger: &mut Ledger, fill: &Fill) {
    assert!(ledger.book(&booking(&btc(), OrderSide::Buy, fill)).unwrap().is_new);
}

fn sell(ledger: &mut Ledger, fill: &Fill) -> Vec<polybolos_live_trader::ledger::LiveTrade> {
    ledger.book(&booking(&btc(), OrderSide::Sell, fill)).unwrap().closed
}

#[test]
fn commissions_are_taken_from_the_asset_they_were_paid_with() {
    // asset, commission of the buy, of the sell, price of it; cash and quantity after the buy, fees, pnl of the trade
    let cases = [
        ("USDT", "0.1", "0.12", None, "899.9", "1", "0.22", "19.78"),
        ("BTC", "0.001", "0", None, "900", "0.999", "0.1", "19.88"),
        ("BNB", "0.001", "0.001", Some("200"), "900", "1", "0.4", "19.6"),
        ("BNB", "0.001", "0.001", None, "900", "1", "0", "20"),
    ];
    for (asset, entry_fee, exit_fee, price, cash, quantity, fees, pnl) in cases {
        let mut ledger = ledger("0.0001", "1000");
        let symbol = btc();
        let entry = fill(1, "100", "1", entry_fee, asset);
        let commission_price = price.map(decimal);
        ledger.book(&Booking { commission_price, ..booking(&symbol, OrderSide::Buy, &entry) }).unwrap();
        let account = ledger.account(&symbol).unwrap();
        assert_eq!(account.cash(), decimal(cash), "{asset}");
        assert_eq!(account.quantity(), decimal(quantity), "{asset}");
        let exit = fill(4, "120", quantity, exit_fee, asset);
        let booked =
            ledger.book(&Booking { commission_price, ..booking(&symbol, OrderSide::Sell, &exit) }).unwrap();
        let trade = &booked.closed[0];
        assert_eq!(trade.fees, decimal(fees), "{asset}");
        assert_eq!(trade.pnl, decimal(pnl), "{asset}");
        assert_eq!(trade.trade_return, Some(trade.pnl / trade.cost));
        assert_eq!((trade.entry_price, trade.exit_price), (decimal("100"), Some(decimal("120"))));
        assert_eq!((trade.entry_ms, trade.exit_ms, trade.bars_held), (MINUTE_MS, 4 * MINUTE_MS, 3));
        assert_eq!(ledger.equity(), decimal("1000") + trade.pnl, "{asset}");
        assert_eq!(ledger.statistics().fees, decimal(fees), "{asset}");
    }
}

#[test]
fn a_commission_without_a_price_is_kept_and_charged_once_the_price_is_known() {
    let mut ledger = ledger("0.0001", "1000");
    buy(&mut ledger, &fill(1, "100", "1", "0.002", "BNB"));
    assert_eq!(ledger.account(&btc()).unwrap().unvalued()["BNB"], decimal("0.002"));
    assert_eq!(ledger.value_commissions(&btc(), "BNB", decimal("500")), Ok(decimal("1")));
    assert_eq!(ledger.value_commissions(&btc(), "BNB", decimal("500")), Ok(decimal("0")));
    let account = ledger.account(&btc()).unwrap();
    assert_eq!(
        (account.realised(), account.unrealised(), account.fees()),
        (decimal("-1"), decimal("0"), decimal("1"))
    );
    assert_eq!(ledger.equity(), decimal("999"));
}

#[test]
fn the_returns_formula_is_net_proceeds_over_gross_cost() {
    let mut ledger = ledger("0", "1000");
    buy(&mut ledger, &fill(1, "50", "2", "0.1", "USDT"));
    let trade = sell(&mut ledger, &fill(2, "60", "2", "0.12", "USDT")).remove(0);
    assert_eq!(trade.trade_return, Some((decimal("119.88") - decimal("100.1")) / decimal("100.1")));
    assert_eq!(trade.cost, decimal("100.1"));
}

#[test]
fn dust_keeps_its_cost_and_goes_into_the_next_trade() {
    let mut ledger = ledger("0.01", "1000");
    buy(&mut ledger, &fill(1, "100", "1", "0.001", "BTC"));
    let first = sell(&mut ledger, &fill(2, "110", "0.99", "0", "USDT")).remove(0);
    let account = ledger.account(&btc()).unwrap();
    assert!(account.position().is_none());
    assert_eq!(account.dust().quantity, decimal("0.009"));
    assert_eq!(first.cost + account.dust().cost, decimal("100"));
    assert_eq!(account.dust().cost.round_dp(10), (decimal("0.9") / decimal("0.999")).round_dp(10));
    buy(&mut ledger, &fill(3, "100", "1", "0", "USDT"));
    let position = ledger.account(&btc()).unwrap().position().unwrap();
    assert_eq!((position.quantity, position.entry_price), (decimal("1.009"), decimal("100")));
    let second = sell(&mut ledger, &fill(4, "100", "1.009", "0", "USDT")).remove(0);
    assert_eq!(ledger.equity(), decimal("1009.8"));
    assert_eq!((first.pnl + second.pnl).round_dp(20), decimal("9.8"));
    assert_eq!(ledger.account(&btc()).unwrap().dust().quantity, decimal("0"));
}

#[test]
fn a_remainder_too_small_to_sell_is_written_off_as_dust() {
    let mut ledger = ledger("0.0001", "1000");
    buy(&mut ledger, &fill(1, "100", "1", "0", "USDT"));
    assert!(sell(&mut ledger, &fill(2, "110", "0.96", "0", "USDT")).is_empty());
    let account = ledger.account(&btc()).unwrap();
    assert_eq!(account.realised(), decimal("9.6"));
    assert_eq!(account.unrealised(), decimal("0.4"));
    let trade = ledger.write_off(&btc(), 3 * MINUTE_MS, CloseReason::Stop).unwrap().unwrap();
    assert_eq!(
        (trade.quantity, trade.pnl, trade.reason),
        (decimal("0.96"), decimal("9.6"), CloseReason::Stop)
    );
    assert_eq!(ledger.account(&btc()).unwrap().dust().cost, decimal("4"));
    assert_eq!(ledger.write_off(&btc(), 3 * MINUTE_MS, CloseReason::Stop), Ok(None));
}

#[test]
fn days_open_at_utc_midnight_with_the_equity_before() {
    let mut ledger = ledger("0", "1000");
    buy(&mut ledger, &fill(1, "100", "1", "0", "USDT"));
    ledger.mark(&[(btc(), decimal("90"))], DAY_MS - 1).unwrap();
    assert_eq!(ledger.opening_equity(DAY_MS - 1), decimal("1000"));
    assert_eq!(ledger.opening_equity(DAY_MS), decimal("990"));
    ledger.mark(&[(btc(), decimal("80"))], DAY_MS).unwrap();
    assert_eq!(ledger.opening_equity(DAY_MS), decimal("990"));
    let mut exit = fill(2, "80", "1", "0", "USDT");
    exit.time_ms = DAY_MS + 5;
    sell(&mut ledger, &exit);
    let (start, today) = ledger.today().unwrap();
    assert_eq!((start, today.pnl, today.trades), (DAY_MS, decimal("-20"), 1));
    assert_eq!(ledger.days()[&0].trades, 0);
}

#[test]
fn drawdown_is_measured_from_the_peak_and_money_moved_is_no_profit() {
    let mut ledger = ledger("0", "1000");
    buy(&mut ledger, &fill(1, "100", "1", "0", "USDT"));
    for (price, drawdown, peak) in [("200", "0", "1100"), ("145", "0.05", "1100"), ("189", "0.01", "1100")] {
        ledger.mark(&[(btc(), decimal(price))], MINUTE_MS).unwrap();
        assert_eq!((ledger.drawdown(), ledger.peak()), (decimal(drawdown), decimal(peak)));
    }
    assert_eq!(ledger.statistics().max_drawdown, decimal("0.05"));
    ledger.allocate(&btc(), terms("0"), decimal("500"), MINUTE_MS);
    assert_eq!((ledger.peak(), ledger.equity()), (decimal("1600"), decimal("1589")));
    assert_eq!(ledger.opening_equity(MINUTE_MS), decimal("1500"));
    ledger.reset_peak();
    assert_eq!(ledger.drawdown(), decimal("0"));
}

#[test]
fn statistics_are_undefined_rather_than_invented() {
    let mut ledger = ledger("0", "1000");
    let none = ledger.statistics();
    assert_eq!(
        (none.win_rate, none.profit_factor, none.expectancy, none.average_bars_held),
        (None, None, None, None)
    );
    for (id, price) in [(1, "110"), (3, "95"), (5, "100")] {
        buy(&mut ledger, &fill(id, "100", "1", "0", "USDT"));
        sell(&mut ledger, &fill(id + 1, price, "1", "0", "USDT"));
        assert_eq!(ledger.statistics().profit_factor.is_none(), id == 1);
    }
    let all = ledger.statistics();
    assert_eq!((all.trades, all.pnl, all.profit_factor), (3, decimal("5"), Some(decimal("2"))));
    assert_eq!(all.win_rate, Some(Decimal::ONE / Decimal::from(3)));
    assert_eq!(all.expectancy, Some(Decimal::from(5) / Decimal::from(3)));
    assert_eq!(all.average_bars_held, Some(Decimal::ONE));
}

#[test]
fn a_fill_that_cannot_be_is_refused_and_changes_nothing() {
    let mut ledger = ledger("0", "1000");
    let before = ledger.clone();
    let huge = "100000000000000000000";
    for (price, quantity, commission) in
        [("0", "1", "0"), ("1", "-1", "0"), (huge, "1", "0"), ("1", huge, "0"), ("1", "1", "-1")]
    {
        let fill = fill(1, price, quantity, commission, "USDT");
        let refused = ledger.book(&booking(&btc(), OrderSide::Buy, &fill));
        assert!(matches!(refused, Err(LedgerError::Absurd { .. })), "{price} {quantity} {commission}");
    }
    let other = Symbol::new("ETHUSDT");
    let stranger = fill(1, "1", "1", "0", "USDT");
    assert!(matches!(
        ledger.book(&booking(&other, OrderSide::Buy, &stranger)),
        Err(LedgerError::UnknownSymbol { .. })
    ));
    assert!(ledger.mark(&[(btc(), decimal("1")), (other, decimal("1"))], 0).is_err());
    assert!(ledger.mark(&[(btc(), decimal("0"))], 0).is_err());
    assert_eq!(ledger, before);
}

#[test]
fn a_fill_older_than_memory_is_an_error_and_not_a_guess() {
    let mut ledger = ledger("0", "100000");
    for id in 10..522 {
        buy(&mut ledger, &fill(id, "1", "1", "0", "USDT"));
    }
    let old = fill(5, "1", "1", "0", "USDT");
    let refused = ledger.book(&booking(&btc(), OrderSide::Buy, &old));
    assert_eq!(refused, Err(LedgerError::TooOld { symbol: btc(), trade_id: 5, oldest: 10 }));
    assert_eq!(ledger.account(&btc()).unwrap().last_trade_id(), Some(521));
}

#[test]
fn a_sell_that_overtakes_its_buys_waits_for_them() {
    let mut ledger = ledger("0", "1000");
    assert!(sell(&mut ledger, &fill(3, "110", "2", "0", "USDT")).is_empty());
    assert_eq!(ledger.account(&btc()).unwrap().waiting(), 1);
    buy(&mut ledger, &fill(1, "100", "1", "0", "USDT"));
    let late = fill(2, "100", "1", "0", "USDT");
    let booked = ledger.book(&booking(&btc(), OrderSide::Buy, &late)).unwrap();
    assert_eq!((booked.closed.len(), booked.closed[0].pnl), (1, decimal("20")));
    assert_eq!(ledger.account(&btc()).unwrap().waiting(), 0);
}

/// Round trips: parts of an entry, and of the exit that follows; price in cents, quantity in lots of 0.001.
fn round_trips() -> impl Strategy<Value = Vec<(Vec<(i64, i64)>, i64)>> {
    let part = (1_000i64..1_000_000, 1i64..5_000);
    prop::collection::vec((prop::collection::vec(part, 1..4), 1_000i64..1_000_000), 1..5)
}

/// The fills of these trips in the order of time: side, fill. Fees alternate between the assets.
fn fills(trips: &[(Vec<(i64, i64)>, i64)]) -> Vec<Vec<(OrderSide, Fill)>> {
    let mut id = 0;
    let mut next = |price: i64, lots: i64, side| {
        id += 1;
        let (price, quantity) = (Decimal::new(price, 2), Decimal::new(lots, 3));
        let asset = ["USDT", "BNB"][id as usize % 2];
        let mut fill = fill(id, "1", "1", "0", asset);
        (fill.price, fill.quantity, fill.commission) = (price, quantity, Decimal::new(id, 4));
        (side, fill)
    };
    trips
        .iter()
        .flat_map(|(parts, exit)| {
            let entry: Vec<_> =
                parts.iter().map(|(price, lots)| next(*price, *lots, OrderSide::Buy)).collect();
            let lots = parts.iter().map(|(_, lots)| lots).sum();
            [entry, vec![next(*exit, lots, OrderSide::Sell)]]
        })
        .collect()
}

fn book_all<'a>(fills: impl Iterator<Item = &'a (OrderSide, Fill)>) -> Ledger {
    let mut ledger = ledger("0", "1000000");
    let symbol = btc();
    for (side, fill) in fills {
        let commission_price = Some(decimal("300"));
        ledger.book(&Booking { commission_price, ..booking(&symbol, *side, fill) }).unwrap();
    }
    ledger.mark(&[(symbol, decimal("77.7"))], 100 * MINUTE_MS).unwrap();
    ledger
}

proptest! {
    #[test]
    fn doubled_fills_and_any_order_within_a_trade_give_the_same_ledger(trips in round_trips(), seed in any::<u64>()) {
        let orders = fills(&trips);
        let plain = book_all(orders.iter().flatten());
        let shuffled: Vec<_> = orders
            .chunks(2)
            .flat_map(|trip| {
                let mut all: Vec<_> = trip.iter().flatten().collect();
                let turn = (seed as usize) % all.len();
                all.rotate_left(turn);
                let doubled = all.clone();
                all.into_iter().chain(doubled)
            })
            .collect();
        // An exit that comes between parts of its own entry may find enough to sell: that order cannot be, see `book`.
        prop_assume!(orders.chunks(2).all(|trip| {
            let len = trip[0].len() + 1;
            let turn = (seed as usize) % len;
            turn == 0 || turn == trip[0].len() || trip[0].iter().skip(turn).map(|(_, f)| f.quantity).sum::<Decimal>() < trip[1][0].1.quantity
        }));
        prop_assert_eq!(book_all(shuffled.into_iter()), plain);
    }

    #[test]
    fn money_is_neither_made_nor_lost(trips in round_trips(), cut in 0usize..20) {
        let all: Vec<_> = fills(&trips).into_iter().flatten().collect();
        let some = &all[..cut.min(all.len())];
        let ledger = book_all(some.iter());
        let (mut cash, mut held, mut outside) = (decimal("1000000"), Decimal::ZERO, Decimal::ZERO);
        for (side, fill) in some {
            let sign = if *side == OrderSide::Buy { Decimal::ONE } else { -Decimal::ONE };
            cash -= sign * fill.price * fill.quantity;
            held += sign * fill.quantity;
            match fill.commission_asset.as_str() {
                "USDT" => cash -= fill.commission,
                _ => outside += fill.commission * decimal("300"),
            }
        }
        let symbol = btc();
        let account = ledger.account(&symbol).unwrap();
        prop_assert_eq!((account.cash(), account.quantity()), (cash, held));
        prop_assert_eq!(ledger.equity(), cash - outside + held * decimal("77.7"));
        prop_assert_eq!(account.realised() + account.unrealised(), ledger.equity() - decimal("1000000"));
        if held.is_zero() {
            prop_assert_eq!(ledger.statistics().pnl, ledger.equity() - decimal("1000000"));
        }
        let text = serde_json::to_string(&ledger).unwrap();
        prop_assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }

    #[test]
    fn parts_of_a_fill_are_worth_the_whole(price in 1i64..1_000_000, lots in prop::collection::vec(1i64..10_000, 1..6)) {
        let total: i64 = lots.iter().sum();
        let order = |lots: &[i64]| -> Vec<(OrderSide, Fill)> {
            let parts = lots.iter().zip(1..);
            parts.map(|(lots, id)| {
                let mut fill = fill(id, "1", "1", "0", "USDT");
                (fill.price, fill.quantity) = (Decimal::new(price, 2), Decimal::new(*lots, 3));
                (fill.commission, fill.time_ms) = (Decimal::new(*lots, 5), MINUTE_MS);
                (OrderSide::Buy, fill)
            }).collect()
        };
        let (parts, whole) = (book_all(order(&lots).iter()), book_all(order(&[total]).iter()));
        let symbol = btc();
        let (parts, whole) = (parts.account(&symbol).unwrap(), whole.account(&symbol).unwrap());
        prop_assert_eq!(parts.position(), whole.position());
        prop_assert_eq!((parts.cash(), parts.equity(), parts.fees()), (whole.cash(), whole.equity(), whole.fees()));
    }
}
