//! What a document says, in each of its formats, with and without flags.

use polybolos_engine::kernels::program::Size;
use polybolos_engine::kernels::sim::{Fill, Intrabar, Returns, SimConfig};
use polybolos_engine::space::Values;
use polybolos_engine::strategy::{Format, Overrides, Source, Strategy, schema};

use super::{parse, parse_with, set};

const YAML: &str = "
name: twin            # a comment
description: >
  Words about it,
  on two lines.
params:
  fast: {from: 5, to: 7}
  slow: [20, 30.5]
where: fast < slow
long:
  enter: |
    close > sma(close, fast)
    AND close <= slow
stop_loss: 0.05
size: {quote: 1_0}
backtest:
  cash: 500
  fee: {maker: 0, taker: 0.002}
  fill: close
";

const JSON: &str = r#"{
	"size": {"quote": 10},
	"name": "twin",
	"params": {"fast": {"from": 5, "to": 7}, "slow": [20, 3.05e1]},
	"where": "fast \u003c slow",
	"long": {"enter": "(close > SMA(close, fast)) and close <= slow"},
	"stop_loss": 0.050,
	"backtest": {"cash": 500, "fee": {"maker": 0, "taker": 0.002}, "fill": "close"}
}"#;

const TOML: &str = r#"
name = "twin"
where = "fast<slow"
stop_loss = 0.05
[params]
slow = [20, 30.5]
fast = {from = 5, to = 7}
[size]
quote = 1_0
[long]
enter = """
close > sma(close, fast)
  AND close <= slow"""
[backtest]
cash = 500
fee.maker = 0
fee.taker = 0.002
fill = "close"
"#;

fn read(text: &str, format: Format) -> Strategy {
    let source = Source { name: "twin".to_owned(), text: text.to_owned(), format };
    Strategy::parse(&source, &Overrides::default()).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn the_three_formats_mean_the_same() {
    let yaml = read(&YAML.replace("1_0", "10"), Format::Yaml);
    let json = read(JSON, Format::Json);
    assert_eq!(yaml.canonical(), json.canonical());
    assert_eq!(yaml.digest(), json.digest());
    assert_eq!(yaml.program(), json.program());
    // The TOML twin declares its parameters in the other order, which is another grid.
    let toml = read(TOML, Format::Toml);
    assert_eq!(toml.space().params()[0].name, "slow");
    let reordered = TOML.replace("slow = [20, 30.5]\n", "").replace("[size]", "slow = [20, 30.5]\n[size]");
    assert_eq!(read(&reordered, Format::Toml).digest(), yaml.digest());
    assert_ne!(toml.digest(), yaml.digest());
}

#[test]
fn file_names_tell_the_format() {
    for (name, format) in [
        ("a.yaml", Some(Format::Yaml)),
        ("a.b.YML", Some(Format::Yaml)),
        ("dir/a.json", Some(Format::Json)),
        ("a.toml", Some(Format::Toml)),
        ("a.txt", None),
        ("yaml", None),
    ] {
        assert_eq!(Format::from_file_name(name), format, "{name}");
    }
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let strategy = parse("name: plain\nlong: {enter: close > open}");
    assert_eq!(strategy.config(), SimConfig::default());
    assert_eq!(strategy.config().cash, 10_000.0);
    assert_eq!(strategy.config().taker_fee, 0.001);
    let rules = &strategy.program().rules;
    assert_eq!(
        (rules.long_exit, rules.short_enter, rules.stop_loss, rules.max_bars),
        (None, None, None, None)
    );
    assert!(matches!(rules.size, Size::Equity(_)));
    assert_eq!(strategy.space().len(), 1);
    assert_eq!(strategy.single_combination(), Ok(vec![]));
    assert_eq!(strategy.description(), None);
}

#[test]
fn settings_and_flags_are_applied() {
    let text = "name: t\nlong: {enter: close > open}\nbacktest: {cash: 5, fee: 0.01, slippage: 0.5, fill: close, \
                intrabar: nearest_open, returns: bar}";
    let config = parse(text).config();
    assert_eq!((config.cash, config.maker_fee, config.taker_fee, config.slippage), (5.0, 0.01, 0.01, 0.5));
    assert_eq!(
        (config.fill, config.intrabar, config.returns),
        (Fill::Close, Intrabar::NearestOpen, Returns::Bar)
    );
    let overrides = Overrides {
        cash: Some(7.0),
        fee: Some(0.0),
        slippage: Some(0.25),
        fill: Some(Fill::NextOpen),
        intrabar: Some(Intrabar::TargetFirst),
        returns: Some(Returns::Daily),
        ..Overrides::default()
    };
    let config = parse_with(text, &overrides).config();
    assert_eq!((config.cash, config.maker_fee, config.taker_fee, config.slippage), (7.0, 0.0, 0.0, 0.25));
    assert_eq!(
        (config.fill, config.intrabar, config.returns),
        (Fill::NextOpen, Intrabar::TargetFirst, Returns::Daily)
    );
    let wire = serde_json::to_string(&overrides).unwrap();
    assert_eq!(
        wire,
        r#"{"cash":7.0,"fee":0.0,"slippage":0.25,"fill":"next_open","intrabar":"target_first","returns":"daily"}"#
    );
    assert_eq!(serde_json::from_str::<Overrides>(&wire).unwrap(), overrides);
    assert_eq!(serde_json::from_str::<Overrides>("{}").unwrap(), Overrides::default());
    assert!(serde_json::from_str::<Overrides>(r#"{"fill": "opne"}"#).is_err());
}

#[test]
fn set_flags_replace_values() {
    let text =
        "name: t\nparams: {a: [1, 2], b: {from: 0.1, to: 0.3, step: 0.1}}\nlong: {enter: close > a + b}";
    for (flag, values) in [
        ("a=7", vec![7.0]),
        ("a = 7, 9", vec![7.0, 9.0]),
        ("a=5..7", vec![5.0, 6.0, 7.0]),
        ("a=-1..1:0.5", vec![-1.0, -0.5, 0.0, 0.5, 1.0]),
    ] {
        let strategy = parse_with(text, &set(&[flag]));
        let param = &strategy.space().params()[0];
        let found: Vec<f64> = (0..param.values.len()).map(|index| param.values.get(index)).collect();
        assert_eq!(found, values, "{flag}");
        assert_eq!(strategy.space().params()[1].values.len(), 3);
        assert_eq!(strategy.overrides().params, [flag]);
    }
    assert!(matches!(parse(text).space().params()[0].values, Values::List(_)));
}

#[test]
fn the_digest_sees_meaning_and_nothing_else() {
    let text =
        "name: t\nparams: {n: {from: 5, to: 9}}\nlong: {enter: 'close > sma(close, n)'}\nstop_loss: 0.05";
    let digest = |text: &str| parse(text).digest();
    for same in [
        text.replace("'close > sma(close, n)'", "'  (close>SMA( close ,n))  '"),
        text.replace("name: t", "# why\nname: 't'\ndescription: other words"),
        text.replace("to: 9", "to: 9, step: 1.0"),
        text.replace("0.05", "5e-2"),
        format!("{text}\nbacktest: {{fee: 0.001}}\nsize: {{equity: 1}}"),
    ] {
        assert_eq!(digest(&same), digest(text), "{same}");
    }
    for other in [
        text.replace("close > sma", "close >= sma"),
        text.replace("name: t", "name: u"),
        text.replace("to: 9", "to: 10"),
        text.replace("0.05", "0.06"),
        text.replace("stop_loss", "trailing_stop"),
        text.replace("long", "short"),
        text.replace("enter: 'close", "exit: close > 5, enter: 'close"),
        format!("{text}\nbacktest: {{fee: 0.002}}"),
        format!("{text}\nwhere: n < 9"),
    ] {
        assert_ne!(digest(&other), digest(text), "{other}");
    }
    let narrowed = parse_with(text, &set(&["n=5..9"]));
    assert_eq!(narrowed.digest(), digest(text), "a flag that says what the document says changes nothing");
    assert_ne!(parse_with(text, &set(&["n=5..8"])).digest(), digest(text));
}

#[test]
fn the_canonical_document_is_fixed_to_the_byte() {
    let strategy = read(&YAML.replace("1_0", "10"), Format::Yaml);
    assert_eq!(
        strategy.canonical(),
        r#"{"name":"twin","params":[{"name":"fast","values":{"from":"5","to":"7","step":"1"}},{"name":"slow","values":["20","30.5"]}],"where":"(fast < slow)","long":{"enter":"((close > sma(close, fast)) AND (close <= slow))","exit":null},"short":{"enter":null,"exit":null},"stop_loss":"0.05","take_profit":null,"trailing_stop":null,"max_bars":null,"cooldown":null,"size":["quote","10"],"backtest":{"cash":"500","maker_fee":"0","taker_fee":"0.002","slippage":"0","fill":"close","intrabar":"stop_first","returns":"daily"}}"#
    );
    assert_eq!(strategy.description(), Some("Words about it, on two lines."));
}

#[test]
fn the_schema_knows_the_keys_and_words() {
    let schema = schema();
    assert_eq!(schema["required"], serde_json::json!(["name"]));
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
    assert_eq!(
        schema["properties"]["backtest"]["properties"]["intrabar"]["enum"],
        serde_json::json!(["stop_first", "target_first", "nearest_open"])
    );
    assert_eq!(schema["properties"]["long"]["required"], serde_json::json!(["enter"]));
}

/// The column of a fault inside an expression is right however the expression is written.
#[test]
fn places_survive_quotes_blocks_and_escapes() {
    let faulty = "close > bad";
    for (text, format) in [
        (format!("name: t\nlong:\n  enter: {faulty}"), Format::Yaml),
        (format!("name: t\nlong:\n  enter: \"{faulty}\""), Format::Yaml),
        (format!("name: t\nlong:\n  enter: '{faulty}'"), Format::Yaml),
        ("name: t\nlong:\n  enter: |\n      close >\n        bad\n".to_owned(), Format::Yaml),
        (
            "name: t\nlong:\n  enter: >-\n    close > 1\n    AND open < 2\n\n    AND high > bad\n".to_owned(),
            Format::Yaml,
        ),
        (
            "name: t\r\nlong:\r\n  enter: >\r\n    close > 1\r\n    AND high > bad\r\n".to_owned(),
            Format::Yaml,
        ),
        ("name: t\nlong:\n  enter: close > 1\n     AND  high\n    >    bad # é\n".to_owned(), Format::Yaml),
        (
            "name: t\ndescription: \"é \u{1f600}\"\nlong: {enter: \"close \\x3E \\\n   bad\"}".to_owned(),
            Format::Yaml,
        ),
        ("name: t\nlong: {enter: 'tf(''4h'', close) > bad'}".to_owned(), Format::Yaml),
        ("{\"name\": \"t\",\n\t\"long\": {\"enter\":\t\"close \\u003E\\tbad\"}}".to_owned(), Format::Json),
        ("name = 't'\n[long]\nenter = 'close > bad'".to_owned(), Format::Toml),
        ("name = 't'\n[long]\nenter = \"close \\u003E bad\"".to_owned(), Format::Toml),
        (
            "name = 't'\n[long]\nenter = \"\"\"\nclose > 1 \\\n   AND open > bad\"\"\"".to_owned(),
            Format::Toml,
        ),
        ("name = 't'\n[long]\nenter = '''\nclose\n > bad'''".to_owned(), Format::Toml),
    ] {
        let source = Source { name: "t".to_owned(), text: text.clone(), format };
        let faults = Strategy::parse(&source, &Overrides::default()).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{faults}\n---\n{text}");
        let fault = &faults.0[0];
        assert!(fault.message.contains("unknown name `bad`"), "{fault}");
        let line = text.lines().nth(fault.line - 1).unwrap();
        let rest: String = line.chars().skip(fault.column - 1).collect();
        assert!(rest.starts_with("bad"), "{fault} points at `{rest}`\n---\n{text}");
    }
}
