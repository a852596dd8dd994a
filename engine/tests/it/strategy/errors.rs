//! Every error names the place and a way out.

use polybolos_engine::strategy::Overrides;

use super::{faults, faults_with, set};

/// A strategy whose entry is `expression`; it begins at line 6, column 10.
fn entering(expression: &str) -> String {
    format!(
        "name: test\nparams:\n  n: [5, 10]\n  m: {{from: 20, to: 40}}\nlong:\n  enter: {expression} AND n < m\n"
    )
}

/// The only fault of a document.
fn only(text: &str) -> String {
    let found = faults(text);
    assert_eq!(found.len(), 1, "{found:#?}\n---\n{text}");
    found.into_iter().next().unwrap()
}

#[test]
fn faulty_expressions_are_told_with_place_and_hint() {
    for (expression, place, message, hint) in [
        ("close > smaa(close, n)", "6:18", "unknown function `smaa`", "did you mean `sma`?"),
        ("close > foo(close)", "6:18", "unknown function `foo`", "the functions are"),
        ("clsoe > sma(close, n)", "6:10", "unknown name `clsoe`", "did you mean `close`?"),
        ("Close > 1", "6:10", "unknown name `Close`", "did you mean `close`?"),
        ("close > zzz", "6:18", "unknown name `zzz`", "columns of the bars"),
        ("close > sma", "6:18", "unknown name `sma`", "`sma` is a function: write sma(x, n)"),
        ("close > sma(close)", "6:18", "`sma` takes 2 arguments, 1 given", "sma(x, n)"),
        ("close > sma(close, n, 3)", "6:18", "`sma` takes 2 arguments, 3 given", "sma(x, n)"),
        ("close > atr()", "6:18", "`atr` takes 1 argument, 0 given", "atr(n)"),
        ("close > least(close)", "6:18", "`least` takes 2 or more arguments, 1 given", "least(a, b, ...)"),
        (
            "close > sma(close, close)",
            "6:29",
            "n of `sma` must be a constant or a parameter",
            "a number up to",
        ),
        (
            "close > lag(close, volume)",
            "6:29",
            "n of `lag` must be a constant or a parameter",
            "a number up to",
        ),
        ("close > sma(close, 2.5)", "6:29", "n of `sma` must be a whole number of bars", "whole numbers"),
        ("close > sma(close, 0)", "6:29", "from 1 to 1000000, not 0", ""),
        ("close > sma(close, -3)", "6:29", "not -3", ""),
        ("close > sma(close, 1000001)", "6:29", "not 1000001", ""),
        ("close > rsi(close, n - 4)", "6:29", "not 1 (with n = 5)", "exclude them with `where`"),
        ("close > sma(close, n / 2)", "6:29", "not 2.5 (with n = 5)", "whole numbers"),
        ("close > sma(close, NULL)", "6:29", "NULL has no type here", "THEN and ELSE"),
        ("close > sma(close, ln(-1))", "6:29", "not undefined", ""),
        ("close > lag(close, 0 - 1)", "6:29", "from 0 to 1000000, not -1", ""),
        ("close", "6:10", "`AND` needs a condition, but `close` is a number", "compare it"),
        ("close > (open > 1)", "6:19", "`>` needs a number, but `(open > 1)` is a condition", "AND"),
        ("1 < close < 2", "6:10", "`<` needs a number, but `(1 < close)` is a condition", "a < b AND b < c"),
        ("NOT close", "6:14", "NOT needs a condition, but `close` is a number", "compare it"),
        ("close > -(open > 1)", "6:20", "`-` needs a number", "CASE"),
        ("abs(open > 1) > 0", "6:14", "`abs` needs a number", "CASE"),
        ("close IN (1, 2)", "6:10", "IN is not part of the expression language", "BETWEEN"),
        ("close IS NULL", "6:10", "IS NULL is not part of the expression language", "FALSE wherever"),
        ("CAST(close AS INT) > 1", "6:10", "CAST is not part of the expression language", "no casts"),
        ("close > (SELECT 1)", "6:19", "a query is not part", "highest(high, 20)"),
        ("close > sma(DISTINCT close, n)", "6:18", "`sma` takes plain values only", "without names"),
        ("close > sma(close, n) OVER ()", "6:18", "`sma` takes plain values only", "OVER"),
        ("close > sma(*)", "6:18", "`sma` takes plain values only", "*"),
        ("close > 'abc'", "6:18", "a text in quotes is not a number", "only tf"),
        ("close > bars.close", "6:22", "`.` is not part of the expression language", "names have no parts"),
        ("close[1] > 1", "6:15", "`[` is not part of the expression language", "lag(x, n)"),
        ("close > 1 && open > 1", "6:20", "`&&` is not part of the expression language", "write AND"),
        ("close > 1 || open > 1", "6:20", "`||` is not part of the expression language", "write OR"),
        ("close ^ 2 > 1", "6:16", "`^` is not part of the expression language", "exp(n * ln(x))"),
        ("close - --1 > 1", "6:18", "begins an SQL comment", "a - (-b)"),
        ("close > \"open\"", "6:18", "is not part of the expression language", "without quotes"),
        ("close > 1 open", "6:20", "`open` is not expected here", "AND or OR"),
        ("close > sma(close, n", "6:39", "found the end of the expression", "close every parenthesis"),
        ("close > ", "6:23", "`n` is not expected here", "AND or OR"),
        ("close > 1e999", "6:18", "`1e999` is too large", ""),
        ("close > tf(4h, close)", "6:21", "`4h` is neither a number nor a name", "tf('4h', x)"),
        ("close > tf(4, close)", "6:21", "the first argument of `tf` must be an interval", "tf('4h', x)"),
        ("close > tf('7h', close)", "6:21", "`7h` is not an interval", "1m 3m 5m"),
        ("close > tf('4h', tf('1d', close))", "6:27", "`tf` inside `tf`", "one timeframe"),
        ("close > CASE WHEN open > 1 THEN NULL END", "6:18", "every value of this CASE is NULL", ""),
        ("close > CASE WHEN open > 1 THEN 1 ELSE open > 2 END", "6:49", "needs a number", ""),
        ("close > CASE WHEN open THEN 1 END", "6:28", "WHEN needs a condition", ""),
    ] {
        let found = only(&entering(expression));
        let (first, way_out) = found.split_once("\n  hint: ").unwrap_or((&found, ""));
        assert!(first.starts_with(&format!("test.yaml:{place}: ")), "{expression}: {found}");
        assert!(first.contains(message), "{expression}: {found}");
        assert!(way_out.contains(hint), "{expression}: {found}");
    }
}

#[test]
fn faulty_documents_are_told_with_place_and_hint() {
    let long = "long: {enter: close > 1}";
    for (text, place, message, hint) in [
        ("", "1:1", "the document is empty", "strategies/"),
        ("- a\n- b", "1:1", "a strategy document must be a table of keys, not a list", ""),
        ("just text", "1:1", "must be a table of keys, not `just text`", ""),
        ("name: t\nname: u\nlong: {enter: close > 1}", "2:1", "the key `name` is here twice", "keep one"),
        (
            "name: t\nlnog: {enter: close > 1}\nlong: {enter: close > 1}",
            "2:1",
            "unknown key `lnog`",
            "`long`",
        ),
        (
            "name: t\nlong: {enter: close > 1, exti: close < 1}",
            "2:26",
            "unknown key `exti` in long",
            "`exit`",
        ),
        ("name: t\nlong: {exit: close > 1}", "2:7", "`long` has no `enter`", "say when to enter"),
        ("name: t\nlong: close > 1", "2:7", "`long` must be a table of keys", ""),
        (
            "name: t\nlong:\n  enter:\n",
            "3:8",
            "`long.enter` must be one value, not nothing",
            "leave the key out",
        ),
        ("name: t\nlong: {enter: [close]}", "2:15", "must be one value, not a list", "quotes"),
        ("name: t\nlong: {enter: \" \"}", "2:16", "`long.enter` is empty", ""),
        ("name: t\nlong: {enter: close}", "2:15", "must be a condition (TRUE or FALSE), but `close`", "> 0"),
        ("name: t", "1:1", "the strategy never enters", "long: {enter:"),
        ("long: {enter: close > 1}", "1:1", "the strategy has no `name`", "name: sma-cross"),
        ("name: a b\nlong: {enter: close > 1}", "1:7", "`a b` is not a strategy name", "letters"),
        ("name: t\nlong: &x {enter: close > 1}", "2:7", "anchors", "quotes"),
        ("name: t\nlong: *x", "2:7", "", ""),
        ("name: !!str t\nlong: {enter: close > 1}", "1:7", "tags", ""),
        ("name: t\nlong: {enter: close > 1\n", "", "not YAML", "quotes"),
        (
            "name: t\nlong: {enter: close > 1}\n---\nname: u",
            "3:1",
            "a second document begins here",
            "one document",
        ),
        ("name: t\nlong: {enter: close > 1}\nstop_loss: 0", "3:12", "not 0", "leave the key out"),
        ("name: t\nlong: {enter: close > 1}\nstop_loss: 1", "3:12", "above 0 and below 1", ""),
        (
            "name: t\nlong: {enter: close > 1}\nstop_loss: close",
            "3:12",
            "must depend on parameters only",
            "columns",
        ),
        ("name: t\nlong: {enter: close > 1}\nstop_loss: 1 > 0", "3:12", "must be a number", "CASE"),
        (
            "name: t\nlong: {enter: close > 1}\ntake_profit: 0",
            "3:14",
            "a number above 0, not 0",
            "leave the key out",
        ),
        ("name: t\nlong: {enter: close > 1}\nmax_bars: 1.5", "3:11", "not 1.5", "whole numbers"),
        ("name: t\nlong: {enter: close > 1}\ncooldown: -1", "3:11", "from 0 to", ""),
        ("name: t\nlong: {enter: close > 1}\nsize: {equity: 1.5}", "3:16", "at most 1", ""),
        ("name: t\nlong: {enter: close > 1}\nsize: {quote: 0}", "3:15", "a number above 0", ""),
        (
            "name: t\nlong: {enter: close > 1}\nsize: {risk: 0.01}",
            "3:8",
            "needs a `stop_loss`",
            "stop_loss: 0.05",
        ),
        ("name: t\nlong: {enter: close > 1}\nsize: 1", "3:7", "`size` must be a table", "{equity: 1.0}"),
        ("name: t\nlong: {enter: close > 1}\nsize: {}", "3:7", "has 0 keys, not one", "{equity: 1.0}"),
        ("name: t\nlong: {enter: close > 1}\nsize: {equity: 1, quote: 5}", "3:7", "has 2 keys", ""),
        (
            "name: t\nlong: {enter: close > 1}\nbacktest: {cash: 0}",
            "3:18",
            "`cash` must be a number above 0",
            "",
        ),
        (
            "name: t\nlong: {enter: close > 1}\nbacktest: {cash: n}",
            "3:18",
            "`n` is not a number",
            "plain numbers",
        ),
        ("name: t\nlong: {enter: close > 1}\nbacktest: {fee: 1}", "3:17", "below 1 (0.001 is 0.1 %)", ""),
        (
            "name: t\nlong: {enter: close > 1}\nbacktest: {fee: {maker: 0}}",
            "3:17",
            "no `taker`",
            "{maker: 0.001",
        ),
        (
            "name: t\nlong: {enter: close > 1}\nbacktest: {slippage: .inf}",
            "3:22",
            "`.inf` is not a number",
            "",
        ),
        (
            "name: t\nlong: {enter: close > 1}\nbacktest: {fill: opne}",
            "3:18",
            "not one of next_open, close",
            "",
        ),
        (
            "name: t\nlong: {enter: close > 1}\nbacktest: {returns: dayly}",
            "3:21",
            "not one of daily",
            "`daily`",
        ),
        ("name: t\nlong: {enter: close > 1}\nwhere: close > 1", "3:8", "must depend on parameters only", ""),
    ] {
        let found = only(text);
        let (first, way_out) = found.split_once("\n  hint: ").unwrap_or((&found, ""));
        assert!(first.starts_with(&format!("test.yaml:{place}")), "{text}: {found}");
        assert!(first.contains(message), "{text}: {found}");
        assert!(way_out.contains(hint), "{text}: {found}");
    }
    assert!(faults(&format!("name: t\n{long}")).is_empty());
}

#[test]
fn faulty_parameters_are_told_with_place_and_hint() {
    for (params, place, message, hint) in [
        ("n: []", "3:6", "the list is empty", "[5, 10, 20]"),
        ("n: [1, 2, 1]", "3:6", "1 is in the list twice", "each value once"),
        ("n: [1, x]", "3:10", "`x` is not a number", ""),
        ("n: [1, .nan]", "3:10", "`.nan` is not a number", ""),
        ("n: x", "3:6", "`x` is not a number", "a range"),
        ("n: {from: 5}", "3:6", "a range needs `from` and `to`", "{from: 5, to: 50"),
        ("n: {from: 5, to: 4}", "3:13", "the range is empty", ""),
        ("n: {from: 5, to: 9, step: 0}", "3:13", "the step must be above 0", ""),
        ("n: {from: 5, to: 9, step: -1}", "3:13", "the step must be above 0", ""),
        ("n: {from: 5, to: 9, stpe: 1}", "3:23", "unknown key `stpe`", "`step`"),
        ("n: {from: 0.01, to: 0.05}", "3:13", "needs a step", "step: 0.01"),
        ("n: {from: 1e300, to: 2e300}", "3:13", "more than 15 digits", ""),
        ("n: {from: 5000000000000, to: 5000000000001, step: 0.0001}", "3:13", "too small", ""),
        ("close: [1]", "3:3", "is a column of the bars", "close_value"),
        ("sma: [1]", "3:3", "is a function", ""),
        ("sharpe: [1]", "3:3", "is a column of the result table", ""),
        ("row: [1]", "3:3", "is a column of the result table", ""),
        ("case: [1]", "3:3", "is a word of the expression language", ""),
        ("between: [1]", "3:3", "is a word of the expression language", ""),
        ("true: [1]", "3:3", "is a word of the expression language", ""),
        ("Fast: [1]", "3:3", "is not a plain name", "lower-case"),
        ("a-b: [1]", "3:3", "is not a plain name", "letters"),
        ("unused: [1, 2]", "3:3", "the parameter `unused` is not used", "remove it"),
    ] {
        let found = only(&format!("name: t\nparams:\n  {params}\nlong: {{enter: close > 1}}"));
        let (first, way_out) = found.split_once("\n  hint: ").unwrap_or((&found, ""));
        assert!(first.starts_with(&format!("test.yaml:{place}: ")), "{params}: {found}");
        assert!(first.contains(message), "{params}: {found}");
        assert!(way_out.contains(hint), "{params}: {found}");
    }
}

#[test]
fn values_of_parameters_are_checked_to_the_last() {
    for (params, rest, message) in [
        ("n: {from: 0, to: 50}", "long: {enter: 'close > sma(close, n)'}", "not 0 (a value of `n`)"),
        (
            "n: {from: 5, to: 6, step: 0.5}",
            "long: {enter: 'close > sma(close, n)'}",
            "not 5.5 (a value of `n`)",
        ),
        ("n: {from: 999999, to: 1000001}", "long: {enter: 'close > sma(close, n)'}", "not 1000001"),
        ("s: [0.1, 0.2, 1.0]", "long: {enter: close > 1}\nstop_loss: s", "not 1 (a value of `s`)"),
        ("s: [0.1, 0]", "long: {enter: close > 1}\nstop_loss: s", "leave the key out"),
        ("a: [1, 2]\n  b: [1, 3]", "long: {enter: 'close > sma(close, b - a)'}", "not 0 (with a = 1, b = 1)"),
        (
            "a: {from: 1, to: 2000}\n  b: {from: 1, to: 2000}",
            "long: {enter: 'close > sma(close, b * a)'}",
            "too many",
        ),
    ] {
        let found = only(&format!("name: t\nparams:\n  {params}\n{rest}"));
        assert!(found.contains(message), "{params} {rest}: {found}");
    }
    // What `where` excludes may be out of range.
    let text = "name: t\nparams:\n  a: [1, 2]\n  b: [1, 3]\nwhere: a < b\nlong: {enter: 'close > sma(close, b - a)'}";
    assert_eq!(faults(text), Vec::<String>::new());
}

#[test]
fn empty_and_oversized_grids_are_refused() {
    let enter = "long: {enter: 'close > sma(close, a) + b'}";
    let found = only(&format!("name: t\nparams: {{a: [5, 6], b: [3]}}\nwhere: a < b\n{enter}"));
    assert!(found.starts_with("test.yaml:3:8: `where` excludes every one of the 2 combinations"), "{found}");
    let wide = "{from: 1, to: 999999}";
    let sum = (0..10).map(|i| format!("p{i}")).collect::<Vec<_>>().join(" + ");
    let params = (0..10).map(|i| format!("  p{i}: {wide}\n")).collect::<String>();
    let found = only(&format!("name: t\nparams:\n{params}long: {{enter: close > {sum}}}"));
    assert!(found.starts_with("test.yaml:3:3: the grid has more than 2^63 combinations"), "{found}");
    let params = (0..65).map(|i| format!("  p{i}: 1\n")).collect::<String>();
    let sum = (0..64).map(|i| format!("p{i}")).collect::<Vec<_>>().join(" + ");
    let found = only(&format!("name: t\nparams:\n{params}long: {{enter: close > {sum}}}"));
    assert!(found.starts_with("test.yaml:67:3: more than 64 parameters"), "{found}");
}

#[test]
fn several_faults_come_in_the_order_of_the_text() {
    let found = faults(
        "nmae: t\nname: t\nlong: {enter: clsoe > 1, exit: 'smaa(close, 5) > 1'}\nstop_loss: 2\nbacktest: {fee: 7}",
    );
    let places: Vec<&str> = found.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["test.yaml:1:1", "test.yaml:3:15", "test.yaml:3:33", "test.yaml:4:12", "test.yaml:5:17"]
    );
}

#[test]
fn flags_are_told_by_their_own_text() {
    let text = "name: t\nparams: {fast: [5, 6]}\nlong: {enter: 'close > sma(close, fast)'}";
    for (flag, message, hint) in [
        ("fats=5", "the strategy has no parameter `fats`", "did you mean `fast`?"),
        ("zzz=5", "the strategy has no parameter `zzz`", "the parameters are fast"),
        ("fast", "there is no `=`", "name=10"),
        ("fast=", "`` is not a number", "name=10"),
        ("fast=x", "`x` is not a number", "name=10"),
        ("fast=5,5", "5 is in the list twice", "name=10"),
        ("fast=9..5", "the range is empty", "name=10"),
        ("fast=5..9:0", "the step must be above 0", "name=10"),
        ("fast=0.1..0.3", "the range from 0.1 to 0.3 needs a step", "name=5..50:5"),
    ] {
        let found = faults_with(text, &set(&[flag]));
        assert_eq!(found.len(), 1, "{flag}: {found:?}");
        assert!(found[0].starts_with(&format!("--set {flag}: {message}")), "{}", found[0]);
        assert!(found[0].contains(hint), "{}", found[0]);
    }
    let found = faults_with(text, &set(&["fast=5", "fast=6"]));
    assert!(found[0].contains("`fast` is set twice"), "{found:?}");
    let found = faults_with(text, &set(&["fast=0"]));
    assert!(found[0].starts_with("test.yaml:3:35: n of `sma`"), "{found:?}");
    for (overrides, message) in [
        (Overrides { cash: Some(0.0), ..Overrides::default() }, "--cash 0: must be a number above 0"),
        (Overrides { cash: Some(f64::NAN), ..Overrides::default() }, "--cash NaN: must be a number above 0"),
        (Overrides { fee: Some(-0.1), ..Overrides::default() }, "--fee -0.1: must be a fraction"),
        (Overrides { slippage: Some(1.0), ..Overrides::default() }, "--slippage 1: must be a fraction"),
    ] {
        let found = faults_with(text, &overrides);
        assert!(found[0].starts_with(message), "{found:?}");
    }
}

#[test]
fn timeframes_must_fit_the_bars_of_the_run() {
    let strategy =
        super::parse("name: t\nlong:\n  enter: close > tf('4h', close)\n  exit: tf('3d', close < open)");
    let check = |base: &str| {
        strategy
            .check_interval(base.parse().unwrap())
            .map_err(|faults| faults.0.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(check("1h"), Ok(()));
    assert_eq!(check("15m"), Ok(()));
    let faults = check("4h").unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].starts_with("test.yaml:3:18: tf('4h', ...) cannot be built from bars of 4h"),
        "{faults:?}"
    );
    assert!(faults[0].contains("8h"), "{faults:?}");
    assert_eq!(check("1w").unwrap_err().len(), 2);
}
