//! The parameter grid: every combination has a row number, and no combination is ever stored.
//!
//! Rows count the full grid in mixed radix, parameters in declaration order, the **last one fastest**, whatever the
//! `where` condition says; the condition only decides which rows are run. A grid of 10^18 rows costs what one of ten does.

use std::ops::Range;

use polybolos_kernels::evaluate::{ScalarValue, Scalars};
use polybolos_kernels::program::{MAX_PARAMS, NodeId, Program};

mod values;

pub use values::{Steps, Values};

/// Largest grid: row numbers are signed 64-bit integers in files and on the wire.
pub const MAX_ROWS: u64 = i64::MAX as u64;

/// A parameter and the values it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Name, also its column in the result table.
    pub name: String,
    /// Its values in grid order.
    pub values: Values,
}

/// The `where` condition: a scalar boolean node over the same parameters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub(crate) program: Program,
    pub(crate) node: NodeId,
}

/// Why parameters make no grid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// More than [`MAX_PARAMS`] parameters.
    #[error("{0} parameters, more than {MAX_PARAMS}")]
    TooManyParams(usize),
    /// A parameter without values.
    #[error("the parameter `{0}` has no values")]
    NoValues(String),
    /// More than [`MAX_ROWS`] combinations.
    #[error("the grid has more than 2^63 combinations")]
    TooManyRows,
}

/// The grid of a strategy. Without parameters it has one row.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSpace {
    params: Vec<Param>,
    condition: Option<Condition>,
    rows: u64,
}

impl ParamSpace {
    /// A grid of all combinations.
    ///
    /// # Errors
    /// Too many parameters or rows, or a parameter without values.
    pub fn new(params: Vec<Param>) -> Result<ParamSpace, SpaceError> {
        if let Some(param) = params.iter().find(|param| param.values.len() == 0) {
            return Err(SpaceError::NoValues(param.name.clone()));
        }
        if params.len() > MAX_PARAMS {
            return Err(SpaceError::TooManyParams(params.len()));
        }
        let rows = params
            .iter()
            .try_fold(1_u64, |rows, param| rows.checked_mul(param.values.len()))
            .filter(|&rows| rows <= MAX_ROWS)
            .ok_or(SpaceError::TooManyRows)?;
        Ok(ParamSpace { params, condition: None, rows })
    }

    /// The same grid, restricted to the rows where `condition` is TRUE.
    pub(crate) fn restricted(self, condition: Option<Condition>) -> ParamSpace {
        ParamSpace { condition, ..self }
    }

    /// The parameters in declaration order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Rows of the full grid, valid or not; at least 1 and at most [`MAX_ROWS`].
    #[allow(
        clippy::len_without_is_empty,
        reason = "a grid is never empty: without parameters it has one row"
    )]
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether a `where` condition may exclude rows.
    pub fn is_restricted(&self) -> bool {
        self.condition.is_some()
    }

    /// Whether every value of parameter `index` is a whole number: its column is then one of integers.
    pub fn is_integer(&self, index: usize) -> bool {
        self.params.get(index).is_some_and(|param| param.values.is_integer())
    }

    /// Writes the values of row `row`, one per parameter in declaration order. Rows past the end wrap around;
    /// elements of `out` beyond the parameters stay as they are.
    pub fn fill(&self, row: u64, out: &mut [f64]) {
        let mut rest = row % self.rows;
        for (param, slot) in self.params.iter().zip(out).rev() {
            let radix = param.values.len();
            *slot = param.values.get(rest % radix);
            rest /= radix;
        }
    }

    /// The values of row `row`; see [`ParamSpace::fill`].
    pub fn values(&self, row: u64) -> Vec<f64> {
        let mut values = vec![0.0; self.params.len()];
        self.fill(row, &mut values);
        values
    }

    /// The row of these values; `None` if the count differs or a value is not exactly one of its parameter's (`-0 = 0`).
    pub fn row_of(&self, values: &[f64]) -> Option<u64> {
        if values.len() != self.params.len() {
            return None;
        }
        self.params.iter().zip(values).try_fold(0, |row: u64, (param, &value)| {
            Some(row * param.values.len() + param.values.position(value)?)
        })
    }

    /// Whether the `where` condition is TRUE for these values (one per parameter); undefined is not.
    pub fn is_valid(&self, values: &[f64]) -> bool {
        values.len() == self.params.len() && Filter::new(self.condition.as_ref()).holds(values)
    }

    /// The valid rows in a range of row numbers, ascending. Nothing is stored; each row is looked at when it is asked for.
    pub fn valid_rows(&self, rows: Range<u64>) -> ValidRows<'_> {
        ValidRows {
            space: self,
            next: rows.start,
            end: rows.end.min(self.rows),
            values: vec![0.0; self.params.len()],
            filter: Filter::new(self.condition.as_ref()),
        }
    }
}

/// The `where` condition, ready for many rows.
#[derive(Debug)]
enum Filter<'a> {
    Everything,
    Where(Scalars<'a>),
    /// A condition that cannot be evaluated holds nowhere. The language builds none.
    Nothing,
}

impl<'a> Filter<'a> {
    fn new(condition: Option<&'a Condition>) -> Filter<'a> {
        let Some(Condition { program, node }) = condition else { return Filter::Everything };
        Scalars::new(program, &[*node]).map_or(Filter::Nothing, Filter::Where)
    }

    fn holds(&mut self, values: &[f64]) -> bool {
        match self {
            Filter::Everything => true,
            Filter::Where(scalars) => {
                matches!(scalars.values(values), Ok([ScalarValue::Bool(Some(true))]))
            }
            Filter::Nothing => false,
        }
    }
}

/// See [`ParamSpace::valid_rows`].
#[derive(Debug)]
pub struct ValidRows<'a> {
    space: &'a ParamSpace,
    next: u64,
    end: u64,
    values: Vec<f64>,
    filter: Filter<'a>,
}

impl ValidRows<'_> {
    /// The values of the row returned last.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

impl Iterator for ValidRows<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.next < self.end {
            let row = self.next;
            self.next += 1;
            self.space.fill(row, &mut self.values);
            if self.filter.holds(&self.values) {
                return Some(row);
            }
        }
        None
    }
}
