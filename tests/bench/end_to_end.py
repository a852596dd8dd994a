#!/usr/bin/env python3
"""Times the program from outside: cold start, and a sweep from Parquet to its table.

    tests/bench/end_to_end.py cold POLYBOLOS...
    tests/bench/end_to_end.py sweep POLYBOLOS... --data DIR [--strategy FILE] [--returns bar daily] [--threads 1 2] [--apart]

Several binaries take turns run by run, so that a noisy machine is unfair to all of them alike; numbers of threads come one
after the other. With --apart, what the machine itself can do: for each number of threads as many processes of one thread, each
with its share of the symbols. Wall seconds, peak memory (resident) and processor seconds are medians; --runs says of how many.
Nothing but Python's own library is needed.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time

TINY = """name: tiny
params:
  fast: {from: 5, to: 9}
  slow: {from: 20, to: 28, step: 2}
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
"""

# W1's grid: 50 x 100 combinations.
W1 = """name: w1
params:
  fast: {from: 5, to: 54}
  slow: {from: 60, to: 258, step: 2}
long:
  enter: crosses_above(sma(close, fast), sma(close, slow))
  exit: crosses_below(sma(close, fast), sma(close, slow))
"""


def run(*commands):
    """Wall seconds, peak kilobytes, processor seconds and outputs of commands that are started together and have to succeed."""
    started = time.perf_counter()
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    peak, cpu, outputs = 0, 0.0, []
    for process, command in zip(processes, commands):
        with process:
            outputs.append(process.stdout.read())
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        peak, cpu = peak + usage.ru_maxrss, cpu + usage.ru_utime + usage.ru_stime
    return time.perf_counter() - started, peak, cpu, outputs


def alternate(cases, runs):
    """Runs every case once per round; gives the measurements of each. A case is a preparation and commands."""
    measured = {name: [] for name in cases}
    for round_ in range(runs + 1):
        for name, (prepare, *commands) in cases.items():
            prepare()
            result = run(*commands)
            # The first round fills the system's caches.
            if round_ > 0:
                measured[name].append(result)
    return measured


def median(results, index):
    return statistics.median(result[index] for result in results)


def symbols_of(args):
    """The symbols of a dataset, largest first."""
    series = os.path.join(args.data, "bars", f"interval={args.interval}")
    bytes_of = lambda path: sum(entry.stat().st_size for entry in os.scandir(path))
    entries = sorted(os.scandir(series), key=lambda entry: -bytes_of(entry.path))
    return [entry.name.removeprefix("symbol=") for entry in entries]


def cold(args, folder):
    strategy = os.path.join(folder, "tiny.yaml")
    with open(strategy, "w", encoding="utf-8") as file:
        file.write(TINY)
    data, results = os.path.join(folder, "data"), os.path.join(folder, "results")
    synth = ["data", "synth", "--symbols", "1", "--bars", "1000", "--data", data, "--quiet"]
    run([args.polybolos[0], *synth])
    sweep = ["sweep", strategy, "--symbols", "all", "--interval", "1h", "--data", data, "--results", results, "--quiet"]
    cases = {}
    for binary in args.polybolos:
        forget = lambda: shutil.rmtree(results, ignore_errors=True)
        keep = lambda: None
        cases[binary, "--version"] = (keep, [binary, "--version"])
        cases[binary, "sweep, 25 x 1,000 bars"] = (forget, [binary, *sweep])
        cases[binary, "the same sweep again"] = (keep, [binary, *sweep])
    print(f"{'binary':<28} {'command':<24} {'wall ms':>8} {'cpu ms':>8} {'peak MB':>8}")
    for (binary, name), results in alternate(cases, args.runs).items():
        wall, peak, cpu = (median(results, index) for index in range(3))
        print(f"{binary:<28} {name:<24} {wall * 1e3:>8.1f} {cpu * 1e3:>8.1f} {peak / 1e3:>8.1f}")


def sweep(args, folder):
    strategy = args.strategy or os.path.join(folder, "w1.yaml")
    if not args.strategy:
        with open(strategy, "w", encoding="utf-8") as file:
            file.write(W1)
    results = os.path.join(folder, "results")
    forget = lambda: shutil.rmtree(results, ignore_errors=True)
    symbols = symbols_of(args) if args.apart else []
    measured = {}
    # One number of threads after the other: where a run needs more memory than the one before it, the host of a virtual
    # machine may take milliseconds for every two megabytes, and two threads would pay for what one had given back.
    for returns in args.returns:
        for threads in args.threads:
            cases, apart = {}, {}
            for binary in args.polybolos:
                command = [binary, "sweep", strategy, "--interval", args.interval, "--data", args.data]
                command += ["--returns", returns, "--quiet", "--json", "--results"]
                whole = [*command, results, "--threads", str(threads), "--symbols", "all"]
                cases[returns, binary, str(threads)] = (forget, whole)
                if args.apart and 1 < threads <= len(symbols):
                    shares = [",".join(symbols[first::threads]) for first in range(threads)]
                    alone = [[*command, f"{results}/{i}", "--threads", "1", "--symbols", of] for i, of in enumerate(shares)]
                    apart[returns, binary, f"{threads} apart"] = (forget, *alone)
            measured |= alternate(cases, args.runs) | alternate(apart, args.runs)
    print(f"{'binary':<28} {'returns':<8} {'threads':>8} {'wall s':>8} {'kernel s':>9} {'cpu s':>8} {'peak MB':>8} {'speedup':>8}")
    for (returns, binary, threads), results in measured.items():
        wall, peak, cpu = (median(results, index) for index in range(3))
        kernel = statistics.median(
            sum(json.loads(output)["kernel_seconds"] for output in result[3]) for result in results
        )
        first = median(measured[returns, binary, str(args.threads[0])], 0)
        figures = f"{wall:>8.3f} {kernel:>9.3f} {cpu:>8.3f} {peak / 1e3:>8.1f} {first / wall:>8.2f}"
        print(f"{binary:<28} {returns:<8} {threads:>8} {figures}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cold", "sweep"])
    parser.add_argument("polybolos", nargs="+", help="release binaries")
    parser.add_argument("--data", help="dataset folder of the sweep")
    parser.add_argument("--interval", default="1h")
    parser.add_argument("--strategy", help="strategy document; W1's grid without one")
    parser.add_argument("--returns", nargs="+", default=["bar", "daily"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--apart", action="store_true", help="also processes of one thread beside each other")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", help="where to work, on the disk that is to be measured")
    args = parser.parse_args()
    if args.what == "sweep" and not args.data:
        parser.error("sweep needs --data")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        {"cold": cold, "sweep": sweep}[args.what](args, folder)


if __name__ == "__main__":
    main()
