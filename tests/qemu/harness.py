# SPDX-License-Identifier: BSD-2-Clause
"""Run a scenario under QEMU for a test: console to a file, verdict asserted, trace checked."""

import os
import re
import subprocess
from pathlib import Path

import pexpect
from machine import PASS, ROOT, Machine, build_dir, extract_trace, last_lines, run_headless, scenario_blob

TRACE_CHECK = ROOT / "tools/trace-check"


def results_dir(name):
    """build/tests/<test name>/: the console log and, of a failed check, the trace."""
    where = build_dir() / "tests" / re.sub(r"[^\w.=-]+", "_", name)
    where.mkdir(parents=True, exist_ok=True)
    return where


class Boot:
    """What the `boot` fixture gives a test: boot(scenario, ...) -> Outcome."""

    def __init__(self, where):
        self.where = where
        self.runs = 0

    def __call__(self, scenario=None, *, blob=None, expect=PASS, check_trace=True, icount=True, tag=None, **asked):
        """Run to the end. `scenario` names a file of dts/, `blob` gives any compiled scenario; asked: cpus, memory, cpu, timeout.

        expect=None leaves the judgement of the outcome to the caller."""
        self.runs += 1
        tag = tag or str(self.runs)
        blob = Path(blob) if blob else scenario and scenario_blob(scenario)
        ram = self.where / f"ram-{tag}" if check_trace else None
        make_machine = Machine.for_scenario if blob else Machine
        machine = make_machine(blob=blob, icount=icount, ram_file=ram, **asked)
        try:
            outcome = run_headless(machine, self.where / f"console-{tag}.log")
            if expect is not None:
                assert outcome.status == expect, f"{scenario or blob or 'no scenario'}: {outcome}; the console ended with:\n{last_lines(outcome.console, 40)}"
            if check_trace:
                self.check_trace(ram, tag)
        finally:
            if ram:
                ram.unlink(missing_ok=True)
        return outcome

    def check_trace(self, ram, tag):
        """Hold the order of descriptor writes, barriers and TLB maintenance against the architecture's rules."""
        trace = self.where / f"trace-{tag}.bin"
        if not TRACE_CHECK.exists() or not extract_trace(ram, trace):
            return
        done = subprocess.run([str(TRACE_CHECK), str(trace)], capture_output=True, text=True)
        assert done.returncode == 0, f"trace check of {trace}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
        trace.unlink()


class Console:
    """A live console, for tests that type: the same command line as `make run`."""

    def __init__(self, scenario, where, **asked):
        options = [word for key, value in asked.items() for word in (f"--{key}", str(value))]
        self.child = pexpect.spawn("/usr/bin/python3", [str(ROOT / "tools/sluice"), "run", scenario, *options], cwd=str(ROOT), timeout=60,
                                   encoding="utf-8", codec_errors="replace", env=dict(os.environ, TERM="dumb"))
        self.child.logfile_read = open(where / "console-live.log", "w")

    def expect(self, pattern, timeout=60):
        self.child.expect(pattern, timeout=timeout)
        return self.child.match

    def type(self, line):
        self.child.send(line + "\r")

    def leave(self):
        """Ctrl-A x, as the first line says."""
        self.child.send("\x01x")
        self.child.expect(pexpect.EOF, timeout=20)
        self.child.close()

    def close(self):
        self.child.close(force=True)
        self.child.logfile_read.close()
