# SPDX-License-Identifier: BSD-2-Clause
"""Experiments and sweeps: scenarios run headless to their verdict, what they leave behind, and the report of it all.

A run that fails, for whatever reason, never takes another's results with it: what it was is told in runs.csv and in the report, and by the exit status.
An interruption ends every QEMU that was started here, and starts no other; what was over by then is kept. Nobody writes to a folder in which another still works."""

import concurrent.futures
import contextlib
import csv
import fcntl
import re
import shutil
import subprocess
import sys
import threading
import time

import machine
import overrides
import samples
import trace_live
import trace_records
from machine import FAIL, PASS, ROOT, STATUS_WORDS, Machine, MachineError, Outcome, build_dir, drop_ram, extract_trace, last_lines, run_headless, scenario_blob


def machine_for(args, blob=None, **rest):
    return Machine.for_scenario(blob or scenario_blob(args.scenario), args.cpus, args.mem, args.cpu, args.timeout, args.nodes, **rest)


def describe(one):
    return f"{one.cpus} CPU{'s' if one.cpus > 1 else ''} ({one.cpu}), {one.memory} MiB" + (f" in {len(one.nodes)} nodes" if one.nodes else "")


@contextlib.contextmanager
def folder_of_results(name):
    """build/experiments/NAME, empty, and nobody else's while this lasts."""
    where = build_dir() / "experiments" / name
    where.parent.mkdir(parents=True, exist_ok=True)
    with open(where.parent / f".{name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise MachineError(f"another run is at work in {where.relative_to(ROOT)}: wait for it, or say BUILD=another-folder") from None
        yield empty_folder(where)


@contextlib.contextmanager
def progress(console):
    """On a terminal: how long it has been going, and what was said last."""
    over, started = threading.Event(), time.monotonic()

    def show():
        while not over.wait(0.5):
            said = console.read_text(errors="replace").split("\n")[-2:-1] if console.exists() else []
            print(f"\r\x1b[K  {time.monotonic() - started:.0f} s  {''.join(said).strip()[:100]}", end="", flush=True)
        print("\r\x1b[K", end="", flush=True)

    shower = threading.Thread(target=show, daemon=True) if sys.stdout.isatty() else None
    if shower:
        shower.start()
    try:
        yield
    finally:
        over.set()
        if shower:
            shower.join()


def empty_folder(where):
    where.mkdir(parents=True, exist_ok=True)
    for old in where.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    return where


def changed_blob(args, where, changes):
    """The scenario, or a copy of it with properties changed."""
    blob = scenario_blob(args.scenario)
    if not changes:
        return blob
    copy = where / "scenario.dtb"
    copy.write_bytes(blob.read_bytes())
    for change in changes:
        overrides.apply(copy, change)
    return copy


def run_to_verdict(args, where, blob):
    ram = where / "ram"
    one = machine_for(args, blob, icount=not args.real_time, ram_file=ram)
    beside = trace_live.Beside(ram, one.cpu == "max") if args.check_trace else None
    outcome = run_headless(one, where / "console.log", beside)
    leave_results(where, ram, outcome, args.keep_ram)
    return checked(outcome, where, *beside.finding()) if beside else outcome


def checked(outcome, where, in_order, finding):
    """The outcome, and what the checker found beside it."""
    (where / "trace-check.txt").write_text(finding + "\n")
    if in_order or outcome.status != PASS:
        return outcome
    return Outcome(FAIL, f"the trace is not in order: {finding.splitlines()[0]}", outcome.console, outcome.seconds)


# ---- What a run leaves ----

def leave_results(where, ram, outcome, keep_ram):
    """ledger.txt, trace.bin and, decoded, trace.txt beside console.log; memory.svg if the scenario printed maps of memory."""
    (where / "ledger.txt").write_text(ledger_of(outcome.console))
    if extract_trace(ram, where / "trace.bin"):
        with open(where / "trace.txt", "w") as text:
            subprocess.run([ROOT / "tools/trace", where / "trace.bin"], stdout=text, stderr=subprocess.STDOUT)
    if re.search(r"^memmap ", outcome.console, re.MULTILINE) and can_draw():
        subprocess.run([ROOT / "tools/draw-memory", where / "console.log", where / "memory.svg"])
    if not keep_ram:
        drop_ram(ram)


def can_draw():
    """What draws is only installed when there is something to draw."""
    return subprocess.run([ROOT / "tools/setup", "plot"]).returncode == 0


def ledger_of(console):
    """All lines of ledgers that the console shows, in order."""
    return "".join(line + "\n" for line in console.splitlines() if re.match(r"^(sluice: )?ledger\b", line))


def samples_of(where, run, parameters):
    """Rows of the run's samples; none if the scenario does not sample."""
    if not (where / "trace.bin").exists():
        return []
    found = trace_records.load(where / "trace.bin")
    return samples.rows_of(found, run, parameters) if found.group_on("sample") else []


def write_runs(where, runs):
    """runs.csv: [(run, parameters, outcome)]"""
    with open(where / "runs.csv", "w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["run", "parameters", "outcome", "reason"])
        writer.writerows([run, parameters, STATUS_WORDS[outcome.status], outcome.reason] for run, parameters, outcome in runs)


def report(where, rows, title, folders):
    """samples.csv and report.html; `folders` is where each run's console is."""
    (where / "samples.csv").write_text(samples.to_csv(rows))
    if not can_draw():
        return
    consoles = [word for run, folder in folders.items() if (folder / "console.log").exists() for word in ("--console", f"{run}={folder / 'console.log'}")]
    done = subprocess.run([ROOT / "tools/experiment-report", where / "samples.csv", where / "report.html", "--title", title, "--runs", where / "runs.csv", *consoles])
    if done.returncode != 0:
        raise MachineError("the report could not be made")


def what_to_see(where):
    return (where / "report.html" if (where / "report.html").exists() else where).relative_to(ROOT)


# ---- One run ----

def experiment(args):
    scenario_blob(args.scenario)
    with folder_of_results(args.scenario) as where:
        return one_experiment(args, where)


def one_experiment(args, where):
    blob = changed_blob(args, where, args.set)
    one = machine_for(args, blob)
    print(f"{args.scenario}: {describe(one)}, at most {one.timeout:g} s", flush=True)
    try:
        with progress(where / "console.log"):
            outcome = run_to_verdict(args, where, blob)
    except KeyboardInterrupt:
        print(f"{args.scenario}: interrupted; what it said until then is in {(where / 'console.log').relative_to(ROOT)}")
        raise
    given = " ".join(args.set)
    write_runs(where, [("1", given, outcome)])
    no_report = report_of_one(where, f"{args.scenario}{': ' + given if given else ''}", given)
    if outcome.status != PASS:
        print("the console ended with:\n" + last_lines(outcome.console))
    print(f"{args.scenario}: {outcome}, {outcome.seconds:.1f} s; see {what_to_see(where)}")
    if no_report:
        print(f"{args.scenario}: no report: {no_report}", file=sys.stderr)
    return outcome.status or (FAIL if no_report else PASS)


def report_of_one(where, title, given):
    """The report, if the scenario samples. Gives what kept it from being made, or None."""
    try:
        rows = samples_of(where, "1", given)
        if rows:
            report(where, rows, title, {"1": where})
    except (MachineError, samples.SampleError, trace_records.TraceError) as error:
        return str(error)
    return None


# ---- Many ----

class Sweep:
    """Runs side by side, each in a folder of its own, and what became of them."""

    def __init__(self, args, top):
        self.args, self.runs, self.top = args, overrides.combinations(args.over), top
        self.blobs = [self.prepare(n, changes) for n, changes in enumerate(self.runs, 1)]  # all are checked before the first is run
        self.outcomes, self.rows, self.begun = {}, {}, set()

    def folder(self, n):
        return self.top / f"run-{n}"

    def given(self, n):
        return " ".join(self.runs[n - 1])

    def prepare(self, n, changes):
        self.folder(n).mkdir()
        return changed_blob(self.args, self.folder(n), self.args.set + changes)

    def one(self, n):
        """In a thread of its own. What goes wrong here is this run's outcome, and nobody else's."""
        self.begun.add(n)
        started = time.monotonic()
        try:
            outcome = run_to_verdict(self.args, self.folder(n), self.blobs[n - 1])
        except (MachineError, trace_records.TraceError, OSError) as error:
            outcome = Outcome(FAIL, str(error), "", time.monotonic() - started)
        try:
            self.rows[n] = samples_of(self.folder(n), str(n), self.given(n))
        except (samples.SampleError, trace_records.TraceError, OSError) as error:
            outcome = Outcome(outcome.status or FAIL, f"{outcome.reason}{'; ' if outcome.reason else ''}no report: {error}", outcome.console, outcome.seconds)
        if not machine.stopping.is_set():  # what was cut short has no outcome
            self.outcomes[n] = outcome
        return n

    def tell(self, n):
        outcome = self.outcomes[n]
        say_over(f"[{len(self.outcomes)}/{len(self.runs)}] run {n}: {self.given(n)}: {outcome}, {outcome.seconds:.1f} s")

    def go(self):
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            waiting, started = {pool.submit(self.one, n) for n in range(1, len(self.runs) + 1)}, time.monotonic()
            try:
                while waiting:
                    done, waiting = concurrent.futures.wait(waiting, 1, concurrent.futures.FIRST_COMPLETED)
                    for future in done:
                        self.tell(future.result())
                    self.tell_running(started)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                machine.stop_all()
                raise

    def tell_running(self, started):
        running = sorted(self.begun - set(self.outcomes))
        if running and sys.stdout.isatty():
            print(f"\r\x1b[K  running: {', '.join(map(str, running))}; {time.monotonic() - started:.0f} s", end="", flush=True)

    def keep(self):
        """The CSVs of the runs that are over. Gives all samples."""
        write_runs(self.top, [(str(n), self.given(n), self.outcomes[n]) for n in sorted(self.outcomes)])
        every = [row for n in sorted(self.rows) for row in self.rows[n]]
        if every:
            (self.top / "samples.csv").write_text(samples.to_csv(every))
        return every

    def finish(self):
        """The CSVs and the report of all runs there were."""
        every = self.keep()
        if every:
            over = ", ".join(o.partition("=")[0] for o in self.args.over)
            report(self.top, every, f"{self.args.scenario}: sweep over {over}", {str(n): self.folder(n) for n in self.rows})
        failed = [n for n in sorted(self.outcomes) if self.outcomes[n].status != PASS]
        for n in failed:
            print(f"run {n} failed: {self.given(n)}: {self.outcomes[n]}; see {self.folder(n).relative_to(ROOT)}/console.log")
        print(f"{self.args.scenario}: {len(self.outcomes) - len(failed)} of {len(self.runs)} runs passed; see {what_to_see(self.top)}")
        return max(outcome.status for outcome in self.outcomes.values())


def say_over(text):
    """A line of its own, where the progress stood."""
    print(("\r\x1b[K" if sys.stdout.isatty() else "") + text, flush=True)


def sweep(args):
    """Every combination of values, `jobs` at a time. All must pass."""
    if not args.over:
        raise MachineError("what is to be varied? OVER='NODE/PROPERTY=VALUE,VALUE,...', or --over")
    if args.jobs < 1:
        raise MachineError(f"--jobs {args.jobs}: at least one run at a time")
    scenario_blob(args.scenario)
    with folder_of_results(f"{args.scenario}.sweep") as top:
        return whole_sweep(args, Sweep(args, top))


def whole_sweep(args, whole):
    print(f"{args.scenario}: {len(whole.runs)} runs, {min(args.jobs, len(whole.runs))} at a time", flush=True)
    try:
        whole.go()
    except KeyboardInterrupt:
        whole.keep()
        say_over(f"interrupted: {len(whole.outcomes)} of {len(whole.runs)} runs were over; what they left is in {whole.top.relative_to(ROOT)}/, and runs.csv says which")
        raise
    return whole.finish()
