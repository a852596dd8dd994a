//! The table of what can be asked: paths and methods, who may ask, what it weighs, which parameters it has, who answers.

use serde_json::Value;

use super::endpoints::{account, general, lists, market, orders};
use super::exchange::Exchange;
use super::params::Params;
use super::refusal::Refusal;

/// Answers a request whose key, signature, time and limits are in order.
pub(super) type Handler = fn(&mut Exchange, &Params) -> Result<Value, Refusal>;

/// What an answer to a request weighs.
#[derive(Clone, Copy)]
pub(super) enum Weight {
    Fixed(u32),
    By(fn(&Params) -> u32),
}

/// One thing that can be asked, over either transport.
pub(super) struct Endpoint {
    pub(super) verb: &'static str,
    /// Path under `/api/v3/`.
    pub(super) path: &'static str,
    /// Method of the WebSocket API; empty where it has none.
    pub(super) method: &'static str,
    /// Whether it is signed.
    pub(super) is_signed: bool,
    pub(super) weight: Weight,
    /// Whether it weighs nothing once it is done, as everything that places or cancels orders.
    pub(super) is_free: bool,
    /// Orders that it places.
    pub(super) orders: u32,
    pub(super) params: &'static [&'static str],
    pub(super) handler: Handler,
}

impl Endpoint {
    pub(super) fn weight(&self, params: &Params) -> u32 {
        match self.weight {
            Weight::Fixed(weight) => weight,
            Weight::By(of) => of(params),
        }
    }
}

const fn public(
    path: &'static str,
    method: &'static str,
    weight: Weight,
    params: &'static [&'static str],
    handler: Handler,
) -> Endpoint {
    Endpoint {
        verb: "GET",
        path,
        method,
        is_signed: false,
        weight,
        is_free: false,
        orders: 0,
        params,
        handler,
    }
}

const fn private(
    path: &'static str,
    method: &'static str,
    weight: Weight,
    params: &'static [&'static str],
    handler: Handler,
) -> Endpoint {
    Endpoint { is_signed: true, ..public(path, method, weight, params, handler) }
}

/// Something that places `orders` or, with none, cancels.
const fn trade(
    verb: &'static str,
    path: &'static str,
    method: &'static str,
    orders: u32,
    params: &'static [&'static str],
    handler: Handler,
) -> Endpoint {
    let endpoint = private(path, method, Weight::Fixed(1), params, handler);
    Endpoint { verb, is_free: true, orders, ..endpoint }
}

const SYMBOL: &[&str] = &["symbol", "symbols", "symbolStatus"];
const TICKER: &[&str] = &["symbol", "symbols", "symbolStatus", "type"];
const KLINES: &[&str] = &["symbol", "interval", "startTime", "endTime", "timeZone", "limit"];
const ONE_ORDER: &[&str] = &["symbol", "orderId", "origClientOrderId"];
const CANCEL: &[&str] = &["symbol", "orderId", "origClientOrderId", "newClientOrderId", "cancelRestrictions"];
const ONE_LIST: &[&str] = &["orderListId", "origClientOrderId"];
const PAGE: &[&str] = &["symbol", "orderId", "fromId", "startTime", "endTime", "limit"];

/// Everything there is. The first row that fits counts.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    public("ping", "ping", Weight::Fixed(1), &[], general::ping),
    public("time", "time", Weight::Fixed(1), &[], general::time),
    public("exchangeInfo", "exchangeInfo", Weight::Fixed(20), general::INFO_PARAMS, general::exchange_info),
    public(
        "depth",
        "depth",
        Weight::By(market::depth_weight),
        &["symbol", "limit", "symbolStatus"],
        market::depth,
    ),
    public("trades", "trades.recent", Weight::Fixed(25), &["symbol", "limit"], market::trades),
    public("historicalTrades", "trades.historical", Weight::Fixed(25), PAGE, market::trades),
    public("aggTrades", "trades.aggregate", Weight::Fixed(4), PAGE, market::agg_trades),
    public("klines", "klines", Weight::Fixed(2), KLINES, market::klines),
    public("uiKlines", "uiKlines", Weight::Fixed(2), KLINES, market::klines),
    public("avgPrice", "avgPrice", Weight::Fixed(2), &["symbol"], market::average_price),
    public("ticker/24hr", "ticker.24hr", Weight::By(market::day_weight), TICKER, market::day),
    public("ticker/price", "ticker.price", Weight::By(market::ticker_weight), SYMBOL, market::price),
    public("ticker/bookTicker", "ticker.book", Weight::By(market::ticker_weight), SYMBOL, market::book),
    private("account", "account.status", Weight::Fixed(20), &["omitZeroBalances"], account::account),
    private("account/commission", "account.commission", Weight::Fixed(20), &["symbol"], account::commission),
    private("rateLimit/order", "account.rateLimits.orders", Weight::Fixed(40), &[], account::order_limits),
    private("myTrades", "myTrades", Weight::By(account::trades_weight), PAGE, account::my_trades),
    private("order", "order.status", Weight::Fixed(4), ONE_ORDER, orders::query),
    private("openOrders", "openOrders.status", Weight::By(orders::open_weight), &["symbol"], orders::open),
    private("allOrders", "allOrders", Weight::Fixed(20), PAGE, orders::all),
    trade("POST", "order", "order.place", 1, orders::PARAMS, orders::place),
    Endpoint {
        is_free: false,
        orders: 0,
        ..trade("POST", "order/test", "order.test", 0, orders::PARAMS, orders::test)
    },
    trade("DELETE", "order", "order.cancel", 0, CANCEL, orders::cancel),
    trade("DELETE", "openOrders", "openOrders.cancelAll", 0, &["symbol"], orders::cancel_all),
    trade(
        "POST",
        "order/cancelReplace",
        "order.cancelReplace",
        1,
        orders::REPLACE_PARAMS,
        orders::cancel_replace,
    ),
    Endpoint {
        verb: "PUT",
        ..private(
            "order/amend/keepPriority",
            "order.amend.keepPriority",
            Weight::Fixed(4),
            orders::AMEND_PARAMS,
            orders::amend,
        )
    },
    trade("POST", "orderList/oco", "orderList.place.oco", 2, lists::OCO_PARAMS, lists::oco),
    trade("POST", "orderList/oto", "orderList.place.oto", 2, lists::OTO_PARAMS, lists::oto),
    trade("POST", "orderList/otoco", "orderList.place.otoco", 3, lists::OTOCO_PARAMS, lists::otoco),
    trade("DELETE", "orderList", "orderList.cancel", 0, lists::CANCEL_PARAMS, lists::cancel),
    private("orderList", "orderList.status", Weight::Fixed(4), ONE_LIST, lists::query),
    private("openOrderList", "openOrderLists.status", Weight::Fixed(6), &[], lists::open),
    private(
        "allOrderList",
        "allOrderLists",
        Weight::Fixed(20),
        &["fromId", "startTime", "endTime", "limit"],
        lists::all,
    ),
];

/// The row of a REST request.
pub(super) fn of_path(verb: &str, path: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().find(|endpoint| endpoint.verb == verb && endpoint.path == path)
}

/// The row of a method of the WebSocket API.
pub(super) fn of_method(method: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().find(|endpoint| !method.is_empty() && endpoint.method == method)
}
