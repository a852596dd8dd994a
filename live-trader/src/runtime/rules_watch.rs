//! The exchange's rules, asked for again and again beside the desk.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::binance::Connector;
use crate::filters::SymbolRules;
use crate::symbol::Symbol;
use crate::venue::MarketEvent;

const EVERY: Duration = Duration::from_secs(3_600);

/// Tells rules that have changed, as long as it is not dropped.
#[derive(Debug)]
pub(super) struct RulesWatch {
    pub(super) changes: mpsc::UnboundedReceiver<MarketEvent>,
    task: AbortHandle,
}

impl Drop for RulesWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RulesWatch {
    /// Watches all pairs from `known` on.
    pub(super) fn start(connector: Connector, known: BTreeMap<Symbol, SymbolRules>) -> RulesWatch {
        let (sender, changes) = mpsc::unbounded_channel();
        let task = tokio::spawn(watch(connector, known, sender));
        RulesWatch { changes, task: task.abort_handle() }
    }
}

async fn watch(
    connector: Connector,
    mut known: BTreeMap<Symbol, SymbolRules>,
    sender: mpsc::UnboundedSender<MarketEvent>,
) {
    while !sender.is_closed() {
        tokio::time::sleep(EVERY).await;
        connector.forget_exchange_info().await;
        match connector.exchange_info().await {
            Ok(info) => {
                for (symbol, rules) in &info.symbols {
                    if known.insert(symbol.clone(), rules.clone()).is_some_and(|before| before != *rules) {
                        let _ = sender.send(MarketEvent::Rules { rules: Box::new(rules.clone()) });
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the exchange's rules could not be asked for again"),
        }
    }
}
