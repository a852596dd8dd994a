//! `polybolos parity`: a bot's session against the backtest of its own candles.

use std::path::{Path, PathBuf};

use polybolos_live_trader::config::BotConfig;
use polybolos_live_trader::journal::{Audit, JournalError};
use polybolos_live_trader::parity::{ParityError, Settings, compare};
use polybolos_live_trader::trader::Record;
use rust_decimal::prelude::ToPrimitive as _;

use crate::args::ParityArgs;
use crate::clock::date_time;
use crate::commands::bot_file::{self, Bot, BotError};
use crate::commands::{Style, strategy_file};
use crate::error::CliError;
use crate::output;

pub(crate) fn run(args: &ParityArgs, style: Style) -> Result<(), CliError> {
    if !(args.tolerance_bps.is_finite() && args.tolerance_bps >= 0.0) {
        return Err(CliError::Usage(format!(
            "--tolerance-bps must be at least 0, not {}",
            args.tolerance_bps
        )));
    }
    let source = strategy_file::source(&args.bot)?;
    let Bot { config, strategy, .. } =
        bot_file::read(&source, &bot_file::sources(args.profile.profile.as_deref())).map_err(bot_error)?;
    let folder = args.state_dir.clone().unwrap_or_else(|| state_dir(&args.bot, &config));
    let records = records(&folder, &config.name)?;
    let settings = Settings {
        program: strategy.strategy.program(),
        params: &strategy.values,
        interval: strategy.interval,
        config: strategy.strategy.config(),
        collar_bps: config.entry.collar_bps.to_f64().unwrap_or(f64::NAN),
        tolerance_bps: args.tolerance_bps,
    };
    let report = compare(records, &settings).map_err(|error| match error {
        ParityError::Empty => CliError::Failed(format!("{}: {error}", folder.display())),
        ParityError::Backtest { .. } => CliError::Failed(error.to_string()),
    })?;
    if style.json {
        output::json(&report)?;
    } else {
        output::text(&report.lines(&date_time).join("\n"))?;
    }
    match report.unexplained {
        0 => Ok(()),
        count => Err(CliError::Failed(format!("{count} differences have no cause in the journal"))),
    }
}

/// All that the journal ever took. It is only read, and may be in use.
fn records(folder: &Path, bot: &str) -> Result<Vec<Record>, CliError> {
    let journal = [folder.join("journal"), folder.to_owned()];
    let dir = journal.iter().find(|dir| dir.exists()).unwrap_or(&journal[1]);
    let failed = |error: JournalError| CliError::Failed(error.to_string());
    let mut records = Vec::new();
    for entry in Audit::<Record>::open(dir, bot).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A checkpoint repeats what is there already, but for the oldest segment's.
        if !entry.is_checkpoint || records.is_empty() {
            records.push(entry.record);
        }
    }
    Ok(records)
}

fn state_dir(bot: &Path, config: &BotConfig) -> PathBuf {
    bot.parent().unwrap_or(Path::new("")).join(&config.state_dir)
}

fn bot_error(error: BotError) -> CliError {
    match error {
        BotError::File(error) => error,
        BotError::Text(faults) => CliError::Failed(faults.to_string()),
        BotError::Changed(changes) => CliError::Failed(changes.join("\n")),
    }
}
