//! `polybolos bot`: ask and tell a running bot through its control port.

use std::path::{Path, PathBuf};

use polybolos_engine::interval::Interval;
use polybolos_live_trader::config::{self, BotConfig};
use polybolos_live_trader::control::{ControlClient, ControlError, Status};
use polybolos_live_trader::dashboard;
use polybolos_live_trader::risk::KillSwitch;
use polybolos_live_trader::runtime::KILL_FILE;
use serde_json::{Value, json};

use crate::args::{BotCommand, ControlArgs};
use crate::clock::now_ms;
use crate::commands::{Style, block_on, bot_file, results, strategy_file, trade};
use crate::error::CliError;
use crate::output;

pub(crate) fn run(command: BotCommand, style: Style) -> Result<(), CliError> {
    match command {
        BotCommand::Status { control } => status(&control, style),
        BotCommand::Pause { control } => tell(&control, "pause", style),
        BotCommand::Resume { control } => tell(&control, "resume", style),
        BotCommand::Flatten { control } => tell(&control, "flatten", style),
        BotCommand::Kill { control } => tell(&control, "kill", style),
        BotCommand::Reconcile { control } => tell(&control, "reconcile", style),
        BotCommand::Unkill { bot, reason, state_dir } => unkill(&bot, &reason, state_dir.as_deref(), style),
        BotCommand::Trades { bot, out, state_dir } => trades(&bot, &out, state_dir.as_deref(), style),
        BotCommand::Close { symbol, control } => {
            if symbol.is_empty() || symbol.contains(['/', '.']) {
                return Err(CliError::Usage(format!("`{symbol}` is not a symbol")));
            }
            tell(&control, &format!("close/{symbol}"), style)
        }
    }
}

fn client(args: &ControlArgs) -> Result<ControlClient, CliError> {
    let token = std::env::var(&args.token_env).map_err(|_| {
        CliError::Usage(format!(
            "the environment variable {} is not set; it holds the token that the bot was started with",
            args.token_env
        ))
    })?;
    ControlClient::new(&args.control, &token).map_err(error)
}

fn error(error: ControlError) -> CliError {
    match error {
        ControlError::Address(_) => CliError::Usage(error.to_string()),
        _ => CliError::Failed(error.to_string()),
    }
}

fn status(args: &ControlArgs, style: Style) -> Result<(), CliError> {
    let client = client(args)?;
    let text = block_on(async { client.get("status").await.map_err(error) })?;
    let not_ours = |fault: serde_json::Error| {
        CliError::Failed(format!("{}: not the status of a bot of this version: {fault}", args.control))
    };
    if style.json {
        return output::json(&serde_json::from_str::<Value>(&text).map_err(not_ours)?);
    }
    let status: Status = serde_json::from_str(&text).map_err(not_ours)?;
    output::text(&dashboard::lines(&status).join("\n"))
}

/// A bot's configuration and the folder of its state.
fn of_file(bot: &Path, state_dir: Option<&Path>) -> Result<(BotConfig, PathBuf), CliError> {
    let config = config::load(&strategy_file::source(bot)?, &bot_file::sources(None))?;
    let own = bot.parent().unwrap_or(Path::new("")).join(&config.state_dir);
    Ok((config, state_dir.map_or(own, Path::to_owned)))
}

fn unkill(bot: &Path, reason: &str, state_dir: Option<&Path>, style: Style) -> Result<(), CliError> {
    let (config, state_dir) = of_file(bot, state_dir)?;
    let mut switch = KillSwitch::open(&state_dir.join(KILL_FILE));
    if !switch.is_set() {
        return Err(CliError::Failed(format!("the kill switch of {} is not set", config.name)));
    }
    switch
        .clear(reason, "polybolos bot unkill", now_ms())
        .map_err(|error| CliError::Failed(error.to_string()))?;
    if style.json {
        return output::json(&json!({ "bot": config.name, "is_set": false }));
    }
    output::text("the kill switch is taken back; start the bot again to let it trade")
}

fn trades(bot: &Path, out: &Path, state_dir: Option<&Path>, style: Style) -> Result<(), CliError> {
    results::check_extension(out)?;
    let (config, state_dir) = of_file(bot, state_dir)?;
    let interval = config.strategy.interval.parse::<Interval>();
    let interval = interval.map_err(|error| CliError::Failed(format!("strategy.interval: {error}")))?;
    let count = trade::write_trades(out, &state_dir, &config.name, interval)?;
    if style.json {
        return output::json(
            &json!({ "bot": config.name, "trades": count, "file": out.display().to_string() }),
        );
    }
    output::text(&format!("{count} trades written to {}", out.display()))
}

fn tell(args: &ControlArgs, path: &str, style: Style) -> Result<(), CliError> {
    let client = client(args)?;
    let text = block_on(async { client.post(path).await.map_err(error) })?;
    let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if style.json {
        return output::json(&answer);
    }
    output::text(answer.get("done").and_then(Value::as_str).unwrap_or("done"))
}
