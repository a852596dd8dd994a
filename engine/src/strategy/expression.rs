//! Expressions: text to a checked graph.
//!
//! `sqlparser` reads the text in a dialect without any vendor's extensions; [`Compiler`] accepts the few forms that
//! have a meaning per bar and refuses every other one with what to write instead.

use polybolos_kernels::program::{NodeId, ParamSet, ProgramBuilder, Shape, Type};
use sqlparser::ast::Expr;
use sqlparser::tokenizer::Location;

use super::document::{Scalar, shorten};
use super::domain::Check;
use crate::diagnostic::{Diagnostic, Place, Text};
use crate::interval::Interval;

mod lower;
mod parse;

pub(crate) use parse::is_plain_name;

/// An expression inside a larger text.
pub(crate) struct Excerpt<'a> {
    text: &'a Text<'a>,
    content: &'a str,
    /// Byte offset in `text` of every character of `content`, and of its end.
    offsets: Vec<usize>,
}

impl<'a> Excerpt<'a> {
    /// The expression in a scalar of a document.
    pub(crate) fn of_scalar(text: &'a Text<'a>, scalar: &'a Scalar) -> Excerpt<'a> {
        Excerpt { text, content: &scalar.text, offsets: scalar.offsets(text.text) }
    }

    /// A text that is an expression as a whole.
    pub(crate) fn whole(text: &'a Text<'a>) -> Excerpt<'a> {
        let ends = text.text.char_indices().map(|(at, _)| at);
        Excerpt { text, content: text.text, offsets: ends.chain(std::iter::once(text.text.len())).collect() }
    }

    /// The place of the first visible character.
    fn start(&self) -> Place {
        self.place(Location::new(0, 0))
    }

    /// The place of a character; past the end, of the last visible one.
    fn at_char(&self, index: usize) -> Place {
        let last = self.content.trim_end().chars().count().saturating_sub(1);
        self.text.place(self.offsets.get(index.min(last)).copied().unwrap_or(0))
    }

    /// The place of a location inside the expression.
    fn place(&self, location: Location) -> Place {
        self.at_char(self.char_index(location))
    }

    /// The character at a location; the parser's unknown location (line 0) is the first visible one.
    fn char_index(&self, location: Location) -> usize {
        if location.line == 0 {
            return self.content.chars().take_while(|c| c.is_whitespace()).count();
        }
        let line_start: usize = self
            .content
            .split_inclusive('\n')
            .take((location.line as usize).saturating_sub(1))
            .map(|line| line.chars().count())
            .sum();
        line_start + (location.column as usize).saturating_sub(1)
    }

    /// Where `word` (ASCII, any case) last begins before character `index`; `index` if it does not.
    fn find_before(&self, index: usize, word: &str) -> usize {
        let head: String = self.content.chars().take(index).collect::<String>().to_ascii_uppercase();
        head.rfind(word).map_or(index, |at| head.get(..at).map_or(index, |before| before.chars().count()))
    }
}

/// What an expression must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// TRUE or FALSE per bar.
    Signal,
    /// TRUE or FALSE from parameters only.
    Condition,
    /// A number from parameters only.
    Scalar,
    /// Anything, for display.
    Any,
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    pub(crate) node: NodeId,
    /// The expression printed from what was understood: one spacing, all parentheses.
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// A `tf` call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timeframe {
    pub(crate) interval: Interval,
    pub(crate) place: Place,
}

/// Compiles expressions over one set of parameters into one graph.
pub(crate) struct Compiler<'a> {
    params: Vec<&'a str>,
    pub(crate) builder: ProgramBuilder,
    /// Parameters that some expression names.
    pub(crate) used: ParamSet,
    /// Scalars that must stay in a domain, e.g. periods.
    pub(crate) checks: Vec<Check>,
    /// Every `tf` call.
    pub(crate) timeframes: Vec<Timeframe>,
}

impl<'a> Compiler<'a> {
    /// A compiler that knows these parameters, in declaration order.
    pub(crate) fn new(params: Vec<&'a str>) -> Compiler<'a> {
        Compiler {
            builder: ProgramBuilder::new(params.len()),
            params,
            used: ParamSet::default(),
            checks: Vec::new(),
            timeframes: Vec::new(),
        }
    }

    /// Compiles one expression; `what` names it in messages.
    ///
    /// # Errors
    /// The first fault in it.
    pub(crate) fn compile(
        &mut self,
        excerpt: &Excerpt<'_>,
        wanted: Wanted,
        what: &str,
    ) -> Result<Compiled, Diagnostic> {
        let expr: Expr = parse::parse(excerpt, what)?;
        let lowered = lower::lower(self, excerpt, &expr)?;
        let place = excerpt.start();
        let node = self.builder.node(lowered.node);
        let (ty, shape) = (node.ty, node.shape);
        let quoted = shorten(excerpt.content);
        if matches!(wanted, Wanted::Signal | Wanted::Condition) && ty != Type::Bool {
            return Err(place
                .fault(format!("{what} must be a condition (TRUE or FALSE), but `{quoted}` is a number"))
                .hint("compare it with something, e.g. with `> 0`"));
        }
        if wanted == Wanted::Scalar && ty != Type::Number {
            return Err(place.fault(format!("{what} must be a number, but `{quoted}` is a condition")).hint(
                "write a number, a parameter, or choose between numbers with CASE WHEN ... THEN ... ELSE ... END",
            ));
        }
        if matches!(wanted, Wanted::Scalar | Wanted::Condition) && shape == Shape::Series {
            return Err(place
                .fault(format!(
                    "{what} must depend on parameters only, but `{quoted}` changes from bar to bar"
                ))
                .hint("use numbers and parameters, no columns of the bars"));
        }
        Ok(Compiled { node: lowered.node, text: lowered.text, place })
    }
}
