//! A bot's file: what is accepted, what is refused with which words and where, and what is written.

use polybolos_engine::strategy::{Format, Source};
use polybolos_live_trader::config::{
    BotConfig, Mode, Protection, Sources, Span, VenueName, json_schema, load,
};
use serde_json::Value;

const BOT: &str = "\
name: demo
strategy:
  document: |
    name: up
    long: {enter: close > open, exit: close < open}
  interval: 1h
symbols: [BTCUSDT, ETHUSDT]
capital:
  quote_asset: USDT
  per_symbol: 1000
risk:
  max_daily_loss: 0.05
  max_open_positions: 2
profiles:
  dev:
    risk: {max_daily_loss: 0.5}
  prod:
    mode: live
    exchange: {venue: live}
";

fn file(text: &str, format: Format) -> Source {
    Source { name: "bot.yaml".to_owned(), text: text.to_owned(), format }
}

fn read(text: &str) -> Result<BotConfig, String> {
    load(&file(text, Format::Yaml), &Sources::default()).map_err(|faults| faults.to_string())
}

fn with_environment(variables: &[(&str, &str)]) -> Result<BotConfig, String> {
    let environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sources = Sources { profile: None, environment };
    load(&file(BOT, Format::Yaml), &sources).map_err(|faults| faults.to_string())
}

#[test]
fn the_example_is_read_names_every_key_and_its_alternatives_are_read_in_place_of_others() {
    let example = BotConfig::example().unwrap();
    read(&example).unwrap();
    for key in keys(&json_schema()) {
        let named = example.lines().any(|line| {
            let line = line.trim_start_matches([' ', '#', '-']);
            line.starts_with(&format!("{key}:")) || line.starts_with(&format!("\"{key}\":"))
        });
        assert!(named, "`{key}` is not in the example");
    }
    for (plain, alternative) in [("symbols", "selection"), ("  per_symbol", "  total"), ("logs", "logs")] {
        let text = instead(&example, plain, alternative);
        read(&text).unwrap_or_else(|error| panic!("{alternative}: {error}\n{text}"));
    }
    let uncommented =
        ["  digest", "evidence", "  rest_url", "  stream_url", "  ws_api_url", "  key_file", "  file"]
            .iter()
            .fold(example, |text, key| uncomment(&text, key));
    let config = read(&instead(&uncommented, "  document", "  file")).unwrap();
    assert!(config.evidence.is_some() && config.exchange.key_file.is_some());
}

/// Names of all keys of the schema.
fn keys(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.keys().cloned());
            }
            found.extend(map.values().flat_map(keys));
        }
        Value::Array(items) => found.extend(items.iter().flat_map(keys)),
        _ => {}
    }
    found
}

/// Takes the `# ` away from a key and what is below it.
fn uncomment(text: &str, key: &str) -> String {
    let indent = key.len() - key.trim_start().len();
    let margin = " ".repeat(indent);
    let mut inside = false;
    text.lines()
        .map(|line| {
            let head = format!("{margin}# {}:", key.trim_start());
            let hidden = line.strip_prefix(&format!("{margin}# "));
            if line.starts_with(&head) {
                inside = true;
            } else if inside && !hidden.is_some_and(|rest| rest.starts_with(' ')) {
                inside = false;
            }
            match hidden {
                Some(rest) if inside => format!("{margin}{rest}\n"),
                _ => format!("{line}\n"),
            }
        })
        .collect()
}

/// `alternative` uncommented, `plain` (and its lines) removed.
fn instead(text: &str, plain: &str, alternative: &str) -> String {
    let text = uncomment(text, alternative);
    if plain == alternative {
        return text;
    }
    let indent = plain.len() - plain.trim_start().len();
    let mut inside = false;
    text.lines()
        .filter(|line| {
            let depth = line.len() - line.trim_start().len();
            if line.starts_with(&format!("{plain}:")) {
                inside = true;
            } else if inside && depth <= indent && !line.is_empty() {
                inside = false;
            }
            !inside
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn defaults_fill_what_is_not_there_and_the_three_formats_mean_the_same() {
    let config = read(BOT).unwrap();
    assert_eq!(
        (config.mode, config.exchange.venue, config.exchange.recv_window_ms),
        (Mode::Paper, VenueName::Testnet, 5_000)
    );
    assert_eq!(config.control.listen.to_string(), "127.0.0.1:9390");
    let json = serde_json::to_string_pretty(&config).unwrap();
    assert_eq!(load(&file(&json, Format::Json), &Sources::default()).unwrap(), config);
    let toml = "name = \"demo\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n[strategy]\ninterval = \"1h\"\ndocument = \"\"\"\n\
                name: up\nlong: {enter: close > open, exit: close < open}\n\"\"\"\n[capital]\nquote_asset = \"USDT\"\n\
                per_symbol = 1000\n[risk]\nmax_daily_loss = 0.05\nmax_open_positions = 2\n";
    assert_eq!(load(&file(toml, Format::Toml), &Sources::default()).unwrap(), config);
}

#[test]
fn what_is_written_is_read_back_as_it_was() {
    let mut config = read(BOT).unwrap();
    config.risk.limits.max_drawdown = None;
    config.risk.protections = vec![
        Protection::CooldownPeriod { stop_duration: Span::Bars(3) },
        Protection::LowProfitPairs {
            lookback: Span::Minutes(90),
            trade_limit: 2,
            stop_duration: Span::Bars(4),
            required_profit: "-0.015".parse().unwrap(),
        },
    ];
    for document in [
        "a: 1\nb: \"x\"\n",
        "\n",
        " leading\nspace\n",
        "no end",
        "two ends\n\n",
        "tab\there\nx\n",
        "ä: ü\n \nz\n",
    ] {
        config.strategy.document = Some(document.to_owned());
        config.strategy.params.insert("tiny".to_owned(), 1e-7);
        let text = config.to_yaml().unwrap();
        assert_eq!(read(&text).as_ref(), Ok(&config), "{text}");
    }
}

#[test]
fn every_fault_has_its_place_its_value_and_a_way_out() {
    for (from, to, words) in [
        (
            "max_daily_loss: 0.05",
            "max_dayly_loss: 0.05",
            "bot.yaml:12:3: unknown key `max_dayly_loss` in `risk`\n  hint: did you mean `max_daily_loss`?",
        ),
        (
            "max_daily_loss: 0.05",
            "max_daily_loss: -5",
            "bot.yaml:12:19: `risk.max_daily_loss` must be a decimal number above 0 and at most 1, not `-5`",
        ),
        (
            "max_daily_loss: 0.05",
            "max_daily_loss: much",
            "at most 1, not `much`\n  hint: risk.max_daily_loss: Loss of the UTC day",
        ),
        (
            "max_open_positions: 2",
            "max_open_positions: 2.5",
            "bot.yaml:13:23: `risk.max_open_positions` must be a whole number of at least 0, not `2.5`",
        ),
        ("interval: 1h", "interval: 7h", "`strategy.interval` must be one of 1m, 3m, 5m"),
        ("  interval: 1h\n", "", "`strategy` has no `interval`"),
        (
            "name: demo",
            "name: de mo",
            "bot.yaml:1:7: `name` must be a text of the form ^[A-Za-z0-9_-]{1,64}$, not `de mo`",
        ),
        (
            "name: demo",
            "name: demo\nmode: papre",
            "must be one of paper, testnet, live, not `papre`\n  hint: did you mean `paper`?",
        ),
        ("name: demo", "name: demo\nmode:", "`mode` has no value"),
        ("name: demo", "name: demo\nmode: [live]", "`mode` must be one value, not a list"),
        ("capital:", "capital: all\nlogs:", "`capital` must be a table of keys, not `all`"),
        (
            "per_symbol: 1000",
            "per_symbol: 0",
            "`capital.per_symbol` must be a decimal number above 0, not `0`",
        ),
        ("max_daily_loss: 0.05", "max_daily_loss: 1.01", "above 0 and at most 1, not `1.01`"),
        (
            "per_symbol: 1000",
            "per_symbol: 1000\n  total: 5",
            "bot.yaml:9:3: `capital` has both `per_symbol` and `total`",
        ),
        ("  per_symbol: 1000\n", "", "`capital` has neither `per_symbol` nor `total`"),
        ("symbols: [BTCUSDT, ETHUSDT]\n", "", "has neither `symbols` nor `selection`"),
        ("ETHUSDT]", "ETHBTC]", "the symbol `ETHBTC` is not paid for in USDT"),
        ("ETHUSDT]", "BTCUSDT]", "the symbol `BTCUSDT` is there twice"),
        ("symbols: [BTCUSDT, ETHUSDT]", "symbols: BTCUSDT", "`symbols` must be a list, not `BTCUSDT`"),
        ("  dev:", "  development:", "`development` is not the name of a profile"),
        (
            "risk: {max_daily_loss: 0.5}",
            "risk: {max_daily_los: 0.5}",
            "bot.yaml:16:12: unknown key `max_daily_los`",
        ),
        (
            "name: demo",
            "name: demo\ncontrol: {listen: \"0.0.0.0:9390\"}",
            "`control.listen` is 0.0.0.0:9390, which other machines can reach",
        ),
        (
            "name: demo",
            "name: demo\ncontrol: {listen: here}",
            "bot.yaml:2:19: `control.listen`: invalid socket address",
        ),
        (
            "name: demo",
            "name: demo\nexchange: {venue: custom}",
            "not all of `rest_url`, `stream_url` and `ws_api_url`",
        ),
        (
            "name: demo",
            "name: demo\nmode: testnet\nexchange: {venue: live}",
            "bot.yaml:2:7: testnet mode would send its orders to the live exchange",
        ),
        ("name: demo", "name: demo\nmode: live", "an exchange without real money"),
        (
            "max_open_positions: 2",
            "protections: [{method: CooldownPriod, stop_duration: {bars: 1}}]",
            "must be one of CooldownPeriod, StoplossGuard, MaxDrawdown, LowProfitPairs, not `CooldownPriod`\n  hint: did you mean `CooldownPeriod`?",
        ),
        (
            "max_open_positions: 2",
            "protections: [{method: CooldownPeriod}]",
            "`risk.protections[0]` has no `stop_duration`",
        ),
        (
            "max_open_positions: 2",
            "protections: [{method: CooldownPeriod, stop_duration: {weeks: 1}}]",
            "`risk.protections[0].stop_duration` must be a table of one key, minutes or bars, not a table",
        ),
    ] {
        assert!(BOT.contains(from), "{from}");
        let Err(error) = read(&BOT.replacen(from, to, 1)) else { panic!("accepted: {to}") };
        assert!(error.contains(words), "{to}:\n{error}\nlacks\n{words}");
    }
    let all = read(&BOT.replace("name: demo", "nam: demo").replace("per_symbol", "per_symbl")).unwrap_err();
    assert!(all.matches("hint:").count() >= 3, "all faults at once: {all}");
}

#[test]
fn a_secret_written_where_the_name_of_its_variable_belongs_is_refused_and_not_repeated() {
    let secret = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
    for key in [
        "exchange: {key_env: S}",
        "exchange: {secret_env: S}",
        "control: {token_env: S}",
        "alerts: {webhook: {url_env: S}}",
    ] {
        let error = read(&BOT.replace("name: demo", &format!("name: demo\n{}", key.replace('S', secret))))
            .unwrap_err();
        assert!(error.contains("name of an environment variable") && !error.contains(secret), "{error}");
    }
}

#[test]
fn the_environment_replaces_values_of_the_file_and_is_checked_as_they_are() {
    let config = with_environment(&[
        ("POLYBOLOS__RISK__MAX_DAILY_LOSS", "0.125"),
        ("POLYBOLOS__SYMBOLS", "[SOLUSDT]"),
        ("POLYBOLOS__EXCHANGE__LOCKSTEP", "true"),
        ("POLYBOLOS_DATA", "elsewhere"),
        ("HOME", "/nowhere"),
    ])
    .unwrap();
    assert_eq!(config.risk.limits.max_daily_loss, Some("0.125".parse().unwrap()));
    assert_eq!(
        (config.symbols.as_slice(), config.exchange.lockstep),
        (["SOLUSDT".to_owned()].as_slice(), true)
    );
    assert_eq!(config.risk.limits.max_open_positions, Some(2.into()), "the rest of the section stays");
    for (name, value, words) in [
        (
            "POLYBOLOS__RISK__MAX_DALY_LOSS",
            "1",
            "POLYBOLOS__RISK__MAX_DALY_LOSS: unknown key `max_daly_loss` in `risk`\n  hint: did you mean `max_daily_loss`?",
        ),
        (
            "POLYBOLOS__RISK__MAX_DAILY_LOSS",
            "lots",
            "POLYBOLOS__RISK__MAX_DAILY_LOSS: `risk.max_daily_loss` must be a decimal number above 0 and at most 1, not `lots`",
        ),
        ("POLYBOLOS__RISK__", "1", "a key between double underscores is empty"),
        ("POLYBOLOS__NAME", "[a", "POLYBOLOS__NAME: "),
    ] {
        let error = with_environment(&[(name, value)]).unwrap_err();
        assert!(error.contains(words), "{name}={value}: {error}");
    }
}

#[test]
fn a_profile_is_laid_over_the_file_and_the_environment_over_both() {
    let load = |profile: &str, environment: &[(&str, &str)]| {
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let sources = Sources { profile: Some(profile.to_owned()), environment };
        load(&file(BOT, Format::Yaml), &sources).map_err(|faults| faults.to_string())
    };
    let dev = load("dev", &[]).unwrap();
    assert_eq!(dev.risk.limits.max_daily_loss, Some("0.5".parse().unwrap()));
    assert_eq!(dev.risk.limits.max_open_positions, Some(2.into()));
    assert_eq!(load("prod", &[]).unwrap().mode, Mode::Live);
    let over = load("dev", &[("POLYBOLOS__RISK__MAX_DAILY_LOSS", "0.7")]).unwrap();
    assert_eq!(over.risk.limits.max_daily_loss, Some("0.7".parse().unwrap()));
    let error = load("test", &[]).unwrap_err();
    assert!(
        error.contains("--profile test: the file has no such profile\n  hint: its profiles are dev, prod"),
        "{error}"
    );
}

#[test]
fn what_is_shown_has_no_credentials_of_urls() {
    let urls = "exchange:\n  venue: custom\n  rest_url: https://user:hunter2@proxy.example/binance?token=hunter3#hunter4\n  \
                stream_url: wss://host/x?key=hunter5\n  ws_api_url: wss://host:9443/ws-api/v3";
    let config = read(&BOT.replace("name: demo", &format!("name: demo\n{urls}"))).unwrap();
    let shown = config.redacted().to_yaml().unwrap();
    assert!(!shown.contains("hunter") && !shown.contains("user:"), "{shown}");
    assert!(
        shown.contains("https://***@proxy.example/binance?***")
            && shown.contains("wss://host:9443/ws-api/v3"),
        "{shown}"
    );
}

#[test]
fn a_limit_that_is_null_is_off_one_that_is_missing_has_its_default_and_an_empty_one_is_a_fault() {
    let limits = read(&BOT.replace("max_daily_loss: 0.05", "max_daily_loss: null")).unwrap().risk.limits;
    assert_eq!((limits.max_daily_loss, limits.max_drawdown), (None, Some("0.2".parse().unwrap())));
    let error = read(&BOT.replace("max_daily_loss: 0.05", "max_daily_loss:")).unwrap_err();
    assert!(error.contains("`risk.max_daily_loss` has no value"), "{error}");
    let error = read(&BOT.replace("name: demo", "name: null")).unwrap_err();
    assert!(error.contains("`name` must be one value, not null"), "{error}");
}
