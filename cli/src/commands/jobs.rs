//! `polybolos jobs`: what a cluster is doing.

use polybolos_proto::cluster::SweepStatus;
use polybolos_scheduler::pages::{state_word, sweep_json};
use serde_json::{Value, json};

use crate::args::JobsCommand;
use crate::clock::date_time;
use crate::commands::{Style, sweep_remote};
use crate::error::CliError;
use crate::output::{self, number_cell, thousands};
use crate::remote::Cluster;

pub(crate) fn run(command: JobsCommand, style: Style) -> Result<(), CliError> {
    match command {
        JobsCommand::List { cluster, active, limit } => {
            let cluster = Cluster::required(&cluster)?;
            let sweeps = cluster.wait(async { Ok(cluster.list(limit, active).await?) })?;
            list(&sweeps, style)
        }
        JobsCommand::Watch { cluster, sweep_id } => {
            let cluster = Cluster::required(&cluster)?;
            let status = cluster.wait(async {
                let sweep_id = match sweep_id {
                    // A scheduler that was never there is an error; one that goes away later is waited for.
                    Some(sweep_id) => cluster.get(&sweep_id).await?.sweep_id,
                    None => newest_active(&cluster).await?,
                };
                let end = sweep_remote::follow(&cluster, &sweep_id, style, sweep_remote::Interrupt::Leave);
                end.await
            })?;
            sweep_remote::conclude(&status, style)
        }
        JobsCommand::Cancel { cluster, sweep_id } => {
            let cluster = Cluster::required(&cluster)?;
            let was_active = cluster.wait(async { Ok(cluster.cancel(&sweep_id).await?) })?;
            if style.json {
                return output::json(&json!({ "sweep_id": sweep_id, "was_active": was_active }));
            }
            output::text(&if was_active {
                format!("{sweep_id} is cancelled; finished units are kept")
            } else {
                format!("{sweep_id} had ended before")
            })
        }
    }
}

async fn newest_active(cluster: &Cluster) -> Result<String, CliError> {
    let newest = cluster.list(1, true).await?.into_iter().next();
    newest.map(|status| status.sweep_id).ok_or_else(|| {
        CliError::Failed(
            "no sweep is going on; `polybolos jobs list` names those that are finished".to_owned(),
        )
    })
}

fn list(sweeps: &[SweepStatus], style: Style) -> Result<(), CliError> {
    if style.json {
        return output::json(&Value::Array(sweeps.iter().map(sweep_json).collect()));
    }
    if sweeps.is_empty() {
        return output::text("no sweep; `polybolos sweep --cluster` submits one");
    }
    let mut table = output::table(&[
        "sweep",
        "state",
        "owner",
        "submitted (UTC)",
        "units",
        "done",
        "failed",
        "G bar-combos/s",
        "left",
        "note",
    ]);
    for sweep in sweeps {
        table.add_row(vec![
            sweep.sweep_id.as_str().into(),
            state_word(sweep).into(),
            sweep.owner.as_str().into(),
            date_time(sweep.submitted_ms).into(),
            number_cell(thousands(sweep.units_total)),
            number_cell(thousands(sweep.units_done)),
            number_cell(thousands(sweep.units_failed)),
            number_cell(format!("{:.2}", sweep.bar_combos_per_second / 1e9)),
            number_cell(sweep.eta_seconds.map_or_else(|| "-".to_owned(), |eta| format!("{eta:.0} s"))),
            sweep.message.as_str().into(),
        ]);
    }
    output::text(&table.to_string())
}
