#!/usr/bin/env python3
"""Measures a bot of many symbols against `exchange-sim`: from the close of a bar to the order on the wire, the cache, and memory over time.

    tests/live/latency.py POLYBOLOS [--symbols 200] [--bars 1000] [--speed 60] [--folder DIR]

All symbols close at the same moment, so one batch of 200 closes is decided on, journaled with one sync and sent. `--speed` is how many times
as fast as real the minute bars are played; `max` waits for the bot. Nothing but Python's own library is needed.
"""

import argparse
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.request

STRATEGY = """name: busy
long:
  enter: close > sma(close, 5)
  exit: close < sma(close, 5)
stop_loss: 0.02
take_profit: 0.04
backtest: {cash: 1000, fee: 0.001}
"""

BOT = """name: busy
mode: testnet
strategy: {{file: busy.yaml, interval: 1m}}
symbols: [{symbols}]
capital: {{quote_asset: USDT, per_symbol: 1000}}
entry: {{collar_bps: 100}}
control: {{listen: "127.0.0.1:{control}"}}
exchange: {{venue: custom, rest_url: "http://{address}", stream_url: "ws://{address}", ws_api_url: "ws://{address}/ws-api/v3", lockstep: {lockstep}}}
risk: {{max_daily_loss: null, max_drawdown: null, price_collar_bps: null, max_open_positions: null, max_quote_age_ms: null, max_orders_per_minute: null, max_orders_per_day: null}}
"""


FAULTS = """faults:
  - on: ["*"]
    every: 1
    do: [{{answer_delay_ms: {ms}}}, {{delay_events_ms: {ms}}}]
"""

# From the moment a close was read from its socket to the moment the signed request was written to another.
WIRE = "polybolos_bot_decision_to_wire_seconds"


def resident_mb(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024


def metrics(control):
    with urllib.request.urlopen(f"http://127.0.0.1:{control}/metrics", timeout=5) as answer:
        return answer.read().decode()


def quantile(text, name, share):
    """The upper bound of the bucket in which the quantile lies, seconds."""
    buckets = re.findall(name + r'_bucket\{le="([^"]+)"\} (\d+)', text)
    if not buckets or int(buckets[-1][1]) == 0:
        return None
    total = int(buckets[-1][1])
    return next(float(bound) for bound, count in buckets if int(count) >= share * total)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("polybolos")
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--bars", type=int, default=1000)
    parser.add_argument("--speed", default="60")
    parser.add_argument("--control", type=int, default=19390)
    parser.add_argument("--round-trip", type=int, default=0, metavar="MS", help="how much later the exchange answers and tells of fills")
    parser.add_argument("--pin", action="store_true", help="the exchange on core 1 and the bot on core 0: an exchange is another machine")
    parser.add_argument("--folder", help="where the journal lies: its disk is part of what is measured")
    args = parser.parse_args()
    program = os.path.abspath(args.polybolos)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        run(args, program, folder)


def run(args, program, folder):
    def polybolos(*words):
        subprocess.run([program, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)

    polybolos("data", "synth", "--symbols", str(args.symbols), "--bars", str(args.bars), "--interval", "1m", "--quiet")
    names = sorted(name.split("=")[1] for name in os.listdir(os.path.join(folder, "data", "bars", "interval=1m")))
    with open(os.path.join(folder, "faults.yaml"), "w", encoding="utf-8") as file:
        file.write(FAULTS.format(ms=args.round_trip) if args.round_trip else "faults: []\n")

    def pinned(core):
        return (lambda: os.sched_setaffinity(0, {core})) if args.pin else None

    log = open(os.path.join(folder, "sim.log"), "w+", encoding="utf-8")
    sim = subprocess.Popen(
        [program, "exchange-sim", "--symbols", "all", "--interval", "1m", "--listen", "127.0.0.1:0", "--speed", args.speed, "--history", "50",
         "--faults", "faults.yaml", "--weight-per-minute", "100000000", "--orders-per-10-seconds", "1000000", "--balance", f"USDT={args.symbols * 2000}"],
        cwd=folder, stderr=log, stdout=subprocess.DEVNULL, preexec_fn=pinned(1))
    bot = None
    try:
        address = None
        while address is None:
            time.sleep(0.1)
            log.seek(0)
            found = re.search(r"exchange simulator on http://(\S+) ", log.read())
            address = found and found.group(1)
        with open(os.path.join(folder, "busy.yaml"), "w", encoding="utf-8") as file:
            file.write(STRATEGY)
        with open(os.path.join(folder, "bot.yaml"), "w", encoding="utf-8") as file:
            lockstep = "true" if args.speed == "max" else "false"
            file.write(BOT.format(symbols=", ".join(names), control=args.control, address=address, lockstep=lockstep))
        environment = dict(os.environ, POLYBOLOS_API_KEY="sim-key", POLYBOLOS_API_SECRET="sim-secret", POLYBOLOS_CONTROL_TOKEN="0123456789abcdef0123")
        bot = subprocess.Popen([program, "trade", "bot.yaml", "--quiet"], cwd=folder, env=environment, stdout=subprocess.DEVNULL,
                               preexec_fn=pinned(0))
        watch(args, sim, bot, log)
    finally:
        for process in filter(None, [bot, sim]):
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def watch(args, sim, bot, log):
    started = time.monotonic()
    print(f"{'seconds':>8} {'orders':>8} {'p50 ms':>8} {'p99 ms':>8} {'bot MB':>8} {'sim MB':>8}")
    text = ""
    while bot.poll() is None and sim.poll() is None:
        time.sleep(2)
        try:
            text = metrics(args.control)
        except OSError:
            continue
        p50, p99 = (quantile(text, WIRE, share) for share in (0.5, 0.99))
        count = re.search(WIRE + r"_count (\d+)", text)
        shown = [f"{value * 1e3:8.3f}" if value else f"{'-':>8}" for value in (p50, p99)]
        print(f"{time.monotonic() - started:8.1f} {count.group(1) if count else '-':>8} {shown[0]} {shown[1]} "
              f"{resident_mb(bot.pid):8.1f} {resident_mb(sim.pid):8.1f}", flush=True)
        log.seek(0)
        if "the last bar is over" in log.read():
            break
    for line in text.splitlines():
        if re.search(r"decision_to_wire_seconds_(bucket|sum|count)|journal_seconds_(sum|count)|cache", line) and not line.startswith("#"):
            print(line)


if __name__ == "__main__":
    main()
