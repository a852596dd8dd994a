//! Bots on a dataset: the trades of the backtest, files, refusals.

use crate::place::Place;

const STRATEGY: &str = "\
name: up
long:
  enter: crosses_above(ema(close, 5), sma(close, 19))
  exit: crosses_below(ema(close, 5), sma(close, 19))
stop_loss: 0.03
take_profit: 0.06
backtest: {cash: 10000, fee: 0.001}
";

fn bot(symbol: &str) -> String {
    format!(
        "name: up\nstrategy: {{file: up.yaml, interval: 1h}}\nsymbols: [{symbol}]\ncapital: {{quote_asset: USDT, per_symbol: 10000}}\n\
         entry: {{collar_bps: 0}}\ncontrol: {{enabled: false}}\n\
         risk: {{max_daily_loss: null, max_drawdown: null, price_collar_bps: null, max_orders_per_minute: null, max_orders_per_day: null}}\n"
    )
}

fn place() -> (Place, String) {
    let place = Place::with_market(700);
    let listed = place.run(&["data", "list", "--json"]).json();
    let symbol = listed.as_array().unwrap()[0]["symbol"].as_str().unwrap().to_owned();
    place.write("up.yaml", STRATEGY);
    place.write("bot.yaml", &bot(&symbol));
    (place, symbol)
}

/// Symbol, side, times and reason of every trade in a file.
fn rows(text: &str) -> Vec<Vec<String>> {
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let columns = ["symbol", "side", "entry_time", "exit_time", "reason"].map(at);
    lines.map(|row| columns.iter().map(|column| row[*column].clone()).collect()).collect()
}

#[test]
fn a_replayed_bot_writes_the_trades_of_the_backtest() {
    let (place, symbol) = place();
    place
        .run(&["backtest", "up.yaml", "--symbol", &symbol, "--interval", "1h", "--trades", "backtest.csv"])
        .ok();
    let ran = place.run(&["trade", "bot.yaml", "--data", "data", "--trades", "live.csv", "--json"]).json();
    assert_eq!(ran["outcome"], "ended");
    let read = |name: &str| String::from_utf8(place.read(name)).unwrap();
    let (live, expected) = (read("live.csv"), rows(&read("backtest.csv")));
    assert!(expected.len() > 5, "{expected:?}");
    assert_eq!(rows(&live), expected);
    // The journal says it again, and a second session begins a new account.
    place.run(&["bot", "trades", "bot.yaml", "--out", "again.csv", "--state-dir", "state/replay"]).ok();
    assert_eq!(read("again.csv"), live);
    place.run(&["trade", "bot.yaml", "--data", "data", "--trades", "second.csv"]).ok();
    assert_eq!(read("second.csv"), live);
}

#[test]
fn a_killed_bot_enters_nothing_until_the_switch_is_taken_back() {
    let (place, _) = place();
    std::fs::create_dir_all(place.path("state/paper")).unwrap();
    place.write("state/paper/kill", "");
    let taken = ["bot", "unkill", "bot.yaml", "--reason", "looked at it", "--state-dir", "state/paper"];
    let trade = ["trade", "bot.yaml", "--data", "data", "--state-dir", "state/paper", "--json"];
    let killed = place.run(&trade).json();
    assert_eq!(
        (&killed["status"]["state"], &killed["status"]["kill"]["is_set"]),
        (&"killed".into(), &true.into())
    );
    assert_eq!(killed["status"]["symbols"][0]["trades"], 0);
    place.run(&taken).ok();
    let again = place.run(&taken);
    assert!(again.stderr.contains("is not set"), "{again:?}");
}

#[test]
fn live_trading_needs_more_than_a_file() {
    let (place, symbol) = place();
    let live = bot(&symbol) + "mode: live\nexchange: {venue: live}\n";
    place.write("live.yaml", &live);
    for args in [
        &["trade", "live.yaml"][..],
        &["trade", "live.yaml", "--mode", "live"],
        &["trade", "live.yaml", "--confirm-live", "up"],
        &["trade", "live.yaml", "--mode", "live", "--confirm-live", "another"],
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains("--confirm-live up"), "{ran:?}");
    }
    let ran = place.run(&["trade", "live.yaml", "--mode", "testnet"]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("would send its orders to the live exchange"),
        "{ran:?}"
    );
    let ran = place.run(&["trade", "live.yaml", "--mode", "live", "--confirm-live", "up", "--data", "data"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("paper mode"), "{ran:?}");
}

#[test]
fn a_session_is_compared_with_the_backtest_of_its_own_candles() {
    let (place, symbol) = place();
    let parity = ["parity", "bot.yaml", "--state-dir", "state/replay"];
    let json = [&parity[..], &["--json"]].concat();
    let nothing = place.run(&parity);
    assert!(nothing.code == Some(1) && nothing.stderr.contains("state/replay"), "{nothing:?}");
    let negative = place.run(&[&parity[..], &["--tolerance-bps=-1"]].concat());
    assert!(negative.code == Some(2) && negative.stderr.contains("at least 0, not -1"), "{negative:?}");

    place.run(&["trade", "bot.yaml", "--data", "data"]).ok();
    let report = place.run(&json).json();
    let of_symbol = &report["symbols"][0];
    assert_eq!((&of_symbol["symbol"], &report["unexplained"]), (&symbol.as_str().into(), &0.into()));
    let trades = of_symbol["matched_trades"].as_u64().unwrap();
    assert!(trades > 5, "{report}");
    assert_eq!((&of_symbol["live_trades"], &of_symbol["backtest_trades"]), (&trades.into(), &trades.into()));
    assert_eq!(of_symbol["differences"], serde_json::json!([]));
    let text = place.run(&parity).ok();
    assert!(text.contains(&format!("{trades} matched")), "{text}");
    assert!(text.contains("0 differences, 0 without a cause"), "{text}");

    // A backtest with another fee is not the session's.
    place.write("up.yaml", &STRATEGY.replace("fee: 0.001", "fee: 0.002"));
    let dearer = place.run(&json).json();
    let found = dearer["symbols"][0]["differences"].as_array().unwrap();
    let fees = found.iter().filter(|found| found["what"] == "fee_rate");
    assert!(fees.clone().count() > 5 && fees.clone().all(|found| found["cause"] == "commission"), "{dearer}");
}
