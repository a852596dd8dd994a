//! Nothing a user can write makes the reader panic, overflow the stack or point outside the text.

use polybolos_engine::strategy::{
    Format, MAX_DOCUMENT_BYTES, Overrides, Source, Strategy as Language, compile_expressions, functions,
};
use proptest::prelude::*;

use super::example_files;

/// Reads a text on a thread with the smallest stack that callers have, and checks the places of all faults.
fn read(text: &str, format: Format, overrides: &Overrides) -> Result<(), TestCaseError> {
    let source = Source { name: "fuzz".to_owned(), text: text.to_owned(), format };
    let Err(faults) = Language::parse(&source, overrides) else { return Ok(()) };
    prop_assert!(!faults.0.is_empty());
    let lines: Vec<&str> = text.split('\n').collect();
    for fault in &faults.0 {
        let is_flag = fault.source.starts_with("--");
        prop_assert_eq!(fault.line == 0, is_flag, "{}", fault);
        if is_flag {
            continue;
        }
        let line = lines.get(fault.line - 1);
        prop_assert!(line.is_some(), "{} of {} lines", fault, lines.len());
        let columns = line.map_or(0, |line| line.chars().count()).max(1);
        prop_assert!((1..=columns).contains(&fault.column), "{}", fault);
        prop_assert!(!fault.message.is_empty() && fault.message.len() < 1_000, "{}", fault);
    }
    Ok(())
}

fn any_format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Yaml), Just(Format::Json), Just(Format::Toml)]
}

/// Words, signs and numbers of the language and of its neighbours.
const TOKENS: &str = "close open volume n m AND OR NOT BETWEEN CASE WHEN THEN ELSE END NULL TRUE FALSE IS IN LIKE \
    CAST INTERVAL SELECT EXISTS ANY OVER DISTINCT ROW ARRAY EXTRACT POSITION DATE TIMESTAMP COLLATE ( ) , + - * / % = \
    <> < <= > >= == != '4h' ' \" . :: || && [ ] { } : ; # -- /* ! ? @ $1 \u{e9} 0 1 5 2.5 1e9 1e-400 .5 0x1F";

fn token() -> impl Strategy<Value = String> {
    let words: Vec<String> = TOKENS.split_whitespace().chain(["\n"]).map(str::to_owned).collect();
    let names: Vec<String> = functions().iter().map(|function| format!("{}(", function.name)).collect();
    prop_oneof![4 => prop::sample::select(words), 2 => prop::sample::select(names)]
}

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(token(), 0..40).prop_map(|tokens| tokens.join(" "))
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}|[ -~\n\t]{0,200}|[a-e:{}\\[\\],'\"&*!|>#%@ \n-]{0,60}", format in any_format()) {
        read(&text, format, &Overrides::default())?;
    }

    #[test]
    fn any_expression_is_compiled_or_refused(expression in soup()) {
        let _ = compile_expressions(std::slice::from_ref(&expression), "1h".parse().unwrap());
        let indented = expression.replace('\n', "\n    ");
        let text = format!("name: t\nparams: {{n: [5, 6], m: 3}}\nlong:\n  enter: |\n    {indented}\nstop_loss: n / 100 * m");
        read(&text, Format::Yaml, &Overrides::default())?;
    }

    #[test]
    fn any_plain_scalar_is_read_or_refused(expression in soup(), key in "where|stop_loss|size|params|name|max_bars|backtest") {
        read(&format!("name: t\n{key}: {expression}\nlong: {{enter: close > 1}}"), Format::Yaml, &Overrides::default())?;
    }

    #[test]
    fn any_flag_is_applied_or_refused(flag in "[a-c]?=?[-0-9.,:e]{0,12}|\\PC{0,20}", cash in any::<f64>(), fee in any::<f64>()) {
        let overrides = Overrides { params: vec![flag], cash: Some(cash), fee: Some(fee), ..Overrides::default() };
        read("name: t\nparams: {a: [5, 6], b: 3}\nlong: {enter: 'close > sma(close, a) + b'}", Format::Yaml, &overrides)?;
    }

    #[test]
    fn any_damage_to_a_document_is_read_or_refused(
        which in any::<prop::sample::Index>(), cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..6, "\\PC{0,3}|[ -~\n]{0,6}"), 1..5),
    ) {
        let files = example_files();
        let mut chars: Vec<char> = which.get(&files).1.chars().collect();
        for (at, length, insert) in cuts {
            let start = at.index(chars.len() + 1);
            let end = (start + length).min(chars.len());
            chars.splice(start..end, insert.chars());
        }
        let text: String = chars.into_iter().collect();
        read(&text, Format::Yaml, &Overrides::default())?;
    }
}

/// Texts made to exhaust the reader: depth, length, breadth and repetition.
#[test]
fn hostile_texts_are_refused_on_a_small_stack() {
    let deep = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    let expressions = [
        deep("(", ")", 4_000),
        deep("sma(", ", 5)", 900),
        deep("-", "", 900).replace("--", "- -"),
        deep("NOT ", "", 900),
        deep("CASE WHEN TRUE THEN ", " END", 200),
        deep("CASE ", " WHEN 1 THEN 2 END", 200),
        format!("close > 0{}", " + close".repeat(490)),
        format!("close > 0{}", " AND close > 0".repeat(240)),
        format!("1{}", " BETWEEN 0 AND 1".repeat(240)),
        format!("least(1{})", ", 1".repeat(480)),
        format!("close > {}", "9".repeat(9_000)),
        "a.".repeat(4_000),
        "'".repeat(4_001),
        "x".repeat(20_000),
        "/*".repeat(400),
    ];
    let documents = [
        deep("[", "]", 100_000),
        deep("{a: ", "}", 100_000),
        "- ".repeat(100_000),
        format!("a: {}", "- ".repeat(50_000)),
        "a: &a [*a, *a]\n".to_owned(),
        "? ".repeat(50_000),
        "!".repeat(50_000),
        "a".repeat(MAX_DOCUMENT_BYTES + 1),
        (0..60_000).map(|i| format!("k{i}: 1\n")).collect::<String>(),
        format!("name: t\nparams: {{a: [{}]}}\nlong: {{enter: close > a}}", "1,".repeat(200_000)),
        format!("[a{}]\nb = 1", ".a".repeat(100_000)),
        format!("a = {}", deep("[", "]", 100_000)),
        format!("a = {}", deep("{a=", "}", 100_000)),
    ];
    let work = move || {
        for expression in &expressions {
            let _ = compile_expressions(std::slice::from_ref(expression), "1h".parse().unwrap());
            let text = format!("name: t\nlong:\n  enter: >\n    {expression}\n");
            read(&text, Format::Yaml, &Overrides::default()).unwrap();
        }
        for document in &documents {
            for format in [Format::Yaml, Format::Json, Format::Toml] {
                read(document, format, &Overrides::default()).unwrap();
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap();
    thread.join().unwrap();
}
