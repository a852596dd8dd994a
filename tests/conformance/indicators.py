"""Every indicator against TA-Lib on long series with edge cases; run by run.sh.

    indicators.py PROGRAM      PROGRAM: the built example `indicators_csv`

Prints the worst deviation of each function and where it is; exits 1 if one is beyond its tolerance or if a value is
defined on one side only.

Where TA-Lib is not the yardstick:

* STDDEV, BBANDS. TA-Lib subtracts mean(x)^2 from mean(x^2). In a quiet window at a high price most digits cancel, and after a
  spike has left the window its rounding stays in the running sums. The widths are therefore held to an 80-bit computation
  from scratch of every window (tolerance 1e-11), and to TA-Lib only as far as its own formula reaches: its variance may
  be off by the rounding of the largest x^2 so far.
* Periods of 1 that TA-Lib refuses (MAX, MIN): the function is then x itself.
* Fused multiply-add. The wheel uses it where the processor has it; the product never does. Recursive averages therefore
  differ in the last digits; what neither fuses is required to be identical.
* Zero tests. Versions before 0.8 take |v| < 1e-8 or 1e-14 for zero and fail on prices near 1e-8; 0.8.1 does not, and no
  exception is made for it.
* Pauses of thousands of flat bars. A Wilder sum falls into the subnormal numbers there and TA-Lib's `S - S/n` sticks at the
  smallest of them, where `S * ((n-1)/n)` may reach 0; neither ratio means anything. The pauses here end earlier, and the
  directional indicators are compared on their full scale.
"""

import io
import subprocess
import sys

import numpy as np
import talib

BARS = 20_000


def bars_around(close, rng, spread):
    """Opens at the close before; highs and lows up to `spread` (a fraction) beyond open and close."""
    start = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(start, close) * (1 + spread * rng.random(len(close)))
    low = np.minimum(start, close) * (1 - spread * rng.random(len(close)))
    return start, high, low, close


def walk(rng, price, sigma, bars=BARS):
    return price * np.exp(np.cumsum(rng.normal(0, sigma, bars)))


def integer_bars(rng):
    close = 20 + np.abs(np.cumsum(rng.integers(-2, 3, BARS)))
    start = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(start, close) + rng.integers(0, 3, BARS)
    low = np.minimum(start, close) - rng.integers(0, 3, BARS)
    return tuple(np.asarray(series, dtype=float) for series in (start, high, low, close))


def paused(rng):
    """A walk that stands still for 1 to 300 bars between moves, with no range of its own."""
    moves = walk(rng, 100, 0.02)
    return np.repeat(moves, rng.integers(1, 300, BARS))[:BARS]


def markets():
    rng = np.random.default_rng(20)
    spikes = walk(rng, 30_000, 1e-6)
    spikes[rng.random(BARS) < 0.002] *= 10
    return {
        "walk": bars_around(walk(rng, 100, 0.01), rng, 0.005),
        "tiny prices": bars_around(walk(rng, 1e-8, 0.01), rng, 0.005),
        "sub-satoshi": bars_around(walk(rng, 3e-12, 0.002), rng, 0.001),
        "integers": integer_bars(rng),
        "pauses": bars_around(paused(rng), rng, 0.0),
        "quiet": bars_around(walk(rng, 60_000, 2e-7), rng, 1e-7),
        "spikes": bars_around(spikes, rng, 0.0),
        "flat": bars_around(np.full(BARS, 0.1), rng, 0.0),
        "rising": bars_around(np.arange(1.0, BARS + 1), rng, 0.0),
        "one bar": bars_around(np.array([100.0]), rng, 0.01),
        "two bars": bars_around(np.array([100.0, 101.0]), rng, 0.01),
        "thirty bars": bars_around(walk(rng, 100, 0.01, 30), rng, 0.01),
    }


# Indicator, its parameter sets, TA-Lib's values of its outputs in order.
INDICATORS = {
    "sma": ([(1,), (2,), (20,), (200,), (5000,)], lambda o, h, l, c, n: [talib.SMA(c, n)]),
    "ema": ([(1,), (2,), (20,), (200,), (5000,)], lambda o, h, l, c, n: [talib.EMA(c, n)]),
    "rsi": ([(2,), (14,), (100,), (2000,)], lambda o, h, l, c, n: [talib.RSI(c, n)]),
    "mom": ([(1,), (10,), (300,)], lambda o, h, l, c, n: [talib.MOM(c, n)]),
    "roc": ([(1,), (10,), (300,)], lambda o, h, l, c, n: [talib.ROC(c, n)]),
    "stddev": ([(2,), (20,), (200,), (1500,)], lambda o, h, l, c, n: [talib.STDDEV(c, n)]),
    "highest": ([(1,), (2,), (20,), (1000,)], lambda o, h, l, c, n: [c if n == 1 else talib.MAX(c, n)]),
    "lowest": ([(1,), (2,), (20,), (1000,)], lambda o, h, l, c, n: [c if n == 1 else talib.MIN(c, n)]),
    "macd": (
        [(12, 26, 9), (26, 12, 9), (2, 2, 1), (2, 3, 2), (50, 400, 90)],
        lambda o, h, l, c, f, s, g: talib.MACD(c, f, s, g),
    ),
    "bollinger": ([(2, 1), (20, 2), (200, 2.5), (20, -1)], lambda o, h, l, c, n, k: talib.BBANDS(c, n, k, k)),
    "atr": ([(1,), (2,), (14,), (500,)], lambda o, h, l, c, n: [talib.ATR(h, l, c, n)]),
    "stochastic": (
        [(14, 3, 3), (5, 1, 1), (1, 1, 1), (1, 5, 2), (300, 20, 50)],
        lambda o, h, l, c, k, sk, sd: talib.STOCH(h, l, c, k, sk, 0, sd, 0),
    ),
    "adx": ([(2,), (14,), (100,), (500,)], lambda o, h, l, c, n: [talib.ADX(h, l, c, n)]),
    "plus_di": ([(1,), (2,), (14,), (500,)], lambda o, h, l, c, n: [talib.PLUS_DI(h, l, c, n)]),
    "minus_di": ([(1,), (2,), (14,), (500,)], lambda o, h, l, c, n: [talib.MINUS_DI(h, l, c, n)]),
}

# Deviation allowed, relative to the larger of TA-Lib's value and a floor: None, a number (the full scale of an oscillator), or
# "price" (the largest price, for what is a difference of prices).
TOLERANCE = {
    "sma": (0, None),
    "ema": (1e-15, None),
    "rsi": (1e-13, 100),
    "mom": (0, None),
    "roc": (0, None),
    "highest": (0, None),
    "lowest": (0, None),
    "macd": (1e-14, "price"),
    "macd_signal": (1e-14, "price"),
    "macd_hist": (1e-14, "price"),
    "bb_middle": (0, None),
    "atr": (1e-12, None),
    "stoch_k": (1e-11, 100),
    "stoch_d": (1e-11, 100),
    "adx": (1e-12, None),
    "plus_di": (1e-14, 100),
    "minus_di": (1e-14, 100),
}
EXACT_WIDTH_TOLERANCE = 1e-11


def ours(program, market, name, params):
    text = io.StringIO()
    text.write("open,high,low,close\n")
    for row in zip(*(series.tolist() for series in market)):
        text.write(",".join(map(repr, row)) + "\n")
    request = " ".join([name, *map(str, params)])
    done = subprocess.run([program, request], input=text.getvalue(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{request}: {done.stderr}")
    header, *rows = done.stdout.splitlines()
    outputs = [column.split()[0] for column in header.split(",")]
    values = [[float(field) if field else np.nan for field in row.split(",")] for row in rows]
    return dict(zip(outputs, np.array(values).T))


def exact_deviation(x, n):
    """Population deviation of every window from scratch, two passes in 80-bit arithmetic."""
    result = np.full(len(x), np.nan)
    if n <= len(x):
        windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.longdouble), n)
        for begin in range(0, len(windows), 500):
            part = windows[begin : begin + 500]
            centred = part - part.mean(axis=1, keepdims=True)
            centred -= centred.mean(axis=1, keepdims=True)
            result[n - 1 + begin : n - 1 + begin + len(part)] = np.sqrt((centred**2).mean(axis=1))
    return result


class Report:
    def __init__(self):
        self.worst = {}
        self.failures = []

    def compare(self, function, place, got, expected, allowed, scale):
        """`allowed` and `scale` per bar: how far `got` may be off, and what the printed deviation is relative to."""
        if len(got) != len(expected) or not np.array_equal(np.isnan(got), np.isnan(expected)):
            self.failures.append(f"{function} {place}: defined on other bars than expected")
            return
        error = np.nan_to_num(np.abs(got - expected))
        relative = np.divide(error, scale, out=np.zeros_like(error), where=np.nan_to_num(scale) > 0)
        bar = int(np.argmax(relative))
        identical = np.array_equal(got, expected, equal_nan=True)
        before = self.worst.get(function, (-1.0, "", True))
        place_of_worst = f"{place}, bar {bar}" if relative[bar] > before[0] else before[1]
        self.worst[function] = (max(before[0], relative[bar]), place_of_worst, before[2] and identical)
        beyond = np.flatnonzero(error > np.nan_to_num(allowed))
        if len(beyond):
            t = beyond[0]
            self.failures.append(
                f"{function} {place}, {len(beyond)} bars, first {t}: {got[t]!r} for {expected[t]!r}"
            )


def check_widths(report, name, place, market, params, got, expected):
    """Deviation and bands: against 80-bit arithmetic, then against TA-Lib as far as TA-Lib's formula reaches."""
    x, n = market[3], params[0]
    width = exact_deviation(x, n)
    rounding_of_variance = 2.0**-53 * 8 * np.maximum.accumulate(x * x) * np.sqrt(np.arange(1, len(x) + 1))
    reach = np.sqrt(rounding_of_variance)
    if name == "stddev":
        exact, by_talib = {"stddev": width}, {"stddev": expected[0]}
        scale = width
    else:
        middle, k = got["bb_middle"], params[1]
        exact = {"bb_upper": middle + k * width, "bb_lower": middle - k * width}
        by_talib = {"bb_upper": expected[0], "bb_lower": expected[2]}
        reach = reach * abs(k) + 1e-15 * np.maximum.accumulate(x)
        scale = np.abs(middle)
    for function, values in exact.items():
        report.compare(function, place, got[function], values, EXACT_WIDTH_TOLERANCE * scale, scale)
        report.compare(f"{function} (TA-Lib)", place, got[function], by_talib[function], reach, scale)


def check(report, program, place, market, name, params):
    got = ours(program, market, name, params)
    expected = INDICATORS[name][1](*market, *params)
    if name in ("stddev", "bollinger"):
        check_widths(report, name, place, market, params, got, expected)
    for (function, values), reference in zip(got.items(), expected):
        if function in TOLERANCE:
            tolerance, floor = TOLERANCE[function]
            floor = {"price": float(market[1].max()), None: 0.0}.get(floor, floor)
            scale = np.maximum(np.abs(reference), floor)
            report.compare(function, place, values, reference, tolerance * scale, scale)


def main():
    program = sys.argv[1]
    report = Report()
    print(f"TA-Lib {talib.__ta_version__.decode()}, wheel {talib.__version__}")
    for label, market in markets().items():
        for name, (parameter_sets, _) in INDICATORS.items():
            for params in parameter_sets:
                place = f"{params} on {label}"
                check(report, program, place, market, name, params)
    print(f"{'function':20} {'worst':>9}  where")
    for function, (worst, place, identical) in sorted(report.worst.items()):
        print(f"{function:20} {'identical' if identical else format(worst, '.2e'):>9}  {'' if identical else place}")
    for failure in report.failures:
        print("FAILED", failure)
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
