//! A dataset, a bot's file, the processes, and what must hold of them afterwards.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use polybolos_live_trader::journal::Audit;
use polybolos_live_trader::trader::{Record, Why};
use serde_json::Value;
use sha2::Sha256;

use super::{beyond, counted};
use crate::place::{Place, recorded};

const STRATEGY: &str = "\
name: up
long:
  enter: crosses_above(ema(close, 5), sma(close, 19))
  exit: crosses_below(ema(close, 5), sma(close, 19))
stop_loss: 0.015
take_profit: 0.03
max_bars: 40
backtest: {cash: 10000, fee: 0.001}
";

/// Where bars come from.
pub(super) struct Setup {
    symbols: Vec<String>,
    /// Zips of Binance's archive; `None`: a synthetic market.
    files: Option<Vec<String>>,
    bars: usize,
}

impl Setup {
    /// A synthetic market.
    pub(super) fn synthetic(symbols: usize, bars: usize) -> Setup {
        Setup { symbols: vec![String::new(); symbols], files: None, bars }
    }

    /// The first `bars` of recorded symbols, where they are there.
    pub(super) fn recorded(symbols: &[&str], bars: usize) -> Option<Setup> {
        let folder = recorded("spot-1h")?;
        let files: Vec<String> = std::fs::read_dir(folder)
            .ok()?
            .flatten()
            .map(|entry| entry.path().display().to_string())
            .collect();
        let files: Vec<String> =
            files.into_iter().filter(|file| symbols.iter().any(|symbol| file.contains(symbol))).collect();
        (files.len() >= symbols.len()).then(|| Setup {
            symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
            files: Some(files),
            bars,
        })
    }
}

/// A folder with a dataset of exactly the bars that are traded, and a bot.
pub(super) struct Session {
    place: Place,
    symbols: Vec<String>,
}

impl Session {
    pub(super) fn new(setup: &Setup) -> Session {
        let place = Place::empty();
        let (count, bars) = (setup.symbols.len().to_string(), setup.bars.to_string());
        match &setup.files {
            None => {
                place
                    .run(&[
                        "data",
                        "synth",
                        "--symbols",
                        &count,
                        "--bars",
                        &bars,
                        "--interval",
                        "1h",
                        "--seed",
                        "5",
                    ])
                    .ok();
            }
            Some(files) => {
                let mut import = vec!["data", "import"];
                import.extend(files.iter().map(String::as_str));
                import.extend(["--interval", "1h"]);
                place.run(&import).ok();
            }
        }
        let listed = place.run(&["data", "list", "--json"]).json();
        let symbols =
            listed.as_array().unwrap().iter().map(|row| row["symbol"].as_str().unwrap().to_owned()).collect();
        place.write("up.yaml", STRATEGY);
        let mut session = Session { place, symbols };
        if setup.files.is_some() {
            session.cut(setup.bars);
        }
        let list = session.symbols.join(", ");
        session.place.write(
            "bot.yaml",
            &format!(
                "name: up\nmode: testnet\nstrategy: {{file: up.yaml, interval: 1h}}\nsymbols: [{list}]\n\
                 capital: {{quote_asset: USDT, per_symbol: 10000}}\nentry: {{collar_bps: 20}}\ncontrol: {{enabled: false}}\n\
                 exchange: {{venue: custom}}\n\
                 risk: {{max_daily_loss: null, max_drawdown: null, price_collar_bps: null, max_quote_age_ms: null, max_orders_per_minute: null, max_orders_per_day: null}}\n"
            ),
        );
        session
    }

    /// Keeps the last `bars` of every symbol only: bot and backtest begin with the same bar.
    fn cut(&mut self, bars: usize) {
        let mut import = vec!["data".to_owned(), "import".to_owned()];
        for symbol in &self.symbols {
            let query = format!(
                "SELECT open_time, open, high, low, close, volume FROM bars WHERE symbol = '{symbol}' ORDER BY open_time DESC LIMIT {bars}"
            );
            let rows = self.place.run(&["sql", &query, "--json"]).json();
            let mut text = "open_time,open,high,low,close,volume\n".to_owned();
            for row in rows.as_array().unwrap().iter().rev() {
                let cells: Vec<String> = ["open_time", "open", "high", "low", "close", "volume"]
                    .iter()
                    .map(|name| row[*name].as_str().map_or_else(|| row[*name].to_string(), str::to_owned))
                    .collect();
                text.push_str(&cells.join(","));
                text.push('\n');
            }
            let file = format!("{symbol}-1h.csv");
            self.place.write(&file, &text);
            import.push(file);
        }
        std::fs::remove_dir_all(self.place.path("data")).unwrap();
        import.extend(["--interval".to_owned(), "1h".to_owned()]);
        let import: Vec<&str> = import.iter().map(String::as_str).collect();
        self.place.run(&import).ok();
    }

    /// Side, times, prices and reason of each of the bot's trades are those of the backtest of its symbol, prices to the tick on which
    /// levels are rounded.
    pub(super) fn assert_trades_of_the_backtest(&self, trades: &[Trade]) {
        let mut total = 0;
        for symbol in &self.symbols {
            self.place
                .run(&[
                    "backtest",
                    "up.yaml",
                    "--symbol",
                    symbol,
                    "--interval",
                    "1h",
                    "--trades",
                    "backtest.csv",
                ])
                .ok();
            let expected = trades_of(&self.place, "backtest.csv");
            let found: Vec<&Trade> = trades.iter().filter(|trade| trade.symbol == *symbol).collect();
            for (trade, wanted) in found.iter().zip(&expected) {
                assert!(
                    trade.is(wanted),
                    "{symbol}\nbot:      {trade:?}\nbacktest: {wanted:?}\nentries not made: {:?}",
                    self.entries_not_made(symbol)
                );
            }
            assert_eq!(
                found.len(),
                expected.len(),
                "{symbol}: {:?}",
                expected.get(found.len()).or(expected.last())
            );
            total += expected.len();
        }
        assert!(total > 10, "{total} trades prove little");
    }

    fn journal(&self) -> Vec<Record> {
        let dir = self.place.path("state/journal");
        let audit: Audit<Record> = Audit::open(&dir, "up").unwrap();
        audit
            .map(|entry| entry.unwrap())
            .filter(|entry| !entry.is_checkpoint)
            .map(|entry| entry.record)
            .collect()
    }

    /// Open times of the bars at whose closes the bot made no entry that the strategy wanted, ms, and why.
    fn entries_not_made(&self, symbol: &str) -> Vec<(i64, Why)> {
        let of_symbol = |record| match record {
            Record::NoEntry { symbol: of, bar_open_ms, why, .. } if of.as_str() == symbol => {
                Some((bar_open_ms, why))
            }
            _ => None,
        };
        self.journal().into_iter().filter_map(of_symbol).collect()
    }

    /// Every order at the exchange was in the journal, with its own id, and no id was placed twice.
    pub(super) fn assert_orders_are_the_journals(&self, exchange: &Exchange) {
        let mut journaled = BTreeSet::new();
        let records = self.journal();
        for record in &records {
            match record {
                Record::Order { order, .. } => {
                    assert!(
                        journaled.insert(order.client_id.to_string()),
                        "{} was made twice",
                        order.client_id
                    );
                }
                Record::List { list, .. } => {
                    for id in list.client_ids() {
                        assert!(journaled.insert(id.to_string()), "{id} was made twice");
                    }
                }
                _ => {}
            }
        }
        let known: BTreeSet<&str> = journaled.iter().map(String::as_str).collect();
        for symbol in &self.symbols {
            let orders = exchange.all_orders(symbol);
            let ids: Vec<&str> =
                orders.iter().map(|order| order["clientOrderId"].as_str().unwrap()).collect();
            let twice: Vec<_> =
                counted(ids.iter().copied()).into_iter().filter(|(_, count)| *count > 1).collect();
            assert!(twice.is_empty(), "{symbol}: {twice:?}");
            let strangers = beyond(&ids.into_iter().collect(), &known);
            assert!(strangers.is_empty(), "{symbol}: not in the journal: {strangers:?}");
            let entries = orders.iter().filter(|order| order["side"] == "BUY" && order["status"] == "FILLED");
            assert!(entries.count() > 2, "{symbol}: nothing was bought");
        }
    }

    /// Whatever is held is for sale at its levels.
    pub(super) fn assert_protected(&self, exchange: &Exchange) {
        let account = exchange.signed("account", "");
        for symbol in &self.symbols {
            let base = symbol.strip_suffix("USDT").unwrap();
            let balance =
                account["balances"].as_array().unwrap().iter().find(|balance| balance["asset"] == base);
            let amount = |field: &str| balance.map_or(0.0, |balance| number(&balance[field]));
            let price = number(&exchange.get(&format!("ticker/price?symbol={symbol}"), "")["price"]);
            let open = exchange.signed("openOrders", &format!("symbol={symbol}"));
            let open = open.as_array().unwrap();
            // What is worth less than the smallest order cannot be sold.
            let naked = amount("free") * price;
            assert!(
                naked < 10.0,
                "{symbol}: {naked} USDT are held without protection, open orders: {open:?}"
            );
            if amount("locked") > 0.0 {
                let kinds: BTreeSet<&str> =
                    open.iter().map(|order| order["type"].as_str().unwrap()).collect();
                assert_eq!(kinds, BTreeSet::from(["LIMIT_MAKER", "STOP_LOSS"]), "{symbol}");
            }
        }
    }
}

/// A closed trade.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trade {
    symbol: String,
    entry_time: String,
    entry_price: f64,
    exit_time: String,
    exit_price: f64,
    quantity: f64,
    reason: String,
}

impl Trade {
    /// Whether it is the backtest's trade `wanted`.
    fn is(&self, wanted: &Trade) -> bool {
        let near = |a: f64, b: f64, share: f64| (a - b).abs() <= share * b.abs();
        // The exchange takes its fee of a purchase in what was bought, and lots and the reserve for the collar cost some of each trade's profit.
        const QUANTITY: f64 = 0.2;
        // An average of fills whose amounts the exchange cuts off after eight decimals.
        const AVERAGE: f64 = 1e-9;
        // Levels lie on the exchange's grid, whose step is 0.01 at a price of 80.
        let level = if ["stop", "target"].contains(&self.reason.as_str()) { 2e-4 } else { AVERAGE };
        self.symbol == wanted.symbol
            && self.entry_time == wanted.entry_time
            && self.exit_time == wanted.exit_time
            && self.reason == wanted.reason
            && near(self.entry_price, wanted.entry_price, AVERAGE)
            && near(self.exit_price, wanted.exit_price, level)
            && near(self.quantity, wanted.quantity, QUANTITY)
    }
}

fn trades_of(place: &Place, file: &str) -> Vec<Trade> {
    let text = String::from_utf8(place.read(file)).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let at =
        ["symbol", "entry_time", "entry_price", "exit_time", "exit_price", "quantity", "reason"].map(column);
    lines
        .map(|row| {
            let [symbol, entry_time, entry_price, exit_time, exit_price, quantity, reason] =
                at.map(|i| row[i]);
            Trade {
                symbol: symbol.to_owned(),
                entry_time: entry_time.to_owned(),
                entry_price: entry_price.parse().unwrap(),
                exit_time: exit_time.to_owned(),
                exit_price: exit_price.parse().unwrap(),
                quantity: quantity.parse().unwrap(),
                reason: reason.to_owned(),
            }
        })
        .collect()
}

fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

/// A process whose lines on stderr are kept; it does not outlive the test.
struct Process {
    child: Child,
    lines: Arc<Mutex<String>>,
}

impl Process {
    fn start(mut command: std::process::Command) -> Process {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(String::new()));
        let (kept, stderr) = (Arc::clone(&lines), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Process { child, lines }
    }

    fn said(&self) -> String {
        self.lines.lock().unwrap().clone()
    }

    fn signal(&self, name: &str) {
        let sent =
            std::process::Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `exchange-sim`.
pub(super) struct Exchange {
    process: Process,
    address: String,
    /// Whether the market waits for the bot.
    is_lockstep: bool,
}

impl Exchange {
    /// Over the session's bars from the first one, at the bot's pace unless `more` says otherwise.
    pub(super) fn start(session: &Session, more: &[&str]) -> Exchange {
        let mut args = vec![
            "exchange-sim",
            "--symbols",
            "all",
            "--interval",
            "1h",
            "--listen",
            "127.0.0.1:0",
            "--history",
            "0",
        ];
        let is_lockstep = !more.contains(&"--speed");
        if is_lockstep {
            args.extend(["--speed", "max"]);
        }
        args.extend(more);
        let process = Process::start(session.place.command(&args));
        let began = Instant::now();
        loop {
            let said = process.said();
            if let Some(rest) = said.split_once("exchange simulator on http://").map(|(_, rest)| rest)
                && let Some((address, _)) = rest.split_once(' ')
            {
                return Exchange { address: address.to_owned(), process, is_lockstep };
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{said}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.process.said().contains("the last bar is over")
    }

    /// Waits until the last bar is over and its close has had time to be acted on.
    pub(super) fn wait_for_end(&self, deadline: Duration, mut look: impl FnMut()) {
        let began = Instant::now();
        while !self.has_ended() {
            look();
            assert!(began.elapsed() < deadline, "{}", self.process.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(500));
    }

    fn get(&self, target: &str, key: &str) -> Value {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET /api/v3/{target} HTTP/1.1\r\nHost: {}\r\n{key}Connection: close\r\n\r\n",
            self.address
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn signed(&self, path: &str, query: &str) -> Value {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let query = format!("{query}{}timestamp={now_ms}", if query.is_empty() { "" } else { "&" });
        let mut mac = Hmac::<Sha256>::new_from_slice(b"sim-secret").unwrap();
        mac.update(query.as_bytes());
        let signature: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.get(&format!("{path}?{query}&signature={signature}"), "X-MBX-APIKEY: sim-key\r\n")
    }

    /// All orders of a symbol, page by page.
    fn all_orders(&self, symbol: &str) -> Vec<Value> {
        let mut orders: Vec<Value> = Vec::new();
        loop {
            let next = orders.last().map_or(0, |order| order["orderId"].as_i64().unwrap() + 1);
            let page = self.signed("allOrders", &format!("symbol={symbol}&orderId={next}&limit=1000"));
            let page = page.as_array().unwrap();
            if page.is_empty() {
                return orders;
            }
            orders.extend(page.iter().cloned());
        }
    }
}

/// A running `trade`.
pub(super) struct Bot<'s> {
    session: &'s Session,
    process: Process,
}

impl<'s> Bot<'s> {
    pub(super) fn start(session: &'s Session, exchange: &Exchange) -> Bot<'s> {
        let mut command = session.place.command(&["trade", "bot.yaml", "--trades", "live.csv", "--quiet"]);
        let address = &exchange.address;
        command
            .env("POLYBOLOS__EXCHANGE__REST_URL", format!("http://{address}"))
            .env("POLYBOLOS__EXCHANGE__STREAM_URL", format!("ws://{address}"))
            .env("POLYBOLOS__EXCHANGE__WS_API_URL", format!("ws://{address}/ws-api/v3"))
            .env("POLYBOLOS__EXCHANGE__LOCKSTEP", exchange.is_lockstep.to_string())
            .env("POLYBOLOS_API_KEY", "sim-key")
            .env("POLYBOLOS_API_SECRET", "sim-secret");
        Bot { session, process: Process::start(command) }
    }

    pub(super) fn assert_running(&mut self) {
        let ended = self.process.child.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}\n{}", self.process.said());
    }

    /// Ends it with SIGKILL.
    pub(super) fn kill(mut self) {
        self.assert_running();
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
    }

    /// Ends it in order; the trades of its journal.
    pub(super) fn stop(mut self) -> Vec<Trade> {
        self.process.signal("-TERM");
        let ended = self.process.child.wait().unwrap();
        assert!(ended.success(), "{}", self.process.said());
        trades_of(&self.session.place, "live.csv")
    }
}

/// Numbers that follow from a seed (xorshift64*).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
