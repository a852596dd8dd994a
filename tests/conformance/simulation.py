#!/usr/bin/env python3
"""The simulation and its metrics, restated in another language and compared with the product.

Usage: python3 tests/conformance/simulation.py [path/to/polybolos]

Makes a synthetic market, runs breakout strategies with every rule of docs/semantics.md through `polybolos sweep`, simulates a sample of
the rows here bar by bar from the same bars, and compares trades and metrics. The signals are exact comparisons of prices, so that nothing
but the simulation is under test. Needs Python 3 and nothing else; prints the worst relative difference and exits with 1 beyond 1e-9.
"""

import json
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
TOLERANCE = 1e-9

LONG = """long:
  enter: close > lag(highest(high, wide), 1)
  exit: close < lag(lowest(low, narrow), 1)
"""
SHORT = """short:
  enter: close < lag(lowest(low, wide), 1)
  exit: close > lag(highest(high, narrow), 1)
"""

# name, sides, rules, backtest settings
CASES = [
    ("plain-long", LONG, {}, {}),
    ("both-sides-reversing", LONG + SHORT, {}, {"slippage": 0.0005}),
    ("short-only-with-stop", SHORT, {"stop_loss": 0.03}, {"fee": 0.0004}),
    ("bracket-stop-first", LONG + SHORT, {"stop_loss": 0.01, "take_profit": 0.012}, {"intrabar": "stop_first"}),
    ("bracket-target-first", LONG, {"stop_loss": 0.01, "take_profit": 0.012}, {"intrabar": "target_first", "slippage": 0.001}),
    ("bracket-nearest", LONG + SHORT, {"stop_loss": 0.008, "take_profit": 0.02}, {"intrabar": "nearest_open"}),
    ("trailing-and-cooldown", LONG + SHORT, {"trailing_stop": 0.02, "cooldown": 5}, {}),
    ("trailing-stop-time", LONG + SHORT, {"trailing_stop": 0.03, "stop_loss": 0.02, "max_bars": 24}, {"returns": "bar"}),
    ("fill-at-close", LONG + SHORT, {"stop_loss": 0.02, "cooldown": 2}, {"fill": "close"}),
    ("quote-size", LONG + SHORT, {"size": {"quote": 2500}, "max_bars": 40}, {"cash": 8000}),
    ("risk-size", LONG + SHORT, {"size": {"risk": 0.01}, "stop_loss": 0.025}, {}),
    ("half-equity-maker", LONG, {"size": {"equity": 0.5}, "take_profit": 0.03}, {"fee": {"maker": 0.0002, "taker": 0.001}}),
]


def run(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments), "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
    return json.loads(done.stdout)


class Account:
    """One symbol, one position: side is 1 long, -1 short, 0 flat."""

    def __init__(self, cash, maker, taker, slippage, size, stop):
        self.cash, self.maker, self.taker, self.slippage = cash, maker, taker, slippage
        self.size, self.stop = size, stop
        self.side, self.fees, self.trades = 0, 0.0, []

    def equity(self, close):
        return self.cash + self.side * self.quantity * close if self.side else self.cash

    def enter(self, side, bar, raw, first_bar):
        price = raw * (1 + side * self.slippage)
        whole = self.cash / (price * (1 + self.taker)) if side > 0 else self.cash / price
        (kind, value), = self.size.items()
        if kind == "equity":
            quantity = value * whole
        elif kind == "quote":
            quantity = min(value / self.cash, 1.0) * whole if self.cash > 0 else 0.0
        else:
            quantity = min(value * self.cash / (price * self.stop), whole)
        if not quantity > 0:
            return
        self.side, self.quantity, self.entry, self.entry_bar = side, quantity, price, bar
        self.first_bar, self.best, self.held = first_bar, price, 0
        self.entry_fee = quantity * price * self.taker
        self.fees += self.entry_fee
        self.cash -= side * quantity * price + self.entry_fee

    def leave(self, bar, raw, reason):
        limit = reason == "target"
        price = raw if limit else raw * (1 - self.side * self.slippage)
        fee = self.quantity * price * (self.maker if limit else self.taker)
        self.fees += fee
        self.cash += self.side * self.quantity * price - fee
        bought, sold = (self.entry, price) if self.side > 0 else (price, self.entry)
        buy_fee, sell_fee = (self.entry_fee, fee) if self.side > 0 else (fee, self.entry_fee)
        cost, proceeds = self.quantity * bought + buy_fee, self.quantity * sold - sell_fee
        self.trades.append({
            "side": self.side, "entry": self.entry_bar, "exit": bar, "reason": reason,
            "pnl": proceeds - cost, "return": (proceeds - cost) / cost, "held": self.held,
        })
        self.side = 0


def simulate(bars, wide, narrow, case):
    _, sides, rules, settings = case
    fee = settings.get("fee", 0.001)
    maker, taker = (fee["maker"], fee["taker"]) if isinstance(fee, dict) else (fee, fee)
    stop, target, trail = (rules.get(key) for key in ("stop_loss", "take_profit", "trailing_stop"))
    limit, cooldown = rules.get("max_bars"), rules.get("cooldown", 0)
    at_close = settings.get("fill") == "close"
    account = Account(settings.get("cash", 10_000), maker, taker, settings.get("slippage", 0.0), rules.get("size", {"equity": 1.0}), stop)
    opens, highs, lows, closes = (bars[key] for key in ("open", "high", "low", "close"))
    pending, last_exit, ambiguous, in_position, curve = None, None, 0, 0, []

    def fill(order, bar, raw):
        nonlocal last_exit
        first = bar + 1 if at_close else bar
        if order[0] == "enter":
            account.enter(order[1], bar, raw, first)
        else:
            side = account.side
            account.leave(bar, raw, order[1] if order[0] == "exit" else "signal")
            last_exit = bar
            if order[0] == "reverse":
                account.enter(-side, bar, raw, first)

    for t in range(len(closes)):
        if pending:
            fill(pending, t, opens[t])
            pending = None
        if account.side:
            account.held += 1
            in_position += 1
            s = account.side
            levels = []
            if stop is not None:
                levels.append((account.entry * (1 - s * stop), "stop"))
            if trail is not None:
                levels.append((account.best * (1 - s * trail), "trailing"))
            # The tighter level acts; the plain stop when both are equal.
            tight = max(levels, key=lambda level: (s * level[0], level[1] == "stop")) if levels else None
            goal = account.entry * (1 + s * target) if target is not None else None
            worst, best = (lows[t], highs[t]) if s > 0 else (highs[t], lows[t])
            account.best = max(account.best, best) if s > 0 else min(account.best, best)
            hit_stop = tight is not None and s * worst <= s * tight[0]
            hit_goal = goal is not None and s * best >= s * goal
            out = None
            if tight is not None and s * opens[t] <= s * tight[0]:
                out = (opens[t], tight[1])
            elif goal is not None and s * opens[t] >= s * goal:
                out = (opens[t], "target")
            elif hit_stop and hit_goal:
                ambiguous += 1
                mode = settings.get("intrabar", "stop_first")
                nearer = abs(opens[t] - tight[0]) <= abs(goal - opens[t])
                stop_first = mode == "stop_first" or (mode == "nearest_open" and nearer)
                out = tight if stop_first else (goal, "target")
            elif hit_stop:
                out = tight
            elif hit_goal:
                out = (goal, "target")
            if out:
                account.leave(t, *out)
                last_exit = t
        up = down = leave_long = leave_short = False
        if t >= wide:
            up = closes[t] > max(highs[t - wide:t]) and "long:" in sides
            down = closes[t] < min(lows[t - wide:t]) and "short:" in sides
        if t >= narrow:
            leave_long, leave_short = closes[t] < min(lows[t - narrow:t]), closes[t] > max(highs[t - narrow:t])
        order = None
        if account.side == 0:
            if (last_exit is None or t >= last_exit + cooldown) and up != down:
                order = ("enter", 1 if up else -1)
        else:
            own, other, leave = (up, down, leave_long) if account.side > 0 else (down, up, leave_short)
            if other and not own:
                order = ("reverse",)
            elif leave:
                order = ("exit", "signal")
            elif limit is not None and account.held >= limit:
                order = ("exit", "time")
        if order and at_close:
            fill(order, t, closes[t])
        else:
            pending = order
        curve.append(account.equity(closes[t]))
    return account, curve, ambiguous, in_position


def metrics(bars, case, account, curve, ambiguous, in_position):
    settings = case[3]
    cash = settings.get("cash", 10_000)
    times = bars["time"]
    samples, per_year = curve, 365 * 24
    if settings.get("returns", "daily") == "daily":
        samples, per_year, last, t = [], 365, cash, 0
        for midnight in range((times[0] // DAY_MS + 1) * DAY_MS, times[-1] + HOUR_MS + 1, DAY_MS):
            while t < len(times) and times[t] + HOUR_MS <= midnight:
                last, t = curve[t], t + 1
            samples.append(last)
    returns = [after / before - 1 for before, after in zip([cash] + samples, samples)]
    n, mean = len(returns), math.fsum(returns) / len(returns)
    moment = lambda power: math.fsum((r - mean) ** power for r in returns)
    deviation = math.sqrt(moment(2) / (n - 1))
    downside = math.sqrt(math.fsum(min(r, 0.0) ** 2 for r in returns) / n)
    peak = cash
    drawdown = 0.0
    for equity in curve:
        peak = max(peak, equity)
        drawdown = max(drawdown, 1 - equity / peak)
    pnls = [trade["pnl"] for trade in account.trades]
    wins, losses = [p for p in pnls if p > 0], [p for p in pnls if p < 0]
    rates = [trade["return"] for trade in account.trades]
    cagr = (curve[-1] / cash) ** (365 * DAY_MS / (times[-1] + HOUR_MS - times[0])) - 1
    sharpe = mean / deviation
    skew, kurtosis = moment(3) / n / (moment(2) / n) ** 1.5, moment(4) / n / (moment(2) / n) ** 2
    z = sharpe * math.sqrt(n - 1) / math.sqrt(1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe ** 2)
    streak = worst_streak = 0
    for pnl in pnls:
        streak = streak + 1 if pnl < 0 else 0
        worst_streak = max(worst_streak, streak)
    trades = len(pnls)
    spread = math.sqrt(math.fsum((p - math.fsum(pnls) / trades) ** 2 for p in pnls) / (trades - 1))
    return {
        "total_return": curve[-1] / cash - 1, "cagr": cagr, "volatility": deviation * math.sqrt(per_year),
        "sharpe": sharpe * math.sqrt(per_year), "sortino": mean / downside * math.sqrt(per_year),
        "calmar": cagr / drawdown, "max_drawdown": drawdown, "trades": trades, "win_rate": len(wins) / trades,
        "profit_factor": math.fsum(wins) / -math.fsum(losses), "expectancy": math.fsum(pnls) / trades,
        "avg_trade_return": math.fsum(rates) / trades, "sqn": math.sqrt(trades) * math.fsum(pnls) / trades / spread,
        "exposure": in_position / len(curve), "fees": account.fees, "final_equity": curve[-1],
        "best_trade": max(rates), "worst_trade": min(rates), "max_consecutive_losses": worst_streak,
        "avg_bars_held": sum(trade["held"] for trade in account.trades) / trades,
        "long_trades": sum(trade["side"] > 0 for trade in account.trades),
        "short_trades": sum(trade["side"] < 0 for trade in account.trades),
        "ambiguous_bars": ambiguous, "psr": 0.5 * math.erfc(-z / math.sqrt(2)),
    }


def document(case):
    name, sides, rules, settings = case
    lines = [f"name: {name}", "params:", "  wide: {from: 10, to: 60, step: 5}", "  narrow: [5, 8, 13, 21]", sides]
    lines += [f"{key}: {json.dumps(value)}" for key, value in rules.items()]
    if settings:
        lines += ["backtest:"] + [f"  {key}: {json.dumps(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else "polybolos"
    pick = random.Random(1)
    worst = (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        data, results = folder / "data", folder / "results"
        run(binary, "data", "synth", "--symbols", 2, "--bars", 3000, "--interval", "1h", "--seed", 11, "--data", data)
        places = ("--data", data, "--results", results)
        for case in CASES:
            (folder / "s.yaml").write_text(document(case))
            sweep = run(binary, "sweep", folder / "s.yaml", "--symbols", "all", "--interval", "1h", *places)
            rows = run(binary, "sql", f"SELECT * FROM results WHERE sweep_id = '{sweep['sweep_id']}' ORDER BY symbol, row", *places)
            seen = {}
            for row in pick.sample(rows, 10):
                symbol = row["symbol"]
                query = f"SELECT arrow_cast(open_time, 'Int64') AS time, open, high, low, close FROM bars WHERE symbol = '{symbol}' ORDER BY 1"
                listed = run(binary, "sql", query, *places)
                bars = {key: [bar[key] for bar in listed] for key in ("time", "open", "high", "low", "close")}
                account, curve, ambiguous, in_position = simulate(bars, row["wide"], row["narrow"], case)
                expected = metrics(bars, case, account, curve, ambiguous, in_position)
                for trade in account.trades:
                    seen[trade["reason"]] = seen.get(trade["reason"], 0) + 1
                for name, value in expected.items():
                    difference = abs(value - row[name]) / max(abs(value), 1e-9)
                    worst = max(worst, (difference, f"{case[0]} {symbol} row {row['row']} {name}: {value} here, {row[name]} there"))
            print(f"{case[0]:24} 10 rows, trades by reason: {dict(sorted(seen.items()))}")
    print(f"worst relative difference {worst[0]:.1e} ({worst[1]})")
    sys.exit(worst[0] > TOLERANCE)


if __name__ == "__main__":
    main()
