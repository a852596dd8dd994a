//! A metric over two parameters of a sweep: the numbers here, the drawing in [`picture`].
//!
//! A cell is the mean over every row that has its two values: over the symbols and over the other parameters. It shows
//! whether a good row stands on a plateau or alone. Rows whose metric is undefined do not count.

mod picture;

use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::Float64Type;
use polybolos_engine::metrics::{Better, Metric};
use polybolos_plan::catalogue::{Manifest, ValuesRecord};
use polybolos_plan::results;
use polybolos_proto::cluster::MeansRequest;
use polybolos_storage::Location;
use serde::Serialize;

use crate::error::CliError;
use crate::remote::Cluster;

/// Most cells of a map: more are no picture, and a parameter pair that makes more is better asked for in SQL.
const MAX_CELLS: usize = 4_000_000;

/// A parameter and those of its values that the sweep has rows for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Axis {
    /// The parameter.
    pub parameter: String,
    /// Its values, ascending.
    pub values: Vec<f64>,
}

/// The cell with the best value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Best {
    /// Index into the values of `x`.
    pub x: usize,
    /// Index into the values of `y`; 0 without one.
    pub y: usize,
    /// The value.
    pub value: f64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Heatmap {
    /// The sweep.
    pub sweep_id: String,
    /// The symbols that the means are over.
    pub symbols: Vec<String>,
    /// The metric.
    pub metric: &'static str,
    /// Whether a smaller value is the better one.
    pub lower_is_better: bool,
    /// Across.
    pub x: Axis,
    /// Upwards; `None` for a grid of one parameter.
    pub y: Option<Axis>,
    /// One row per value of `y` (one row without it), one cell per value of `x`; `None` where no row has a value.
    pub cells: Vec<Vec<Option<f64>>>,
    /// The best cell; `None` if there is no value at all.
    pub best: Option<Best>,
}

impl Heatmap {
    /// The map as text, fitted to the terminal; `colours` says whether escape codes may be used.
    pub(crate) fn picture(&self, colours: bool) -> String {
        picture::draw(self, colours, picture::canvas())
    }

    fn new(
        manifest: &Manifest,
        metric: &'static Metric,
        x: Axis,
        y: Option<Axis>,
    ) -> Result<Heatmap, CliError> {
        let (width, height) = (x.values.len(), y.as_ref().map_or(1, |y| y.values.len()));
        if width.saturating_mul(height) > MAX_CELLS {
            return Err(CliError::Failed(format!(
                "a map of {width} x {height} cells is too large; choose other parameters with --x and --y, or use \
                 `polybolos sql` with GROUP BY"
            )));
        }
        Ok(Heatmap {
            sweep_id: manifest.sweep_id.clone(),
            symbols: manifest.series.iter().map(|series| series.symbol.clone()).collect(),
            metric: metric.name,
            lower_is_better: metric.better == Better::Lower,
            cells: vec![vec![None; width]; height],
            x,
            y,
            best: None,
        })
    }

    fn set(&mut self, metric: &Metric, point: &Point) {
        let index =
            |axis: &Axis, value: f64| axis.values.binary_search_by(|known| known.total_cmp(&value)).ok();
        let Some(x) = index(&self.x, point.x) else { return };
        let Some(y) = self.y.as_ref().map_or(Some(0), |axis| index(axis, point.y)) else { return };
        let Some(cell) = self.cells.get_mut(y).and_then(|row| row.get_mut(x)) else { return };
        *cell = point.value;
        if let Some(value) = point.value
            && self.best.is_none_or(|best| metric.compare(Some(value), Some(best.value)).is_lt())
        {
            self.best = Some(Best { x, y, value });
        }
    }
}

/// A cell as the query gives it.
struct Point {
    x: f64,
    y: f64,
    value: Option<f64>,
}

/// Where the means come from.
pub(crate) enum Source<'s> {
    /// A results folder.
    Results(&'s Location),
    /// A cluster, and the one symbol that is wanted; the manifest has only that then.
    Cluster(&'s Cluster, Option<&'s str>),
}

/// Aggregates the rows of a complete sweep. Without `x` and `y` the last two parameters that have more than one value are
/// taken: the last one across.
///
/// # Errors
/// An unknown metric or parameter, a grid without anything to draw, or rows that cannot be had.
pub(crate) async fn of_sweep(
    source: Source<'_>,
    manifest: &Manifest,
    x: Option<&str>,
    y: Option<&str>,
    metric: &str,
) -> Result<Heatmap, CliError> {
    let ranking = polybolos_engine::sweep::Ranking { metric: metric.to_owned(), min_trades: 0 };
    let metric = ranking.metric()?;
    let (x, y) = axes(manifest, x, y)?;
    let means = match source {
        Source::Results(results) => results::means(results, manifest, &x, y.as_deref(), metric.name).await?,
        Source::Cluster(cluster, symbol) => {
            let request = MeansRequest {
                sweep_id: manifest.sweep_id.clone(),
                metric: metric.name.to_owned(),
                x: x.clone(),
                y: y.clone().unwrap_or_default(),
                symbol: symbol.unwrap_or_default().to_owned(),
            };
            cluster.means(request).await?
        }
    };
    let mut points = points(&means, y.is_some())?;
    points.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x.total_cmp(&b.x)));
    let axis = |parameter: String, value: fn(&Point) -> f64| {
        let mut values: Vec<f64> = points.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        Axis { parameter, values }
    };
    let mut map =
        Heatmap::new(manifest, metric, axis(x, |point| point.x), y.map(|y| axis(y, |point| point.y)))?;
    for point in &points {
        map.set(metric, point);
    }
    Ok(map)
}

fn points(batches: &[RecordBatch], has_y: bool) -> Result<Vec<Point>, CliError> {
    let mut points = Vec::new();
    for batch in batches {
        let column = |name: &str| {
            let column =
                batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Float64Type>());
            column.ok_or_else(|| CliError::Failed(format!("the aggregate has no column {name}")))
        };
        let (x, value) = (column("x")?, column("value")?);
        let y = if has_y { Some(column("y")?) } else { None };
        points.extend((0..batch.num_rows()).map(|row| Point {
            x: x.value(row),
            y: y.map_or(0.0, |y| y.value(row)),
            value: datafusion::arrow::array::Array::is_valid(value, row).then(|| value.value(row)),
        }));
    }
    Ok(points)
}

/// The names of the parameters to draw, across and upwards.
fn axes(manifest: &Manifest, x: Option<&str>, y: Option<&str>) -> Result<(String, Option<String>), CliError> {
    let names: Vec<&str> = manifest.params.iter().map(|param| param.name.as_str()).collect();
    let known = |name: &str| {
        if names.contains(&name) {
            return Ok(name.to_owned());
        }
        let hint = match names.as_slice() {
            [] => "it has none".to_owned(),
            names => format!("its parameters are {}", names.join(", ")),
        };
        Err(CliError::Usage(format!("sweep {} has no parameter `{name}`; {hint}", manifest.sweep_id)))
    };
    let (x, y) = (x.map(known).transpose()?, y.map(known).transpose()?);
    if let (Some(x), Some(y)) = (&x, &y)
        && x == y
    {
        return Err(CliError::Usage(format!("--x and --y are both `{x}`; name two parameters")));
    }
    let varied = |taken: Option<&str>| {
        let free = manifest.params.iter().rev().filter(|param| Some(param.name.as_str()) != taken);
        let mut many = free.filter(|param| count(&param.values) > 1);
        many.next().map(|param| param.name.clone())
    };
    match x.or_else(|| varied(y.as_deref())) {
        Some(x) => {
            let y = y.or_else(|| varied(Some(&x)));
            Ok((x, y))
        }
        None => y.map(|y| (y, None)).ok_or_else(|| {
            CliError::Failed(format!(
                "sweep {} has no parameter with more than one value: there is nothing to draw",
                manifest.sweep_id
            ))
        }),
    }
}

fn count(values: &ValuesRecord) -> u64 {
    match values {
        ValuesRecord::Range { count, .. } => *count,
        ValuesRecord::List(list) => list.len() as u64,
    }
}
