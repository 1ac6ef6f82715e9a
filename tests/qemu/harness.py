# SPDX-License-Identifier: BSD-2-Clause
"""Run a scenario under QEMU for a test: console to a file, verdict asserted, trace checked."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pexpect
from machine import PASS, ROOT, Machine, blob_property, build_dir, drop_ram, extract_trace, last_lines, run_headless, scenario_blob
from overrides import children, fdt
from trace_live import Beside
from trace_records import RECORD

TRACE_CHECK = ROOT / "tools/trace-check"
# What the checker needs, in rings that hold a whole run: a lost record is a failure.
TRACE_GROUPS = ("pt", "frame")
TRACE_RECORDS = 131072
# Of scenarios that do more.
TRACE_RECORDS_OF = {
    "balloon": 262144,
    "handover": 262144,
    "hostile-balloon": 262144,
    "hostile-managed": 524288,
    "linux": 524288,
    "live": 262144,
    "managed": 524288,
    "moves": 524288,
    "rebalance": 262144,
    "squeeze": 262144,
}
# How often the time that a scenario gives itself, without icount: that time is the host's then, who may have much else to do.
PATIENCE = 5
STEP_MS = 10000  # of a step that does not say: docs/scenario.md


def results_dir(name):
    """build/tests/<test name>/: the console log and, of a failed check, the trace."""
    where = build_dir() / "tests" / re.sub(r"[^\w.=-]+", "_", name)
    where.mkdir(parents=True, exist_ok=True)
    return where


def traced(blob, to, records=TRACE_RECORDS):
    """A copy of the scenario with the page-table trace on, and no samples, which a run that takes its time would fill the rings with."""
    to.write_bytes(blob.read_bytes())
    subprocess.run(["fdtput", "-p", "-c", to, "/hypervisor"], capture_output=True)  # it may be there
    subprocess.run(["fdtput", "-t", "s", to, "/hypervisor", "trace", *TRACE_GROUPS], check=True)
    subprocess.run(["fdtput", "-t", "u", to, "/hypervisor", "trace-records", str(records)], check=True)
    subprocess.run(["fdtput", "-d", to, "/hypervisor", "sample-ms"], capture_output=True)  # it may be there
    return to


def has_own_trace(blob):
    return fdt("fdtget", blob, "/hypervisor", "trace").returncode == 0


def patient(blob, to):
    """A copy of the scenario that waits PATIENCE times as long for what is to come. Steps that watch for what must not come, and so always take their whole time, keep it."""
    to.write_bytes(blob.read_bytes())
    for step in children(to, "/timeline"):
        node = f"/timeline/{step}"
        awaits = any(fdt("fdtget", to, node, what).returncode == 0 for what in ("run", "expect", "expect-verdict"))
        ms = int(blob_property(to, "within-ms", node=node) or STEP_MS)
        if awaits:
            fdt("fdtput", "-t", "u", to, node, "within-ms", ms * PATIENCE).check_returncode()
    return to


class Boot:
    """What the `boot` fixture gives a test: boot(scenario, ...) -> Outcome."""

    def __init__(self, where):
        self.where = where
        self.runs = 0

    def __call__(self, scenario=None, *, blob=None, expect=PASS, trace=True, icount=True, tag=None, follow=False, **asked):
        """Run to the end. `scenario` names a file of dts/, `blob` gives any compiled scenario; asked: cpus, memory, cpu, timeout, board.

        With `trace` the order of descriptor writes, barriers and TLB maintenance is recorded and held against the architecture's rules; with `follow` while the
        machine runs, for runs that are longer than the rings.
        expect=None leaves the judgement of the outcome to the caller."""
        self.runs += 1
        tag = tag or str(self.runs)
        blob = Path(blob) if blob else scenario and scenario_blob(scenario)
        if not icount and blob:
            blob = patient(blob, self.where / f"patient-{tag}.dtb")
            asked.setdefault("timeout", PATIENCE * float(blob_property(blob, "sluice,timeout-s") or Machine.timeout))
        records = TRACE_RECORDS_OF.get(scenario, TRACE_RECORDS) * (1 if icount else 2)  # who polls for longer makes more of them
        ours = trace and not has_own_trace(blob)
        if ours:
            blob = traced(blob, self.where / f"scenario-{tag}.dtb", records)
        if trace:
            asked["ram_file"] = self.where / f"ram-{tag}"
        machine = (Machine.for_scenario if blob else Machine)(blob=blob, icount=icount, **asked)
        if ours and not machine.nodes:  # the rings come on top: when memory is short, it is as short with the trace on
            machine.memory += machine.cpus * records * RECORD.size >> 20
        beside = Beside(machine.ram_file, machine.cpu == "max") if follow else None
        try:
            outcome = run_headless(machine, self.where / f"console-{tag}.log", beside)
            if expect is not None:
                said = last_lines(outcome.console, 40)
                assert outcome.status == expect, f"{scenario or blob or 'no scenario'}: {outcome}; the console ended with:\n{said}"
            if follow:
                in_order, finding = beside.finding()
                assert in_order, finding
            elif trace:
                self.check_trace(machine, tag)
        finally:
            if trace:
                drop_ram(machine.ram_file)
        return outcome

    def check_trace(self, machine, tag):
        trace = self.where / f"trace-{tag}.bin"
        assert extract_trace(machine.ram_file, trace), "no trace in the machine's RAM"
        has_bbm2 = machine.cpu == "max"
        done = subprocess.run([TRACE_CHECK, trace, "--require", *([] if has_bbm2 else ["--no-bbm2"])], capture_output=True, text=True)
        assert done.returncode == 0, f"trace check of {trace}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
        trace.unlink()


class Console:
    """A live console, for tests that type: the same command line as `make run`."""

    def __init__(self, scenario, where, **asked):
        asked.setdefault("ram", where / "ram")
        options = [word for key, value in asked.items() for word in (f"--{key}", str(value))]
        self.child = pexpect.spawn("/usr/bin/python3", [str(ROOT / "tools/sluice"), "run", scenario, *options], cwd=str(ROOT), timeout=60,
                                   encoding="utf-8", codec_errors="replace", env=dict(os.environ, TERM="dumb"))
        self.ram = asked["ram"]
        self.child.logfile_read = open(where / "console-live.log", "w")

    def expect(self, pattern, timeout=30):
        self.child.expect(pattern, timeout=timeout)
        return self.child.match

    def expect_exact(self, text, timeout=30):
        self.child.expect_exact(text, timeout=timeout)

    def type(self, line):
        self.child.send(line + "\r")

    def leave(self):
        """Ctrl-A x, as the first line says."""
        self.child.send("\x01x")
        self.child.expect(pexpect.EOF, timeout=20)
        self.child.close()

    def close(self):
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
            self.child.wait()  # close(force=True) would wait for a tenth of a second
        self.child.close()
        drop_ram(self.ram)
        self.child.logfile_read.close()
