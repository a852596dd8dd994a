//! From a sweep to a bot's file, its checks, and the client of the control port.

use std::sync::Arc;

use polybolos_live_trader::config::Mode;
use polybolos_live_trader::control::{ControlCommand, ControlHandle, ControlRequest, State, Status, serve};
use polybolos_live_trader::symbol::Symbol;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::place::{Place, Ran, binance_csv};

const LONG: &str = "\
name: up
params:
  fast: {from: 3, to: 9, step: 2}
  slow: {from: 15, to: 21, step: 2}
long:
  enter: crosses_above(ema(close, fast), sma(close, slow))
  exit: crosses_below(ema(close, fast), sma(close, slow))
stop_loss: 0.03
";

/// A market, a long strategy and its sweep.
fn swept(more: &[&str]) -> (Place, String) {
    let place = Place::with_market(700);
    place.write("up.yaml", LONG);
    let args = ["sweep", "up.yaml", "--symbols", "all", "--interval", "1h", "--fee", "0.0005", "--json"];
    let sweep = place.run(&[&args, more].concat()).json();
    let id = sweep["sweep_id"].as_str().unwrap().to_owned();
    (place, id)
}

/// Thresholds that every row of a random walk meets.
const ANY: [&str; 10] = [
    "--min-trades",
    "0",
    "--max-drawdown",
    "1",
    "--min-sharpe",
    "-1000",
    "--min-dsr",
    "0",
    "--min-profit-factor",
    "0",
];

fn promote(place: &Place, id: &str, more: &[&str]) -> Ran {
    place.run(&[&["promote", id, "--out", "bot.yaml"], more].concat())
}

fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is missing: {ran:?}");
    }
}

#[test]
fn a_promoted_row_carries_the_row_of_the_sweep_and_its_file_checks() {
    let (place, id) = swept(&[]);
    let document = promote(&place, &id, &[&ANY[..], &["--row", "6", "--json"]].concat()).json();
    assert_eq!((&document["row"], &document["sweep_id"]), (&6.into(), &id.clone().into()));
    assert_eq!((&document["params"]["fast"], &document["params"]["slow"]), (&5.0.into(), &19.0.into()));
    let query = format!(
        "SELECT symbol, sharpe, trades, max_drawdown, dsr FROM results WHERE row = 6 AND sweep_id = '{id}' ORDER BY symbol"
    );
    let rows = place.run(&["sql", &query, "--json"]).json();
    for row in rows.as_array().unwrap() {
        let metrics = &document["symbols"][row["symbol"].as_str().unwrap()]["metrics"];
        for name in ["sharpe", "max_drawdown", "dsr"] {
            assert_eq!(metrics[name], row[name], "{name}");
        }
        assert_eq!(metrics["trades"].as_f64(), row["trades"].as_f64());
    }
    assert_eq!(document["symbols"].as_object().unwrap().len(), 2, "both symbols of the sweep");

    let checked = place.run(&["config", "check", "bot.yaml", "up.yaml", "--json"]).json();
    assert_eq!(
        (&checked[0]["ok"], &checked[0]["promoted"], &checked[1]["ok"]),
        (&true.into(), &true.into(), &true.into())
    );
    let line = place.run(&["config", "check", "bot.yaml"]).ok();
    assert!(line.contains(&format!("row 6 of {id}, unchanged since")), "{line}");
    let shown = place.run(&["config", "show", "--bot", "bot.yaml", "--json"]).json();
    assert_eq!((&shown["mode"], &shown["strategy"]["simulation"]["fee"]), (&"paper".into(), &0.0005.into()));
    refused(
        &promote(&place, &id, &[&ANY[..], &["--row", "7"]].concat()),
        &["bot.yaml is there already", "--overwrite"],
    );
    promote(&place, &id, &[&ANY[..], &["--row", "7", "--overwrite"]].concat()).ok();
}

#[test]
fn the_ranked_row_is_the_one_of_the_ranking_and_comes_with_its_own_symbol() {
    let (place, id) = swept(&[]);
    let top = place.run(&["results", "top", &id, "--rank-by", "total_return", "--top", "3", "--json"]).json();
    let third = &top[2];
    let document =
        promote(&place, &id, &[&ANY[..], &["--rank", "3", "--rank-by", "total_return", "--json"]].concat())
            .json();
    assert_eq!(document["row"], third["row"]);
    let symbols: Vec<&String> = document["symbols"].as_object().unwrap().keys().collect();
    assert_eq!(symbols, [third["symbol"].as_str().unwrap()]);
    let one = promote(
        &place,
        &id,
        &[&ANY[..], &["--row", "3", "--symbol", "bbbusdt", "--overwrite", "--json"]].concat(),
    );
    assert_eq!(one.json()["symbols"].as_object().unwrap().keys().collect::<Vec<_>>(), ["BBBUSDT"]);
}

#[test]
fn a_row_that_misses_a_threshold_needs_force_and_a_reason() {
    let (place, id) = swept(&[]);
    let strict = ["--row", "6", "--min-trades", "100000"];
    refused(&promote(&place, &id, &strict), &["AAAUSDT: trades is", "below 100000", "--force --reason"]);
    assert!(!place.path("bot.yaml").exists());
    let half = promote(&place, &id, &[&strict[..], &["--force"]].concat());
    assert_eq!(half.code, Some(2), "{half:?}");
    let forced =
        promote(&place, &id, &[&strict[..], &["--force", "--reason", "only on paper"]].concat()).ok();
    assert!(forced.contains("FORCED: AAAUSDT: trades is"), "{forced}");
    let text = String::from_utf8(place.read("bot.yaml")).unwrap();
    assert!(text.contains("forced_because: \"only on paper\""), "{text}");
    place.run(&["config", "check", "bot.yaml"]).ok();
}

#[test]
fn what_cannot_be_traded_or_proved_is_refused() {
    let (place, id) = swept(&[]);
    let short = place.sweep("results", &[])["sweep_id"].as_str().unwrap().to_owned();
    refused(
        &promote(&place, &short, &["--row", "100", "--force", "--reason", "x"]),
        &["short positions", "spot"],
    );
    refused(&promote(&place, "nothing", &["--row", "1"]), &["nothing"]);
    refused(&promote(&place, &id, &["--row", "16"]), &["row 16", "16 rows"]);
    refused(&promote(&place, &id, &["--row", "1", "--symbol", "XYZ"]), &["XYZ", "AAAUSDT, BBBUSDT"]);
    refused(&promote(&place, &id, &["--rank", "99999"]), &["rank 99999", "32 rows"]);
    for (args, words) in [
        (["--rank", "1", "--rank-by", "luck"].as_slice(), "`luck` is not a metric"),
        (&["--row", "1", "--rank", "1"], "--rank"),
        (&[], "--row"),
        (&["--row", "1", "--capital", "-5"], "--capital -5"),
        (&["--rank", "0"], "0"),
    ] {
        let ran = promote(&place, &id, args);
        assert!(ran.code == Some(2) && ran.stderr.contains(words), "{args:?} {ran:?}");
    }
    let ran = place.run(&["promote", &id, "--row", "1", "--out", "bot.txt"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("bot.txt"), "{ran:?}");
    let (single, kept) = swept(&["--precision", "f32"]);
    refused(&promote(&single, &kept, &["--row", "1"]), &["f32", "--precision f64"]);
    // Other bars under the same dataset: the numbers could not be recomputed.
    place.write("AAAUSDT-1h.csv", &binance_csv(720, 9));
    std::fs::remove_dir_all(place.path("data")).unwrap();
    place.run(&["data", "import", "AAAUSDT-1h.csv", "BBBUSDT-1h.csv", "--interval", "1h"]).ok();
    let ran = promote(&place, &id, &[&ANY[..], &["--row", "1"]].concat());
    refused(&ran, &["AAAUSDT"]);
    assert!(!place.path("bot.yaml").exists());
}

#[test]
fn a_changed_bot_is_found_with_the_place_or_the_digest() {
    let (place, id) = swept(&[]);
    promote(&place, &id, &[&ANY[..], &["--row", "6"]].concat()).ok();
    let text = String::from_utf8(place.read("bot.yaml")).unwrap();
    for (from, to, words) in [
        ("fast: 5", "fast: 7", "strategy.digest"),
        ("    stop_loss: 0.03", "    stop_loss: 0.3", "strategy.digest"),
        ("row: 6", "row: 7", "evidence.digest"),
        ("max_daily_loss:", "max_daily_los:", "did you mean `max_daily_loss`?"),
        ("per_symbol: 10000", "per_symbol: -1", "changed.yaml:"),
        ("fast: 5", "fist: 5", "the strategy has no parameter `fist`"),
        ("  fast: 5\n", "", "fast"),
    ] {
        assert!(text.contains(from), "{from}\n{text}");
        place.write("changed.yaml", &text.replacen(from, to, 1));
        refused(&place.run(&["config", "check", "changed.yaml"]), &[words]);
    }
    place.write("limits.yaml", &text.replacen("max_open_positions: 2", "max_open_positions: 1", 1));
    place.run(&["config", "check", "limits.yaml"]).ok();
}

#[test]
fn profiles_and_environment_reach_bots_through_the_command_line() {
    let (place, id) = swept(&[]);
    promote(&place, &id, &[&ANY[..], &["--row", "6"]].concat()).ok();
    let text = String::from_utf8(place.read("bot.yaml")).unwrap();
    place.write("bot.yaml", &format!("{text}profiles:\n  test:\n    mode: testnet\n"));
    let show = |variables: &[(&str, &str)], more: &[&str]| {
        let mut command = place.command(&[&["config", "show", "--bot", "bot.yaml", "--json"], more].concat());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let value = |shown: (Option<i32>, String, String)| serde_json::from_str::<Value>(&shown.1).unwrap();
    assert_eq!(value(show(&[], &[]))["mode"], "paper");
    assert_eq!(value(show(&[], &["--profile", "test"]))["mode"], "testnet");
    assert_eq!(value(show(&[("POLYBOLOS_PROFILE", "test")], &[]))["mode"], "testnet");
    let over = value(show(&[("POLYBOLOS__RISK__MAX_DAILY_LOSS", "0.5")], &[]));
    assert_eq!(over["risk"]["max_daily_loss"], "0.5");
    let wrong = show(&[("POLYBOLOS__RSK__MAX_DAILY_LOSS", "0.5")], &[]);
    assert!(wrong.0 == Some(1) && wrong.2.contains("did you mean `risk`?"), "{wrong:?}");
    let wrong = show(&[], &["--profile", "prod"]);
    assert!(wrong.0 == Some(1) && wrong.2.contains("its profiles are test"), "{wrong:?}");
}

#[test]
fn the_example_checks_and_both_schemas_are_printed() {
    let place = Place::empty();
    let example = place.run(&["config", "example"]).ok();
    place.write("example.yaml", &example);
    let line = place.run(&["config", "check", "example.yaml"]).ok();
    assert!(line.contains("written by hand, without evidence"), "{line}");
    for (of, title) in [("strategy", "Polybolos strategy"), ("bot", "Polybolos bot")] {
        assert_eq!(place.run(&["config", "schema", of]).json()["title"], title);
    }
    assert_eq!(place.run(&["config", "schema"]).json()["title"], "Polybolos strategy");
}

#[test]
fn the_client_of_the_control_port_says_what_is_missing() {
    let place = Place::empty();
    let run = |token: Option<&str>, args: &[&str]| {
        let mut command = place.command(&[&["bot"], args].concat());
        command.env_remove("POLYBOLOS_CONTROL_TOKEN").env_remove("POLYBOLOS_CONTROL");
        command.envs(token.map(|token| ("POLYBOLOS_CONTROL_TOKEN", token)));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // Port 1 of loopback: nobody listens there.
    let nobody = ["--control", "http://127.0.0.1:1"];
    for (token, args, code, words) in [
        (None, ["status"].as_slice(), 2, "POLYBOLOS_CONTROL_TOKEN is not set"),
        (None, &["pause", "--token-env", "OTHER"], 2, "OTHER is not set"),
        (Some("token-token-token"), &["status", "--control", "here"], 2, "`here` is not the address"),
        (
            Some("token-token-token"),
            &["kill", nobody[0], nobody[1]],
            1,
            "no bot answers at http://127.0.0.1:1",
        ),
        (Some("token-token-token"), &["close", "A/B"], 2, "`A/B` is not a symbol"),
        (Some("token-token-token"), &["close"], 2, "<SYMBOL>"),
    ] {
        let (got, stderr) = run(token, args);
        assert!(got == Some(code) && stderr.contains(words), "{args:?}: {got:?} {stderr}");
        assert!(!stderr.contains("token-token-token"), "{stderr}");
    }
}

#[test]
fn the_client_shows_a_running_bot_and_tells_it_what_to_do() {
    const TOKEN: &str = "token-of-sixteen-or-more";
    let place = Place::empty();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let status = Status { state: State::Paused, ..Status::starting("demo", Mode::Paper, "USDT", 5) };
    let (_status, watched) = watch::channel(Arc::new(status.clone()));
    let (sender, mut commands) = mpsc::channel::<ControlRequest>(1);
    let handle = ControlHandle { status: watched, commands: sender, metrics: Arc::new(String::new) };
    let (address, server) =
        runtime.block_on(serve(([127, 0, 0, 1], 0).into(), TOKEN, handle, std::future::pending())).unwrap();
    runtime.spawn(server);
    runtime.spawn(async move {
        while let Some(ControlRequest { command, reply }) = commands.recv().await {
            let answer = match command {
                ControlCommand::Pause => Ok("paused".to_owned()),
                ControlCommand::Close(symbol) if symbol == Symbol::new("BTCUSDT") => Ok("closed".to_owned()),
                _ => Err("the kill switch is set".to_owned()),
            };
            reply.send(answer).unwrap();
        }
    });
    let run = |args: &[&str]| {
        let url = format!("http://{address}");
        let mut command = place.command(&[&["bot"], args].concat());
        let output =
            command.env("POLYBOLOS_CONTROL", url).env("POLYBOLOS_CONTROL_TOKEN", TOKEN).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let shown = run(&["status", "--json"]);
    assert_eq!(serde_json::from_str::<Status>(&shown.1).unwrap(), status, "{shown:?}");
    assert!(run(&["status"]).1.starts_with("demo [paper] paused\nequity 0 USDT"));
    assert_eq!(run(&["pause"]).1, "paused\n");
    let refused = run(&["resume"]);
    assert!(refused.0 == Some(1) && refused.2.contains("409: the kill switch is set"), "{refused:?}");
    let unknown = run(&["close", "ETHUSDT"]);
    assert!(unknown.0 == Some(1) && unknown.2.contains("does not trade ETHUSDT"), "{unknown:?}");
}
