//! `polybolos exchange-sim` from outside: where it listens, what it answers, what it refuses, how it ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::place::Place;

const USUAL: [&str; 7] = ["exchange-sim", "--symbols", "all", "--interval", "1h", "--listen", "127.0.0.1:0"];

/// The body of an answer to a GET.
fn get(address: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn it_serves_the_dataset_and_ends_on_a_signal() {
    let place = Place::with_market(1_200);
    for name in ["-TERM", "-INT"] {
        let mut child = place
            .command(&[USUAL.as_slice(), &["--speed", "max", "--history", "100"]].concat())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut logs = BufReader::new(child.stderr.take().unwrap());
        logs.read_line(&mut line).unwrap();
        std::thread::spawn(move || std::io::copy(&mut logs, &mut std::io::sink()));
        let address = line.strip_prefix("exchange simulator on http://").unwrap_or_else(|| panic!("{line}"));
        let (address, rest) = address.split_once(' ').unwrap();
        assert!(rest.contains("sim-key") && rest.contains("1,100 bars"), "{line}");
        assert_eq!(get(address, "/api/v3/ping"), "{}");
        let info = get(address, "/api/v3/exchangeInfo");
        assert!(info.contains("\"AAAUSDT\"") && info.contains("\"BBBUSDT\""), "{info}");
        let bars = get(address, "/api/v3/klines?symbol=AAAUSDT&interval=1h&limit=1000");
        let bars: serde_json::Value = serde_json::from_str(&bars).unwrap();
        assert_eq!(bars.as_array().unwrap().len(), 100, "history, and no bar before its time");
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
        assert!(child.wait().unwrap().success(), "{name}");
    }
}

#[test]
fn it_refuses_what_it_cannot_be() {
    let place = Place::with_market(300);
    place.write("wrong.yaml", "faults:\n  - on: [order.plac]\n    do: [{delay_ms: 1}]\n");
    for (more, code, expected) in [
        (vec!["--listen", "0.0.0.0:0"], 1, "loopback only"),
        (vec!["--speed", "fast"], 2, "a number from 0.001 to 1e9, or max"),
        (vec!["--balance", "USDT"], 2, "USDT=100000"),
        (vec!["--faults", "wrong.yaml"], 1, "did you mean `order.place`?"),
        (vec!["--faults", "none.yaml"], 1, "none.yaml"),
        (vec!["--start", "20991231"], 2, "no bar opens at --start"),
        (vec!["--start", "yesterday"], 2, "2024-01-01"),
        (vec!["--fee", "2"], 1, "maker_fee"),
        (vec!["--symbols", "CCCUSDT"], 1, "CCCUSDT"),
    ] {
        let usual = USUAL.iter().copied().filter(|word| {
            let at = USUAL.iter().position(|usual| usual == word).unwrap();
            !more.contains(word) && !at.checked_sub(1).is_some_and(|at| more.contains(&USUAL[at]))
        });
        let args: Vec<&str> = usual.chain(more.iter().copied()).collect();
        let ran = place.run(&args);
        assert_eq!(ran.code, Some(code), "{more:?}\n{ran:?}");
        assert!(ran.stderr.contains(expected), "{more:?}\n{}", ran.stderr);
    }
}

#[test]
fn a_live_market_is_followed_through_another_exchange() {
    let place = Place::with_market(1_200);
    let start = |more: &[&str]| {
        let mut child = place
            .command(&[&["exchange-sim", "--interval", "1h", "--listen", "127.0.0.1:0"], more].concat())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut logs = BufReader::new(child.stderr.take().unwrap());
        while !line.contains("exchange simulator on") {
            line.clear();
            assert!(logs.read_line(&mut line).unwrap() > 0, "it ended before it listened");
        }
        std::thread::spawn(move || std::io::copy(&mut logs, &mut std::io::sink()));
        let address = line.strip_prefix("exchange simulator on http://").unwrap_or_else(|| panic!("{line}"));
        let address = address.split_once(' ').unwrap().0.to_owned();
        (child, address, line)
    };
    let (mut source, from, _) = start(&["--symbols", "all", "--history", "100"]);
    let (rest, streams) = (format!("http://{from}"), format!("ws://{from}"));
    let live =
        ["--live", "--symbols", "bbbusdt", "--history", "30", "--rest-url", &rest, "--stream-url", &streams];
    let (mut follower, address, line) = start(&live);
    assert!(line.contains("sim-key") && line.trim_end().ends_with(&format!("live from {rest}")), "{line}");
    let target = "/api/v3/klines?symbol=BBBUSDT&interval=1h&limit=30";
    assert_eq!(get(&address, target), get(&from, target), "the past");
    let info = get(&address, "/api/v3/exchangeInfo");
    assert!(info.contains("\"BBBUSDT\"") && !info.contains("\"AAAUSDT\""), "{info}");
    for child in [&mut follower, &mut source] {
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_live_market_has_no_use_for_what_is_said_of_a_dataset() {
    let place = Place::empty();
    let live = ["exchange-sim", "--live", "--interval", "1h", "--listen", "127.0.0.1:0", "--symbols"];
    // Nobody listens on port 9.
    let nowhere = ["--rest-url", "http://127.0.0.1:9", "--stream-url", "ws://127.0.0.1:9"];
    for (symbols, more, code, expected) in [
        ("BTCUSDT", vec!["--data", "data"], 2, "--data"),
        ("BTCUSDT", vec!["--speed", "max"], 2, "--speed"),
        ("BTCUSDT", vec!["--start", "20240101"], 2, "--start"),
        ("BTCUSDT", vec!["--timerange", "20240101-"], 2, "--timerange"),
        ("BTCUSDT", vec!["--exit-at-end"], 2, "--exit-at-end"),
        ("BTCUSDT", vec!["--rest-url", "http://127.0.0.1:9"], 2, "--stream-url"),
        (
            "BTCUSDT",
            vec!["--rest-url", "http://192.168.0.1", "--stream-url", "wss://a.example"],
            2,
            "not encrypted",
        ),
        ("all", nowhere.to_vec(), 2, "name some, as --symbols BTCUSDT,ETHUSDT"),
    ] {
        let ran = place.run(&[live.as_slice(), &[symbols], more.as_slice()].concat());
        assert_eq!(ran.code, Some(code), "{more:?}\n{ran:?}");
        assert!(ran.stderr.contains(expected), "{more:?}\n{}", ran.stderr);
    }
    let unasked = ["exchange-sim", "--symbols", "all", "--interval", "1h"];
    let ran = place.run(&[unasked.as_slice(), &nowhere].concat());
    assert!(ran.code == Some(2) && ran.stderr.contains("--live"), "{ran:?}");
}
