//! From text to `sqlparser`'s tree, bounded in length and depth.

use sqlparser::ast::Expr;
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::Excerpt;
use crate::diagnostic::Diagnostic;
use crate::strategy::document::shorten;
use crate::strategy::keys::COMMA_HINT;

/// Longest expression in bytes.
const MAX_BYTES: usize = 10_000;

/// Most tokens in an expression; chains of operators are nested as deep as they are long.
const MAX_TOKENS: usize = 1_000;

/// Deepest nesting of parentheses, calls and signs.
const MAX_DEPTH: usize = 50;

/// Plain SQL expressions: unquoted names, no vendor's operators.
#[derive(Debug)]
struct Language;

impl Dialect for Language {
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }
}

/// Words of the language; the parser would take some of them for names.
const WORDS: [&str; 15] = [
    "and", "or", "not", "between", "case", "when", "then", "else", "end", "null", "true", "false", "is",
    "in", "like",
];

/// Whether the language reads the lower-case word as a name, not as one of its own words.
pub(crate) fn is_plain_name(word: &str) -> bool {
    if WORDS.contains(&word) {
        return false;
    }
    let parsed = Parser::new(&Language).try_with_sql(word).and_then(|mut parser| parser.parse_expr());
    matches!(parsed, Ok(Expr::Identifier(name)) if name.value == word)
}

/// Parses a whole expression.
pub(super) fn parse(excerpt: &Excerpt<'_>, what: &str) -> Result<Expr, Diagnostic> {
    if excerpt.content.trim().is_empty() {
        return Err(excerpt
            .start()
            .fault(format!("{what} is empty"))
            .hint("write an expression or leave the key out"));
    }
    if excerpt.content.len() > MAX_BYTES {
        let fault = excerpt.start().fault(format!("{what} is longer than {MAX_BYTES} bytes"));
        return Err(fault.hint("split it or use fewer terms"));
    }
    let tokens = tokens(excerpt)?;
    let mut parser =
        Parser::new(&Language).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens);
    let expr = parser.parse_expr().map_err(|error| parse_fault(excerpt, error))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let fault = excerpt.place(next.span.start).fault(format!("`{}` is not expected here", next.token));
        return Err(fault.hint(
            "join conditions with AND or OR, separate arguments with commas, close every parenthesis",
        ));
    }
    Ok(expr)
}

fn tokens(excerpt: &Excerpt<'_>) -> Result<Vec<TokenWithSpan>, Diagnostic> {
    let tokens = Tokenizer::new(&Language, excerpt.content).tokenize_with_location().map_err(|error| {
        excerpt.place(error.location).fault(format!("cannot read this: {}", error.message))
    })?;
    let mut count = 0;
    for pair in tokens.windows(2) {
        if let [TokenWithSpan { token: Token::Number(digits, _), span }, next] = pair
            && let Token::Word(word) = &next.token
        {
            let glued = shorten(&format!("{digits}{}", word.value));
            let fault = excerpt.place(span.start).fault(format!("`{glued}` is neither a number nor a name"));
            return Err(fault.hint("an interval goes into quotes: tf('4h', x); names begin with a letter"));
        }
    }
    for token in &tokens {
        if let Some((what, hint)) = foreign(&token.token) {
            return Err(excerpt.place(token.span.start).fault(what).hint(hint));
        }
        count += usize::from(!matches!(token.token, Token::Whitespace(_)));
        if count > MAX_TOKENS {
            let fault =
                excerpt.place(token.span.start).fault(format!("more than {MAX_TOKENS} words and signs"));
            return Err(fault.hint("use fewer terms"));
        }
    }
    Ok(tokens)
}

/// What a token that has no meaning here is, and what to write instead.
fn foreign(token: &Token) -> Option<(String, &'static str)> {
    let hint = match token {
        Token::Word(word) if word.quote_style.is_none() => return None,
        Token::Number(_, false)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab)
        | Token::DoubleEq
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::LParen
        | Token::RParen
        | Token::EOF => return None,
        Token::Whitespace(Whitespace::SingleLineComment { .. }) => {
            return Some((
                "`--` begins an SQL comment".to_owned(),
                "for a minus before a minus write a - (-b); comments belong into the document",
            ));
        }
        Token::Whitespace(_) => {
            return Some((
                "comments are not part of expressions".to_owned(),
                "write the comment into the document",
            ));
        }
        Token::Ampersand => "write AND",
        Token::Overlap => "write AND",
        Token::StringConcat | Token::Pipe => "write OR",
        Token::ExclamationMark => "write NOT",
        Token::Caret => "there is no power operator; write x * x, sqrt(x) or exp(n * ln(x))",
        Token::Period => "names have no parts; write close, sma(close, 20)",
        Token::Colon | Token::DoubleColon => "numbers and conditions need no casts",
        Token::LBracket | Token::RBracket => "for the value n bars ago write lag(x, n)",
        Token::LBrace | Token::RBrace => "parameters are written by their bare name",
        Token::Number(..) => "write the number without a suffix",
        Token::Word(_) | Token::DoubleQuotedString(_) => "write names without quotes",
        Token::SemiColon => "an expression has no end mark",
        _ => {
            "expressions have names, numbers, + - * / %, comparisons, AND, OR, NOT, BETWEEN, CASE and function calls"
        }
    };
    Some((format!("`{}` is not part of the expression language", shorten(&token.to_string())), hint))
}

fn parse_fault(excerpt: &Excerpt<'_>, error: ParserError) -> Diagnostic {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            let fault = excerpt.start().fault(format!("nested more than {MAX_DEPTH} levels deep"));
            return fault.hint("split the expression or drop parentheses that are not needed");
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    // The parser tells the place only inside its message.
    let (reason, place) = match message.rsplit_once(" at Line: ") {
        Some((reason, place)) => (reason.to_owned(), location(place)),
        None => (message, Location::new(0, 0)),
    };
    let at_end = reason.ends_with("found: EOF");
    let reason =
        reason.replace("Expected: ", "expected ").replace("found: EOF", "found the end of the expression");
    let place = if at_end { excerpt.at_char(usize::MAX) } else { excerpt.place(place) };
    let fault = place.fault(format!("cannot read the expression: {}", shorten(&reason)));
    fault.hint(if at_end {
        format!("close every parenthesis; {COMMA_HINT}")
    } else {
        "check parentheses, commas and operators before this place".to_owned()
    })
}

/// Reads `1, Column: 5`.
fn location(text: &str) -> Location {
    let mut numbers = text.split(", Column: ").map(|number| number.trim().parse::<u64>().unwrap_or(0));
    Location::new(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
