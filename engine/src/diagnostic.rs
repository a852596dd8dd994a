//! What is wrong with a text that a user wrote: the place, the fault and a way out.
//!
//! Lines and columns count from 1, columns in characters. Nothing here decides what is wrong; the strategy language does.

use std::fmt;

/// Most faults reported at once.
const MAX_FAULTS: usize = 50;

/// One fault in a strategy document, an expression or a command-line flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What the text is called: a file name, `EXPR 1`, or a whole flag such as `--set fast=0`.
    pub source: String,
    /// Line from 1; 0 for a flag, whose whole text is the place.
    pub line: usize,
    /// Column in characters from 1; 0 for a flag.
    pub column: usize,
    /// One sentence: what is wrong, with the value.
    pub message: String,
    /// One sentence: what to write instead.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// The same fault with a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    /// The same fault with a way out, if there is one.
    #[must_use]
    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Diagnostic {
        self.hint = hint.or(self.hint);
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// The faults found in one text, in the order of the text, at most 50; never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds a fault.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// The value of a step; or its fault is kept and there is none.
    pub fn take<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|diagnostic| self.push(diagnostic)).ok()
    }

    /// `value` if there is no fault, else the faults sorted by place.
    ///
    /// # Errors
    /// The faults collected so far.
    pub fn finish<T>(mut self, value: T) -> Result<T, Diagnostics> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        self.0.dedup();
        self.0.truncate(MAX_FAULTS);
        Err(self)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Diagnostics(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A place in a named text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    source: String,
    line: usize,
    column: usize,
}

impl Place {
    /// A place that is a whole flag.
    pub fn flag(text: String) -> Place {
        Place { source: text, line: 0, column: 0 }
    }

    /// A fault here.
    pub fn fault(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            source: self.source.clone(),
            line: self.line,
            column: self.column,
            message: message.into(),
            hint: None,
        }
    }
}

/// A named text whose byte offsets can be told as lines and columns.
#[derive(Debug, Clone)]
pub struct Text<'a> {
    /// What it is called in messages.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Text<'a> {
    /// The text of this name.
    pub fn new(name: &'a str, text: &'a str) -> Text<'a> {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        Text { name, text, line_starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// The place of a byte offset. Offsets behind the last visible character mean that character, so that a place is
    /// always one the user can see.
    pub fn place(&self, offset: usize) -> Place {
        let visible_end = self.text.trim_end().char_indices().next_back().map_or(0, |(at, _)| at);
        let mut offset = offset.min(visible_end);
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        // The end of a line means its last character, if it has one.
        let head = self.text.get(..offset).unwrap_or("");
        if self.text.get(offset..).is_some_and(|rest| rest.starts_with(['\n', '\r']))
            && let Some((last, c)) = head.char_indices().next_back()
            && c != '\n'
        {
            offset = last;
        }
        let line = self.line_starts.partition_point(|&start| start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |text| text.chars().count()) + 1;
        Place { source: self.name.to_owned(), line, column }
    }

    /// The byte offset of a line and column, both from 1; the nearest one that exists.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let rest = self.text.get(start..).unwrap_or("");
        rest.char_indices().nth(column.saturating_sub(1)).map_or(self.text.len(), |(at, _)| start + at)
    }

    /// A fault at a byte offset.
    pub fn fault(&self, offset: usize, message: impl Into<String>) -> Diagnostic {
        self.place(offset).fault(message)
    }
}

/// "did you mean" for a name that is not among `known`: the nearest one, if it is near enough to be a slip.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (edit_distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`; texts over 64 characters are
/// never similar.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["sma", "ema", "crosses_above", "crosses_below", "close"];
        for (name, expected) in [
            ("smaa", Some("sma")),
            ("SMA", Some("sma")),
            ("cross_above", Some("crosses_above")),
            ("colse", Some("close")),
            ("ichimoku", None),
            ("", None),
        ] {
            let expected = expected.map(|name| format!("did you mean `{name}`?"));
            assert_eq!(did_you_mean(name, known), expected, "{name}");
        }
    }

    #[test]
    fn places_count_characters_and_stay_on_what_is_visible() {
        let text = Text::new("t", "a: é = 1\nbb\n\n");
        for (offset, line, column) in [(0, 1, 1), (6, 1, 6), (9, 1, 8), (10, 2, 1), (11, 2, 2), (99, 2, 2)] {
            let place = text.place(offset);
            assert_eq!((place.line, place.column), (line, column), "offset {offset}");
        }
        assert_eq!(text.offset(2, 2), 11);
        assert_eq!(Text::new("t", "").place(5).line, 1);
    }

    #[test]
    fn messages_carry_place_and_hint() {
        let fault = Text::new("sma.yaml", "\n  smaa(close, 5)").fault(3, "unknown function `smaa`");
        let fault = fault.hint("did you mean `sma`?");
        assert_eq!(fault.to_string(), "sma.yaml:2:3: unknown function `smaa`\n  hint: did you mean `sma`?");
        let flag = Place::flag("--set fast=0".to_owned()).fault("no");
        assert_eq!(flag.to_string(), "--set fast=0: no");
    }
}
