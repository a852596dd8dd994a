#!/usr/bin/env python3
"""Times the program from outside: cold start, and a sweep from Parquet to its table.

    tests/bench/end_to_end.py cold POLYBOLOS...
    tests/bench/end_to_end.py sweep POLYBOLOS... --data DIR [--strategy FILE] [--returns bar daily] [--threads 1 2]

Several binaries take turns run by run, so that a noisy machine is unfair to all of them alike; numbers of threads come one
after the other. Wall seconds, peak memory (resident) and processor seconds are medians; --runs says of how many. Nothing but
Python's own library is needed.
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


def run(command):
    """Wall seconds, peak kilobytes, processor seconds and output of a command that has to succeed."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return wall, usage.ru_maxrss, usage.ru_utime + usage.ru_stime, output


def alternate(cases, runs):
    """Runs every case once per round; gives the measurements of each. A case is a preparation and a command."""
    measured = {name: [] for name in cases}
    for round_ in range(runs + 1):
        for name, (prepare, command) in cases.items():
            prepare()
            result = run(command)
            # The first round fills the system's caches.
            if round_ > 0:
                measured[name].append(result)
    return measured


def median(results, index):
    return statistics.median(result[index] for result in results)


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
    measured = {}
    # One number of threads after the other: where a run needs more memory than the one before it, the host of a virtual
    # machine may take milliseconds for every two megabytes, and two threads would pay for what one had given back.
    for returns in args.returns:
        for threads in args.threads:
            cases = {}
            for binary in args.polybolos:
                command = [binary, "sweep", strategy, "--symbols", "all", "--interval", args.interval, "--data", args.data]
                command += ["--results", results, "--returns", returns, "--threads", str(threads), "--quiet", "--json"]
                cases[returns, binary, threads] = (forget, command)
            measured |= alternate(cases, args.runs)
    print(f"{'binary':<28} {'returns':<8} {'threads':>7} {'wall s':>8} {'kernel s':>9} {'cpu s':>8} {'peak MB':>8} {'speedup':>8}")
    for (returns, binary, threads), results in measured.items():
        wall, peak, cpu = (median(results, index) for index in range(3))
        kernel = statistics.median(json.loads(result[3])["kernel_seconds"] for result in results)
        first = median(measured[returns, binary, args.threads[0]], 0)
        figures = f"{wall:>8.3f} {kernel:>9.3f} {cpu:>8.3f} {peak / 1e3:>8.1f} {first / wall:>8.2f}"
        print(f"{binary:<28} {returns:<8} {threads:>7} {figures}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cold", "sweep"])
    parser.add_argument("polybolos", nargs="+", help="release binaries")
    parser.add_argument("--data", help="dataset folder of the sweep")
    parser.add_argument("--interval", default="1h")
    parser.add_argument("--strategy", help="strategy document; W1's grid without one")
    parser.add_argument("--returns", nargs="+", default=["bar", "daily"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", help="where to work, on the disk that is to be measured")
    args = parser.parse_args()
    if args.what == "sweep" and not args.data:
        parser.error("sweep needs --data")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        {"cold": cold, "sweep": sweep}[args.what](args, folder)


if __name__ == "__main__":
    main()
