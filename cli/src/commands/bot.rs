//! `polybolos bot`: ask and tell a running bot through its control port.

use polybolos_live_trader::control::{ControlClient, ControlError, Status};
use polybolos_live_trader::dashboard;
use serde_json::Value;

use crate::args::{BotCommand, ControlArgs};
use crate::commands::{Style, block_on};
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

fn tell(args: &ControlArgs, path: &str, style: Style) -> Result<(), CliError> {
    let client = client(args)?;
    let text = block_on(async { client.post(path).await.map_err(error) })?;
    let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if style.json {
        return output::json(&answer);
    }
    output::text(answer.get("done").and_then(Value::as_str).unwrap_or("done"))
}
