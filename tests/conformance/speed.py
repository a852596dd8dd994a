"""The ten usual indicators over a million bars, beside TA-Lib's wheel on the same bars; run by `run.sh speed`.

    speed.py PROGRAM      PROGRAM: the built example `indicator_times`

Nanoseconds per bar, medians of fifteen whole calls on one thread, results allocated by each call. "reused" writes into the memory of
earlier results, as a sweep does. What the calls return is compared by indicators.py, not here.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import talib

BARS = 1_000_000
RUNS = 15

ROWS = {
    "sma 20": lambda h, l, c: talib.SMA(c, 20),
    "ema 20": lambda h, l, c: talib.EMA(c, 20),
    "rsi 14": lambda h, l, c: talib.RSI(c, 14),
    "macd 12 26 9": lambda h, l, c: talib.MACD(c, 12, 26, 9),
    "bollinger 20 2": lambda h, l, c: talib.BBANDS(c, 20, 2, 2),
    "atr 14": lambda h, l, c: talib.ATR(h, l, c, 14),
    "stochastic 14 3 3": lambda h, l, c: talib.STOCH(h, l, c, 14, 3, 0, 3, 0),
    "adx 14": lambda h, l, c: talib.ADX(h, l, c, 14),
    "mom 10": lambda h, l, c: talib.MOM(c, 10),
    "roc 10": lambda h, l, c: talib.ROC(c, 10),
}


def bars():
    """A walk around 30,000 in cents, a tenth of a percent a bar."""
    rng = np.random.default_rng(1)
    close = np.round(30_000 * np.exp(np.cumsum(rng.uniform(-1e-3, 1e-3, BARS))), 2)
    start = np.concatenate([close[:1], close[:-1]])
    high = np.round(np.maximum(start, close) * (1 + 5e-4 * rng.random(BARS)), 2)
    low = np.round(np.minimum(start, close) * (1 - 5e-4 * rng.random(BARS)), 2)
    return high, low, close


def talib_ns(call, market):
    call(*market)
    times = []
    for _ in range(RUNS):
        started = time.perf_counter_ns()
        call(*market)
        times.append(time.perf_counter_ns() - started)
    return statistics.median(times) / BARS


def main():
    market = bars()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.f64"
        path.write_bytes(b"".join(series.astype("<f8").tobytes() for series in market))
        done = subprocess.run([sys.argv[1], str(path), *ROWS], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    ours = {}
    for line in done.stdout.splitlines():
        request, fresh, reused = line.rsplit(",", 2)
        ours[request] = (float(fresh), float(reused))
    print(f"TA-Lib {talib.__ta_version__.decode()}, wheel {talib.__version__}; {BARS:,} bars, ns per bar")
    print(f"{'':20} {'reused':>8} {'fresh':>8} {'TA-Lib':>8} {'ratio':>7}")
    totals = [0.0, 0.0, 0.0]
    for request, call in ROWS.items():
        row = [ours[request][1], ours[request][0], talib_ns(call, market)]
        totals = [total + value for total, value in zip(totals, row)]
        print_row(request, row)
    print_row("all ten", totals)


def print_row(name, row):
    reused, fresh, other = row
    print(f"{name:20} {reused:8.2f} {fresh:8.2f} {other:8.2f} {other / reused:6.1f}x")


if __name__ == "__main__":
    main()
