//! A folder of its own for each test, the binary run in it, and markets to run it on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A strategy with a grid of 12 x 20 = 240 rows, of which `where` excludes some.
pub(crate) const STRATEGY: &str = "\
name: cross
params:
  fast: {from: 3, to: 25, step: 2}
  slow: {from: 15, to: 53, step: 2}
where: fast < slow
long:
  enter: crosses_above(ema(close, fast), sma(close, slow))
  exit: crosses_below(ema(close, fast), sma(close, slow))
short:
  enter: rsi(close, fast) < 25
  exit: rsi(close, fast) > 55
stop_loss: 0.015
take_profit: 0.02
max_bars: 60
";

/// Valid rows of the grid of [`STRATEGY`].
pub(crate) const STRATEGY_COMBOS: u64 = 219;

/// Every column that a metric has in a result table.
pub(crate) const METRICS: [&str; 25] = [
    "total_return",
    "cagr",
    "volatility",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "trades",
    "win_rate",
    "profit_factor",
    "expectancy",
    "avg_trade_return",
    "sqn",
    "exposure",
    "fees",
    "final_equity",
    "best_trade",
    "worst_trade",
    "max_consecutive_losses",
    "avg_bars_held",
    "long_trades",
    "short_trades",
    "ambiguous_bars",
    "psr",
    "dsr",
];

/// What a run of the binary gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Its stdout, which must be that of a success.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Its stdout as the one JSON document of a success.
    pub(crate) fn json(self) -> Value {
        one_document(&self.ok())
    }
}

/// The only JSON document of a text.
pub(crate) fn one_document(text: &str) -> Value {
    let documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let documents: Vec<Value> =
        documents.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {text}"));
    let [document] = <[Value; 1]>::try_from(documents).expect("exactly one JSON document");
    document
}

/// A folder with a `data` folder of synthetic bars and a strategy.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// An empty folder.
    pub(crate) fn empty() -> Place {
        Place { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A folder with `cross.yaml` and hourly bars of AAAUSDT and BBBUSDT in `data`, imported from Binance CSV.
    pub(crate) fn with_market(bars: usize) -> Place {
        let place = Place::empty();
        place.write("cross.yaml", STRATEGY);
        for (number, symbol) in ["AAAUSDT", "BBBUSDT"].into_iter().enumerate() {
            place.write(&format!("{symbol}-1h.csv"), &binance_csv(bars, number as u64 + 1));
        }
        place.run(&["data", "import", "AAAUSDT-1h.csv", "BBBUSDT-1h.csv", "--interval", "1h"]).ok();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the folder is writable");
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The binary in this folder, with nothing of the caller's environment that it reads.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        for name in [
            "DATA", "RESULTS", "THREADS", "SOURCE", "REST", "TOKEN", "BIND", "GPU", "SLOTS", "FAULTS",
            "PROFILE", "CONTROL",
        ] {
            command.env_remove(format!("POLYBOLOS_{name}"));
        }
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env("RUST_BACKTRACE", "1").env_remove("NO_COLOR").env_remove("COLUMNS");
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("the binary starts");
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }

    /// Sweeps `cross.yaml` over both symbols into `results`; the JSON document.
    pub(crate) fn sweep(&self, results: &str, more: &[&str]) -> Value {
        let args =
            ["sweep", "cross.yaml", "--symbols", "all", "--interval", "1h", "--results", results, "--json"];
        self.run(&[&args, more].concat()).json()
    }

    /// Every file below a folder that carries a finished unit.
    pub(crate) fn units(&self, results: &str) -> Vec<PathBuf> {
        let mut units = Vec::new();
        let mut folders = vec![self.path(results).join("units")];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "parquet") {
                    units.push(path);
                }
            }
        }
        units
    }

    /// The bytes of a sweep's result files, by symbol.
    pub(crate) fn result_bytes(&self, results: &str, sweep_id: &str) -> Vec<Vec<u8>> {
        let file = |symbol: &&str| self.read(&format!("{results}/sweeps/{sweep_id}/{symbol}.parquet"));
        ["AAAUSDT", "BBBUSDT"].iter().map(file).collect()
    }
}

pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_polybolos"))
}

/// Recorded bars beside the repository, if they are there.
pub(crate) fn recorded(folder: &str) -> Option<PathBuf> {
    let path = Path::new("../../shared/data").join(folder);
    // For processes in other folders.
    let there = path.canonicalize();
    if there.is_err() {
        eprintln!("skipped: there is no {}", path.display());
    }
    there.ok()
}

/// A random walk of hourly bars from 2023-01-01 as Binance writes it: twelve columns, no header, milliseconds.
pub(crate) fn binance_csv(bars: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move || {
        // xorshift64*, the upper 53 bits as a fraction.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut out = String::new();
    let mut price = 100.0;
    for bar in 0..bars {
        let open_time = 1_672_531_200_000 + bar as i64 * 3_600_000;
        let open: f64 = price;
        let close = open * (1.0 + (random() - 0.5) * 0.02);
        let high = open.max(close) * (1.0 + random() * 0.004);
        let low = open.min(close) * (1.0 - random() * 0.004);
        let volume = 10.0 + 90.0 * random();
        let (quote, close_time) = (volume * close, open_time + 3_599_999);
        writeln!(
            out,
            "{open_time},{open:.4},{high:.4},{low:.4},{close:.4},{volume:.3},{close_time},{quote:.4},{},{:.3},{:.4},0",
            bar % 97 + 1,
            volume / 2.0,
            quote / 2.0
        )
        .expect("a String takes everything");
        price = close;
    }
    out
}
