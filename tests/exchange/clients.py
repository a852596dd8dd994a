"""Orders on an exchange simulator, placed by clients that others wrote for the real exchange.

    clients.py BASE      for instance http://127.0.0.1:9380; run.sh starts a simulator and calls this
"""

import asyncio
import sys
from decimal import Decimal

import ccxt
from binance.client import Client
from binance.exceptions import BinanceAPIException
from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_sdk_spot.spot import Spot

KEY, SECRET = "sim-key", "sim-secret"


def check(what, condition, found=None):
    if not condition:
        raise SystemExit(f"FAILED: {what}: {found}")
    print(f"ok: {what}")


def refused(what, code, call, text=""):
    """`call` must be refused with this code of the exchange, and these words in its message."""
    try:
        found = call()
    except BinanceAPIException as error:
        check(what, error.code == code and text in error.message, error)
    else:
        raise SystemExit(f"FAILED: {what}: not refused but answered {found}")


class Prices:
    """Prices and quantities that fit a pair's filters."""

    def __init__(self, symbol, last):
        filters = {row["filterType"]: row for row in symbol["filters"]}
        self.tick = Decimal(filters["PRICE_FILTER"]["tickSize"])
        self.lot = Decimal(filters["LOT_SIZE"]["stepSize"])
        self.last = Decimal(last)

    def price(self, factor):
        return format((self.last * Decimal(factor) // self.tick) * self.tick, "f")

    def quantity(self, quote):
        return format((Decimal(quote) / self.last // self.lot) * self.lot, "f")


def python_binance(base):
    """python-binance, over REST with an HMAC key."""
    client = Client(KEY, SECRET, ping=False)
    client.API_URL = f"{base}/api"
    client.ping()
    check("python-binance: time", client.get_server_time()["serverTime"] > 1_600_000_000_000)
    info = client.get_exchange_info()
    symbol = info["symbols"][0]
    name = symbol["symbol"]
    prices = Prices(symbol, client.get_symbol_ticker(symbol=name)["price"])
    check("python-binance: order limits", any(row["rateLimitType"] == "ORDERS" for row in info["rateLimits"]))
    bars = client.get_klines(symbol=name, interval="1m", limit=10)
    check("python-binance: klines", len(bars) == 10 and len(bars[0]) == 12, bars)

    quantity = prices.quantity(1000)
    low = client.order_limit_buy(symbol=name, quantity=quantity, price=prices.price("0.5"), newClientOrderId="py-low")
    check("python-binance: limit order rests", low["status"] == "NEW" and low["clientOrderId"] == "py-low", low)
    found = client.get_order(symbol=name, origClientOrderId="py-low")
    check("python-binance: query", found["orderId"] == low["orderId"] and found["isWorking"], found)
    check("python-binance: open orders", [o["orderId"] for o in client.get_open_orders(symbol=name)] == [low["orderId"]])
    gone = client.cancel_order(symbol=name, orderId=low["orderId"])
    check("python-binance: cancel", gone["status"] == "CANCELED" and gone["origClientOrderId"] == "py-low", gone)

    bought = client.order_market_buy(symbol=name, quantity=quantity)
    check("python-binance: market order", bought["status"] == "FILLED" and bought["fills"], bought)
    held = Decimal(client.get_asset_balance(asset=symbol["baseAsset"])["free"])
    check("python-binance: balance", 0 < held <= Decimal(quantity), held)
    sell = format((held // prices.lot) * prices.lot, "f")
    oco = client.create_oco_order(
        symbol=name,
        side="SELL",
        quantity=sell,
        aboveType="LIMIT_MAKER",
        abovePrice=prices.price("2"),
        belowType="STOP_LOSS",
        belowStopPrice=prices.price("0.5"),
    )
    check("python-binance: OCO", oco["contingencyType"] == "OCO" and len(oco["orderReports"]) == 2, oco)
    check("python-binance: both legs are open", len(client.get_open_orders(symbol=name)) == 2)
    gone = client.cancel_order(symbol=name, orderId=oco["orders"][0]["orderId"])
    check("python-binance: a leg takes its list with it", gone["listOrderStatus"] == "ALL_DONE", gone)
    sold = client.order_market_sell(symbol=name, quantity=sell)
    check("python-binance: sale", sold["status"] == "FILLED", sold)
    trades = client.get_my_trades(symbol=name)
    check("python-binance: trades", [t["isBuyer"] for t in trades] == [True, False], trades)

    def place(**changes):
        order = {"symbol": name, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": quantity}
        return lambda: client.create_order(**{**order, "price": prices.price("0.9"), **changes})

    half_tick = format(Decimal(prices.price("0.9")) + prices.tick / 2, "f")
    if prices.tick > Decimal("0.00000001"):
        refused("filter: tick", -1013, place(price=half_tick), "PRICE_FILTER")
    refused("filter: price far away", -1013, place(price=prices.price("0.1")), "PERCENT_PRICE_BY_SIDE")
    refused("filter: notional", -1013, place(quantity=prices.quantity(1)), "NOTIONAL")
    refused("no balance", -2010, place(quantity=prices.quantity(10**6)), "insufficient balance")
    refused("no symbol", -1121, place(symbol="NOTHING"), "Invalid symbol")
    refused("no order", -2013, lambda: client.get_order(symbol=name, orderId=10**9), "does not exist")
    refused("no cancel", -2011, lambda: client.cancel_order(symbol=name, orderId=10**9), "Unknown order")
    stranger = Client(KEY, "wrong", ping=False)
    stranger.API_URL = f"{base}/api"
    refused("wrong secret", -1022, stranger.get_account, "Signature")
    return name


def with_ccxt(base):
    """ccxt, over REST."""
    exchange = ccxt.binance({
        "apiKey": KEY,
        "secret": SECRET,
        "options": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False},
    })
    exchange.has["fetchCurrencies"] = False
    exchange.urls["api"] = {**exchange.urls["api"], "public": f"{base}/api/v3", "private": f"{base}/api/v3"}
    markets = exchange.load_markets()
    name = sorted(markets)[0]
    ticker = exchange.fetch_ticker(name)
    last = ticker["last"]
    check("ccxt: ticker", last > 0 and ticker["high"] >= ticker["low"], ticker)
    bars = exchange.fetch_ohlcv(name, "1m", limit=5)
    check("ccxt: bars", len(bars) == 5, bars)
    amount = float(exchange.amount_to_precision(name, 1000 / last))
    low = exchange.create_order(name, "limit", "buy", amount, float(exchange.price_to_precision(name, last * 0.5)))
    check("ccxt: limit order", low["status"] == "open", low)
    check("ccxt: open orders", [o["id"] for o in exchange.fetch_open_orders(name)] == [low["id"]])
    exchange.cancel_order(low["id"], name)
    check("ccxt: cancel", exchange.fetch_order(low["id"], name)["status"] == "canceled")
    bought = exchange.create_order(name, "market", "buy", amount)
    check("ccxt: market order", bought["status"] == "closed" and bought["filled"] == amount, bought)
    check("ccxt: balance", exchange.fetch_balance()[markets[name]["base"]]["free"] > 0)
    check("ccxt: trades", len(exchange.fetch_my_trades(name)) >= 1)
    stop = float(exchange.price_to_precision(name, last * 0.5))
    left = float(exchange.amount_to_precision(name, amount * 0.9))
    resting = exchange.create_order(name, "market", "sell", left, None, {"stopLossPrice": stop})
    check("ccxt: stop order", exchange.fetch_order(resting["id"], name)["status"] == "open", resting)
    exchange.cancel_all_orders(name)
    check("ccxt: nothing is open", exchange.fetch_open_orders(name) == [])


async def official(base, name):
    """Binance's own SDK: REST, the WebSocket API with the user's events, and a market stream."""
    streams = base.replace("http", "ws", 1)
    spot = Spot(
        config_rest_api=ConfigurationRestAPI(api_key=KEY, api_secret=SECRET, base_path=base),
        config_ws_api=ConfigurationWebSocketAPI(api_key=KEY, api_secret=SECRET, stream_url=f"{streams}/ws-api/v3"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=streams),
    )
    check("SDK: account", spot.rest_api.get_account().data().can_trade)
    price = spot.rest_api.ticker_price(symbol=name).data()
    symbol = spot.rest_api.exchange_info(symbol=name).data().to_dict()["symbols"][0]
    last = getattr(price, "actual_instance", price).price
    prices = Prices(symbol, last)

    connection = await spot.websocket_api.create_connection()
    subscribed = await connection.user_data_stream_subscribe_signature()
    events = []
    subscribed.stream.on("message", lambda event: events.append(getattr(event, "actual_instance", event)))
    placed = await connection.order_place(
        symbol=name,
        side="BUY",
        type="LIMIT",
        time_in_force="GTC",
        price=float(prices.price("0.5")),
        quantity=float(prices.quantity(1000)),
        new_client_order_id="sdk-low",
    )
    check("SDK: order over the WebSocket API", placed.data().result.status == "NEW", placed.data())
    gone = await connection.order_cancel(symbol=name, orig_client_order_id="sdk-low")
    check("SDK: cancel over the WebSocket API", gone.data().result.status == "CANCELED", gone.data())
    bought = await connection.order_place(symbol=name, side="BUY", type="MARKET", quantity=float(prices.quantity(1000)))
    check("SDK: market order over the WebSocket API", bought.data().result.status == "FILLED", bought.data())
    await asyncio.sleep(0.5)
    told = [(type(event).__name__, event.to_dict().get("x")) for event in events]
    expected = [
        ("ExecutionReport", "NEW"),
        ("OutboundAccountPosition", None),
        ("ExecutionReport", "CANCELED"),
        ("OutboundAccountPosition", None),
        ("ExecutionReport", "NEW"),
        ("ExecutionReport", "TRADE"),
        ("OutboundAccountPosition", None),
    ]
    check("SDK: the user's events, in order", told == expected, told)
    await connection.close_connection(close_session=True)

    market = await spot.websocket_streams.create_connection()
    stream = await market.kline(symbol=name.lower(), interval="1m")
    bars = []
    stream.on("message", bars.append)
    for _ in range(50):
        await asyncio.sleep(0.1)
        closed = [bar.s for bar in bars if bar.k.to_dict()["x"]]
        if closed:
            break
    check("SDK: a bar closes on the stream", closed == [name], bars)
    await market.close_connection(close_session=True)


def main():
    base = sys.argv[1]
    name = python_binance(base)
    with_ccxt(base)
    asyncio.run(official(base, name))
    print("all clients are served")


if __name__ == "__main__":
    main()
