//! An exchange by its connector.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use polybolos_engine::interval::Interval;
use polybolos_engine::signals::Bar;
use tokio::sync::mpsc;

use crate::binance::{Connector, ConnectorConfig, Credentials, Endpoints, KeyKind, Metrics, UserStream};
use crate::config::{self, BotConfig, Mode, VenueName};
use crate::filters::SymbolRules;
use crate::symbol::Symbol;
use crate::trader::CommandId;
use crate::venue::{AccountEvent, Answer, Command, MarketEvent, Response, VenueError};

use super::error::RuntimeError;
use super::market::Market;
use super::patience::patiently;
use super::rules_watch::RulesWatch;
use super::venue::{Dispatch, Feed, Venue};

/// Where the file says that the exchange is.
///
/// # Errors
/// [`RuntimeError::Endpoint`].
pub fn endpoints(exchange: &config::Exchange) -> Result<Endpoints, RuntimeError> {
    let has_own =
        [&exchange.rest_url, &exchange.stream_url, &exchange.ws_api_url].into_iter().any(Option::is_some);
    Ok(match exchange.venue {
        VenueName::Live if !has_own => Endpoints::live(),
        VenueName::Testnet if !has_own => Endpoints::testnet(),
        VenueName::Demo if !has_own => Endpoints::demo(),
        _ => {
            let all = exchange.endpoints();
            Endpoints::custom(&all.rest, &all.stream, &all.ws_api)?
        }
    })
}

/// The key that the file names.
///
/// # Errors
/// [`RuntimeError::Secret`].
pub fn credentials(
    exchange: &config::Exchange,
    bot_folder: &std::path::Path,
) -> Result<Credentials, RuntimeError> {
    let kind = match exchange.key_kind {
        config::KeyKind::Hmac => KeyKind::Hmac,
        config::KeyKind::Ed25519 => KeyKind::Ed25519,
    };
    Ok(match &exchange.key_file {
        Some(file) => Credentials::from_file(kind, &bot_folder.join(file))?,
        None => Credentials::from_env(kind, &exchange.key_env, &exchange.secret_env)?,
    })
}

/// A connector without a key, for the market on which paper mode trades. Where the file names the testnet, which has prices of its own
/// that mean nothing, that is the live market.
///
/// # Errors
/// [`RuntimeError::Endpoint`], [`RuntimeError::Connector`].
pub fn market_data(exchange: &config::Exchange, metrics: Arc<Metrics>) -> Result<Connector, RuntimeError> {
    let place = match exchange.venue {
        VenueName::Testnet => Endpoints::live(),
        _ => endpoints(exchange)?,
    };
    Ok(Connector::new(ConnectorConfig::new(place), None, metrics)?)
}

/// Where the tasks that carry commands out put their answers, and where those are taken.
type Answers = (mpsc::UnboundedSender<(CommandId, Answer)>, mpsc::UnboundedReceiver<(CommandId, Answer)>);

/// An exchange, as the desk sees it.
#[derive(Debug)]
pub struct Exchange {
    market: Market,
    user: Option<UserStream>,
    answers: Answers,
    rules: Option<RulesWatch>,
}

impl Exchange {
    /// Its connector.
    pub fn connector(&self) -> &Connector {
        self.market.connector()
    }

    /// Connects: compares clocks, and looks at what the key may do.
    ///
    /// # Errors
    /// No clock, a key that may not trade, and in live mode one that may withdraw.
    pub async fn connect(
        bot: &BotConfig,
        interval: Interval,
        mode: Mode,
        credentials: Credentials,
        metrics: Arc<Metrics>,
    ) -> Result<Exchange, RuntimeError> {
        let mut settings = ConnectorConfig::new(endpoints(&bot.exchange)?);
        settings.recv_window_ms = i64::from(bot.exchange.recv_window_ms);
        let is_real = settings.endpoints.is_live();
        if mode != Mode::Live && is_real {
            return Err(RuntimeError::Config(
                "the addresses of `exchange` are those of the exchange with real money; that needs `--mode live`"
                    .to_owned(),
            ));
        }
        let connector = Connector::new(settings, Some(credentials), metrics)?;
        let market = Market::connect(connector.clone(), &bot.exchange, interval).await?;
        let account = patiently("the account", async || connector.execute(&Command::Account).await).await?;
        let Response::Account(account) = account else {
            return Err(RuntimeError::CannotTrade);
        };
        if !account.can_trade {
            return Err(RuntimeError::CannotTrade);
        }
        if mode == Mode::Live {
            // What the account says of withdrawals holds for the account; where the exchange says it of keys, that counts.
            let said = patiently("what the key may do", async || match connector.key_may_withdraw().await {
                Err(VenueError::Refused { .. } | VenueError::NotFound { .. }) => Ok(account.can_withdraw),
                said => said,
            });
            if said.await? {
                return Err(RuntimeError::KeyMayWithdraw);
            }
        }
        let answers = mpsc::unbounded_channel();
        Ok(Exchange { market, user: None, answers, rules: None })
    }

    /// An answer whose times are of the desk's clock: the connector says some in its own, some in the exchange's.
    fn in_desk_time(&self, answer: Answer) -> Answer {
        let now_ms = self.now_ms();
        let of = |time_ms: i64, clock_ms: i64| time_ms.saturating_sub(clock_ms).saturating_add(now_ms);
        let connector = self.connector();
        let (local_ms, server_ms) = (connector.local_time_ms(), connector.server_time_ms());
        answer.map_err(|error| match error {
            VenueError::NotDone { reason, retry_at_ms } if retry_at_ms != 0 => {
                VenueError::NotDone { reason, retry_at_ms: of(retry_at_ms, local_ms) }
            }
            VenueError::Halt { reason, until_ms } => {
                VenueError::Halt { reason, until_ms: until_ms.map(|until_ms| of(until_ms, local_ms)) }
            }
            VenueError::Unknown { reason, settles_at_ms } => {
                VenueError::Unknown { reason, settles_at_ms: of(settles_at_ms, server_ms) }
            }
            other => other,
        })
    }
}

/// The next event of the account's stream; nothing, for ever, without one.
async fn user(stream: Option<&mut UserStream>) -> AccountEvent {
    match stream {
        Some(stream) => match stream.next().await {
            Some(event) => event,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn changed(watch: Option<&mut RulesWatch>) -> Option<MarketEvent> {
    match watch {
        Some(watch) => watch.changes.recv().await,
        None => std::future::pending().await,
    }
}

impl Venue for Exchange {
    fn now_ms(&self) -> i64 {
        self.market.now_ms()
    }

    fn waits_for_desk(&self) -> bool {
        self.market.waits_for_desk()
    }

    fn is_of_the_present(&self) -> bool {
        self.market.is_of_the_present()
    }

    async fn rules(&mut self) -> Result<Vec<SymbolRules>, VenueError> {
        let known = self.connector().exchange_info().await?.symbols.clone();
        let all = known.values().cloned().collect();
        self.rules = Some(RulesWatch::start(self.connector().clone(), known));
        Ok(all)
    }

    async fn history(&mut self, symbol: &Symbol, from_ms: i64) -> Result<Vec<Bar>, VenueError> {
        self.market.history(symbol, from_ms).await
    }

    fn open(&mut self, pairs: &[(Symbol, Option<i64>)]) {
        self.market.open(pairs);
        if self.user.is_none() {
            self.user = Some(self.connector().user_stream());
        }
    }

    fn dispatch(&mut self, dispatch: Dispatch) {
        let (connector, answers) = (self.connector().clone(), self.answers.0.clone());
        let mut executing = Box::pin(async move {
            let answer = connector.execute_since(&dispatch.command, dispatch.since).await;
            // The desk may have ended; the next start looks the command up.
            let _ = answers.send((dispatch.id, answer));
        });
        // At once up to its first wait: it is signed and in its connection's queue then, before a thread has been woken for it.
        if executing.as_mut().now_or_never().is_none() {
            tokio::spawn(executing);
        }
    }

    async fn next(&mut self, due_ms: i64) -> Feed {
        let wait = Duration::from_millis(u64::try_from(due_ms.saturating_sub(self.now_ms())).unwrap_or(0));
        let due = tokio::time::sleep(wait);
        tokio::pin!(due);
        let Exchange { user: account, market, answers, rules } = self;
        tokio::select! {
            biased;
            event = user(account.as_mut()) => Feed::Account(event),
            Some((id, answer)) = answers.1.recv() => Feed::Answer { id, answer: self.in_desk_time(answer) },
            Some(event) = changed(rules.as_mut()) => Feed::Market { event, received: Instant::now() },
            (event, received) = market.next() => Feed::Market { event, received },
            () = &mut due => Feed::Due,
        }
    }

    fn ready(&mut self) -> Option<Feed> {
        if let Some(event) = user(self.user.as_mut()).now_or_never() {
            return Some(Feed::Account(event));
        }
        if let Ok((id, answer)) = self.answers.1.try_recv() {
            return Some(Feed::Answer { id, answer: self.in_desk_time(answer) });
        }
        let heard = self.market.next().now_or_never();
        heard.map(|(event, received)| Feed::Market { event, received })
    }

    fn settled(&mut self, newest_open_ms: &BTreeMap<Symbol, i64>) {
        self.market.settled(newest_open_ms);
    }
}
