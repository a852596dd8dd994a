//! `polybolos sql`: a query over bars, results and sweeps.

use datafusion::arrow::array::RecordBatch;
use polybolos_plan::runtime::SweepRuntime;
use polybolos_plan::session::{Places, session};
use polybolos_plan::sql_text::{interval_as_column, missing_over_hint};

use crate::args::SqlArgs;
use crate::commands::{Style, block_on, sweep};
use crate::error::CliError;
use crate::output;
use crate::remote::Cluster;

pub(crate) fn run(args: &SqlArgs, style: Style) -> Result<(), CliError> {
    let batches = match Cluster::of(&args.cluster)? {
        Some(cluster) => cluster.wait(async {
            Ok(cluster.query(interval_as_column(&args.query).into_owned()).await?.all().await?)
        })?,
        None => here(args)?,
    };
    if style.json {
        output::json(&output::rows_json(&batches)?)
    } else {
        output::text(&output::rows_table(&batches, None)?)
    }
}

/// The rows of a query on this machine.
fn here(args: &SqlArgs) -> Result<Vec<RecordBatch>, CliError> {
    block_on(async {
        let runtime = SweepRuntime::new(sweep::threads(None));
        let places =
            Places { data: Some(args.data.data.clone()), results: Some(args.results.results.clone()) };
        let context = session(&runtime, &places).await?;
        let text = interval_as_column(&args.query);
        let query = context.sql(&text).await.map_err(|error| with_hint(error.into(), args))?;
        Ok(query.collect().await?)
    })
}

/// A table that is not there because nothing was made yet gets the command that makes it; an indicator without a window
/// gets the window.
fn with_hint(error: CliError, args: &SqlArgs) -> CliError {
    let text = error.to_string();
    let hint = if let Some(hint) = missing_over_hint(&text) {
        hint
    } else if text.contains(".bars' not found") {
        format!(
            "{} holds no bars: `polybolos data import`, `data fetch` or `data synth` makes some",
            args.data.data
        )
    } else if text.contains(".results' not found") {
        format!("{} holds no finished sweep: `polybolos sweep` makes one", args.results.results)
    } else {
        return error;
    };
    CliError::Failed(format!("{text}\n  hint: {hint}"))
}
