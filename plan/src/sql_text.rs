//! What a user's SQL needs before and after DataFusion sees it: `interval` as a column name, and a better answer to a
//! forgotten `OVER`. It looks at words only and leaves a statement that does not tokenise to the parser's complaint.

use std::borrow::Cow;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::functions::window_functions;

/// Name of the column that SQL takes for the start of a duration.
const INTERVAL: &str = "interval";

/// Writes `"interval"` for `interval` wherever the word is a column and not the start of a duration, so that
/// `SELECT interval FROM bars WHERE interval = '1h'` means what it says. Durations (`INTERVAL '1 day'`), types
/// (`CAST(x AS INTERVAL)`), aliases, qualified names, strings and comments stay as they are.
pub fn interval_as_column(sql: &str) -> Cow<'_, str> {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location() else {
        return Cow::Borrowed(sql);
    };
    let tokens: Vec<&TokenWithSpan> =
        tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect();
    let columns: Vec<Location> = tokens
        .iter()
        .enumerate()
        .filter(|(i, token)| {
            let before = i.checked_sub(1).and_then(|before| tokens.get(before));
            is_interval(&token.token)
                && !before.is_some_and(|before| leaves_a_name_or_type(&before.token))
                && !tokens.get(i + 1).is_some_and(|after| starts_a_duration(&after.token))
        })
        .map(|(_, token)| token.span.start)
        .collect();
    if columns.is_empty() { Cow::Borrowed(sql) } else { Cow::Owned(quote_at(sql, &columns)) }
}

fn is_interval(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.keyword == Keyword::INTERVAL && word.quote_style.is_none())
}

/// After these the parser takes any word for a name or a type: `bars.interval`, `x::interval`, `AS interval`, `x interval`.
fn leaves_a_name_or_type(before: &Token) -> bool {
    match before {
        Token::Period | Token::DoubleColon => true,
        Token::Word(word) => matches!(word.keyword, Keyword::AS | Keyword::NoKeyword),
        _ => false,
    }
}

fn starts_a_duration(after: &Token) -> bool {
    matches!(after, Token::SingleQuotedString(_) | Token::Number(..))
}

/// Puts the name in quotes, and in lower case, at places that are in ascending order.
fn quote_at(sql: &str, places: &[Location]) -> String {
    let mut places = places.iter().peekable();
    let (mut line, mut column, mut skip) = (1, 1, 0);
    let mut quoted = String::with_capacity(sql.len() + 2 * places.len());
    for character in sql.chars() {
        if places.next_if(|place| (place.line, place.column) == (line, column)).is_some() {
            quoted.push('"');
            quoted.push_str(INTERVAL);
            quoted.push('"');
            skip = INTERVAL.len();
        }
        if skip > 0 {
            skip -= 1;
        } else {
            quoted.push(character);
        }
        if character == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    quoted
}

/// What to add to an error of DataFusion: it answers a call of one of our functions without `OVER` with a built-in
/// function of a similar name.
pub fn missing_over_hint(error: &str) -> Option<String> {
    let name = error.split_once("Invalid function '")?.1.split_once('\'')?.0;
    window_functions().iter().any(|function| function.name() == name).then(|| {
        format!(
            "{name} is a window function: write {name}(...) OVER (PARTITION BY symbol ORDER BY open_time); \
             with QUALIFY, write the window out, not its name"
        )
    })
}
