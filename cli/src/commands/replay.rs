//! `polybolos replay`: recompute a row, compare it bit for bit.

use polybolos_plan::catalogue;
use polybolos_plan::results::{Replay, replay};
use polybolos_plan::runtime::SweepRuntime;
use polybolos_plan::unit::SweepJob;
use serde_json::json;

use crate::args::ReplayArgs;
use crate::commands::Style;
use crate::error::CliError;
use crate::output::{self, number_cell};

pub(crate) fn run(args: &ReplayArgs, style: Style) -> Result<(), CliError> {
    let results = &args.results.results;
    let manifest = catalogue::find(results, Some(&args.sweep_id))?;
    let ours = polybolos_engine::sweep::engine_version();
    if manifest.engine_version != ours {
        return Err(CliError::Failed(format!(
            "sweep {} was run by engine {}, this is {ours}; its numbers may differ, run it again",
            manifest.sweep_id, manifest.engine_version
        )));
    }
    let data = args.data.clone().unwrap_or_else(|| manifest.data.clone());
    let job = SweepJob::new(manifest.spec()?, data, None)?;
    let runtime = SweepRuntime::new(1);
    let wanted = args.symbol.as_deref().map(str::to_ascii_uppercase);
    let symbols: Vec<String> = match wanted {
        Some(symbol) => vec![symbol],
        None => manifest.series.iter().map(|series| series.symbol.clone()).collect(),
    };
    let replays = symbols
        .iter()
        .map(|symbol| replay(results, &manifest, &job, &runtime, symbol, args.row))
        .collect::<Result<Vec<Replay>, _>>()?;
    print(&manifest.sweep_id, args.row, &replays, style)?;
    let different: Vec<&str> = replays
        .iter()
        .filter(|replay| !replay.differences.is_empty())
        .map(|replay| replay.symbol.as_str())
        .collect();
    if different.is_empty() {
        Ok(())
    } else {
        Err(CliError::Failed(format!(
            "row {} did not come out the same on {}",
            args.row,
            different.join(", ")
        )))
    }
}

fn print(sweep_id: &str, row: u64, replays: &[Replay], style: Style) -> Result<(), CliError> {
    if style.json {
        let mut rows = Vec::new();
        for replay in replays {
            let differences: Vec<_> = replay
                .differences
                .iter()
                .map(|d| json!({ "column": d.column, "stored": d.stored, "recomputed": d.recomputed }))
                .collect();
            rows.push(json!({
                "symbol": replay.symbol,
                "stored": replay.stored.is_some(),
                "identical": replay.stored.is_some() && replay.differences.is_empty(),
                "differences": differences,
                "row": output::rows_json(std::slice::from_ref(&replay.recomputed))?.pop(),
            }));
        }
        let identical = replays.iter().all(|replay| replay.stored.is_some() && replay.differences.is_empty());
        return output::json(
            &json!({ "sweep_id": sweep_id, "row": row, "identical": identical, "rows": rows }),
        );
    }
    let mut table = output::table(&["symbol", "verdict", "column", "stored", "recomputed"]);
    for replay in replays {
        if replay.differences.is_empty() {
            let verdict =
                if replay.stored.is_some() { "identical to the bit" } else { "not kept by the sweep" };
            table.add_row(vec![replay.symbol.as_str(), verdict, "", "", ""]);
        }
        for difference in &replay.differences {
            let show =
                |value: Option<f64>| value.map_or_else(|| "NULL".to_owned(), |value| value.to_string());
            table.add_row(vec![
                replay.symbol.as_str().into(),
                "DIFFERENT".into(),
                difference.column.as_str().into(),
                number_cell(show(difference.stored)),
                number_cell(show(difference.recomputed)),
            ]);
        }
    }
    output::text(&table.to_string())
}
