//! Logons of a connection and its subscription to the user's events.

use serde_json::{Value, json};

use crate::exchange_sim::auth::{self, Signed};
use crate::exchange_sim::exchange::Exchange;
use crate::exchange_sim::params::Params;
use crate::exchange_sim::refusal::Refusal;

/// Weight of everything here.
const WEIGHT: u32 = 2;

/// Answers a request about the connection itself.
pub(super) type Handler = fn(&mut Exchange, u64, &Params) -> Result<Value, Refusal>;

pub(super) const HANDLERS: [(&str, Handler); 7] = [
    ("session.logon", logon),
    ("session.status", status),
    ("session.logout", logout),
    ("session.subscriptions", subscriptions),
    ("userDataStream.subscribe", subscribe),
    ("userDataStream.subscribe.signature", subscribe_signed),
    ("userDataStream.unsubscribe", unsubscribe),
];

pub(super) fn handler(method: &str) -> Option<Handler> {
    HANDLERS.iter().find(|(name, _)| *name == method).map(|(_, handler)| *handler)
}

pub(super) fn handle(
    exchange: &mut Exchange,
    client: u64,
    params: &Params,
    handler: Handler,
) -> Result<Value, Refusal> {
    let now_ms = exchange.server_ms();
    exchange.counters.take(now_ms, WEIGHT)?;
    handler(exchange, client, params)
}

/// Checks key, signature and time of a request about the connection.
fn check(exchange: &Exchange, params: &Params) -> Result<Signed, Refusal> {
    auth::check_key(&exchange.key, params.get("apiKey"))?;
    let signed = auth::check_signature(&exchange.key, &params.sorted(), params)?;
    auth::check_time(params, exchange.server_ms())?;
    Ok(signed)
}

fn logon(exchange: &mut Exchange, client: u64, params: &Params) -> Result<Value, Refusal> {
    if check(exchange, params)? != Signed::Ed25519 {
        return Err(Refusal::bad(-4056, "HMAC_SHA256 API key is not supported."));
    }
    let now_ms = exchange.server_ms();
    exchange.hub.api(client)?.authorized_ms = Some(now_ms);
    status(exchange, client, params)
}

fn status(exchange: &mut Exchange, client: u64, _: &Params) -> Result<Value, Refusal> {
    let (server_ms, key) = (exchange.server_ms(), exchange.key.key.clone());
    let client = exchange.hub.api(client)?;
    Ok(json!({
        "apiKey": client.authorized_ms.map(|_| key), "authorizedSince": client.authorized_ms,
        "connectedSince": client.connected_ms, "returnRateLimits": true, "serverTime": server_ms,
        "userDataStream": client.is_subscribed()
    }))
}

fn logout(exchange: &mut Exchange, client: u64, params: &Params) -> Result<Value, Refusal> {
    exchange.hub.api(client)?.authorized_ms = None;
    if exchange.hub.api(client)?.subscription.is_some_and(|(_, by_logon)| by_logon) {
        end(exchange, client)?;
    }
    status(exchange, client, params)
}

fn subscriptions(exchange: &mut Exchange, client: u64, _: &Params) -> Result<Value, Refusal> {
    let client = exchange.hub.api(client)?;
    Ok(client.subscription.iter().map(|(id, _)| json!({"subscriptionId": id})).collect())
}

fn subscribe(exchange: &mut Exchange, client: u64, _: &Params) -> Result<Value, Refusal> {
    if exchange.hub.api(client)?.authorized_ms.is_none() {
        return Err(Refusal::new(401, -2015, "Invalid API-key, IP, or permissions for action."));
    }
    begin(exchange, client, true)
}

fn subscribe_signed(exchange: &mut Exchange, client: u64, params: &Params) -> Result<Value, Refusal> {
    check(exchange, params)?;
    begin(exchange, client, false)
}

fn begin(exchange: &mut Exchange, client: u64, by_logon: bool) -> Result<Value, Refusal> {
    let client = exchange.hub.api(client)?;
    if client.is_subscribed() {
        return Err(Refusal::bad(-2035, "User Data Stream subscription already active"));
    }
    let id = client.next_subscription;
    client.next_subscription += 1;
    client.subscription = Some((id, by_logon));
    Ok(json!({"subscriptionId": id}))
}

fn unsubscribe(exchange: &mut Exchange, client: u64, params: &Params) -> Result<Value, Refusal> {
    let wanted = params.integer("subscriptionId")?;
    let active = exchange.hub.api(client)?.subscription;
    let is_meant = active.is_some_and(|(id, _)| wanted.is_none_or(|wanted| i64::try_from(id) == Ok(wanted)));
    if !is_meant {
        return Err(Refusal::bad(-2036, "User Data Stream subscription not active"));
    }
    end(exchange, client)?;
    Ok(json!({}))
}

/// Ends a connection's subscription and says so on it.
fn end(exchange: &mut Exchange, client: u64) -> Result<(), Refusal> {
    let now_ms = exchange.core.now_ms();
    let client = exchange.hub.api(client)?;
    client.tell_user(&json!({"e": "eventStreamTerminated", "E": now_ms}), 0);
    client.subscription = None;
    Ok(())
}

impl Exchange {
    /// Ends every subscription of the account, as a revoked key does.
    pub(in crate::exchange_sim) fn end_subscriptions(&mut self) {
        let now_ms = self.core.now_ms();
        for client in self.hub.apis.values_mut() {
            client.tell_user(&json!({"e": "eventStreamTerminated", "E": now_ms}), 0);
            client.subscription = None;
        }
    }
}
