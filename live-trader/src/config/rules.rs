//! What a schema cannot say: values that must agree with each other.

use super::{BotConfig, Mode, VenueName};

/// What is wrong: the path of the key, the fault, the way out.
pub(crate) struct Broken {
    pub(crate) path: &'static str,
    pub(crate) message: String,
    pub(crate) hint: &'static str,
}

/// Everything in `config` that does not agree.
pub(crate) fn broken(config: &BotConfig) -> Vec<Broken> {
    let mut all = Vec::new();
    let mut say = |path, message: String, hint| all.push(Broken { path, message, hint });
    exactly_one(
        &mut say,
        "strategy",
        [("document", config.strategy.document.is_some()), ("file", config.strategy.file.is_some())],
        "give the document's text, or the name of its file",
    );
    exactly_one(
        &mut say,
        "",
        [("symbols", !config.symbols.is_empty()), ("selection", config.selection.is_some())],
        "name the symbols, or say how they are chosen",
    );
    exactly_one(
        &mut say,
        "capital",
        [("per_symbol", config.capital.per_symbol.is_some()), ("total", config.capital.total.is_some())],
        "give one of them, in quote currency",
    );
    symbols(config, &mut say);
    let exchange = &config.exchange;
    let urls = [&exchange.rest_url, &exchange.stream_url, &exchange.ws_api_url];
    if exchange.venue == VenueName::Custom && urls.iter().any(|url| url.is_none()) {
        say(
            "exchange.venue",
            "`exchange.venue` is custom, but not all of `rest_url`, `stream_url` and `ws_api_url` are there"
                .to_owned(),
            "give all three; `polybolos exchange-sim` prints its own",
        );
    }
    if let Some((message, hint)) = config.mode_conflict(config.mode) {
        say("mode", message, hint);
    }
    if !config.control.listen.ip().is_loopback() {
        say(
            "control.listen",
            format!("`control.listen` is {}, which other machines can reach", config.control.listen),
            "listen on 127.0.0.1 and tunnel to it (ssh -L)",
        );
    }
    all
}

fn exactly_one(
    say: &mut impl FnMut(&'static str, String, &'static str),
    path: &'static str,
    keys: [(&str, bool); 2],
    hint: &'static str,
) {
    let [(first, has_first), (second, has_second)] = keys;
    let owner = if path.is_empty() { "a bot's file".to_owned() } else { format!("`{path}`") };
    match (has_first, has_second) {
        (true, true) => say(path, format!("{owner} has both `{first}` and `{second}`"), hint),
        (false, false) => say(path, format!("{owner} has neither `{first}` nor `{second}`"), hint),
        _ => {}
    }
}

fn symbols(config: &BotConfig, say: &mut impl FnMut(&'static str, String, &'static str)) {
    let quote = &config.capital.quote_asset;
    for (index, symbol) in config.symbols.iter().enumerate() {
        if !symbol.ends_with(quote.as_str()) || symbol == quote {
            say(
                "symbols",
                format!("the symbol `{symbol}` is not paid for in {quote}, the `capital.quote_asset`"),
                "trade symbols of one quote asset per bot",
            );
        }
        if config.symbols.iter().take(index).any(|other| other == symbol) {
            say("symbols", format!("the symbol `{symbol}` is there twice"), "keep one of them");
        }
    }
}

impl BotConfig {
    /// Why this file cannot run in `mode`, with the way out: a mode never trades on an exchange of another kind of money.
    pub fn mode_conflict(&self, mode: Mode) -> Option<(String, &'static str)> {
        match (mode, self.exchange.venue) {
            (Mode::Testnet, VenueName::Live) => Some((
                "testnet mode would send its orders to the live exchange".to_owned(),
                "set `exchange.venue: testnet` (or demo), or `mode: live`",
            )),
            (Mode::Live, VenueName::Testnet | VenueName::Demo) => Some((
                "live mode would send its orders to an exchange without real money".to_owned(),
                "set `exchange.venue: live`, or `mode: testnet`",
            )),
            _ => None,
        }
    }
}
