# SPDX-License-Identifier: BSD-2-Clause
"""Experiments from the command line: properties changed, sweeps side by side, and the same samples again from the same run."""

import csv
import io
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from machine import ROOT, build_dir

SAMPLED = ["--set", "hypervisor/sample-ms=2", "--set", "hypervisor/trace-records=32768", "--set", "vms/beta/memory-mib=64"]
OVER = ["--over", "vms/alpha/memory-mib=64,96"]


def sluice(*words):
    return subprocess.run([ROOT / "tools/sluice", *words], capture_output=True, text=True, cwd=ROOT)


def test_a_sweep_repeats_to_the_byte():
    where, texts, pages = build_dir() / "experiments/two-guests.sweep", [], []
    for jobs in ("1", "2"):
        done = sluice("sweep", "two-guests", *SAMPLED, *OVER, "--jobs", jobs)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[2/2] run" in done.stdout
        texts.append((where / "samples.csv").read_text())
        pages.append((where / "report.html").read_bytes())
    assert texts[0] == texts[1] and pages[0] == pages[1]
    rows = [row for row in csv.DictReader(io.StringIO(texts[0])) if row["scope"] == "vm" and row["name"] == "alpha"]
    assert {(row["parameters"], row["assigned_kib"]) for row in rows} == {("vms/alpha/memory-mib=64", "65536"), ("vms/alpha/memory-mib=96", "98304")}
    assert max(int(row["resident_kib"]) for row in rows) > 0
    assert b"<svg" in pages[0]


def test_an_experiment_repeats_to_the_byte():
    """squeeze: five VMs, vCPUs that wait, pages moved, pictures of memory."""
    where = build_dir() / "experiments/squeeze"
    left = []
    for _ in range(2):
        done = sluice("experiment", "squeeze")
        assert done.returncode == 0, done.stdout + done.stderr
        left.append([(where / name).read_bytes() for name in ("samples.csv", "report.html", "memory.svg", "trace.txt", "console.log", "runs.csv")])
    assert left[0] == left[1]
    assert b"Physical memory by owner" in left[0][1] and b"nothing-left" in left[0][1] and b">gamma</li>" in left[0][1]


def test_a_run_that_fails_leaves_the_others():
    where = build_dir() / "experiments/faults.sweep"
    done = sluice("sweep", "faults", "--set", "hypervisor/sample-ms=2", "--set", "hypervisor/trace-records=131072", "--over", "vms/alpha/memory-mib=64,3,72")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "[3/3] run" in done.stdout and "run 2 failed: vms/alpha/memory-mib=3: FAIL (could not start)" in done.stdout and "2 of 3 runs passed" in done.stdout
    assert [row["outcome"] for row in csv.DictReader((where / "runs.csv").open())] == ["PASS", "FAIL", "PASS"]
    assert {row["run"] for row in csv.DictReader((where / "samples.csv").open())} >= {"1", "3"}
    assert "1 of 3 runs did not pass" in (where / "report.html").read_text()


def children(pid):
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if stat_parent(path) == pid]


def stat_parent(path):
    try:
        return int(path.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def heeds_interrupts():
    """In the child: a shell without job control has what it starts in the background ignore Ctrl-C, and so all that comes of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*words):
    return subprocess.Popen([ROOT / "tools/sluice", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                            preexec_fn=heeds_interrupts)


def is_machine(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("qemu")
    except OSError:
        return False


def machines_of(pid, count):
    """Those that the launcher has started, once there are so many."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = [child for child in children(pid) if is_machine(child)]
        if len(found) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError("no machine has come up")


def test_an_interruption_ends_every_machine():
    """Ctrl-C reaches the launcher alone: it must not leave a QEMU behind, nor start another."""
    sweep, where = start("sweep", "lifecycle", "--over", "vms/beta/memory-mib=3,72,80,96", "--jobs", "2"), build_dir() / "experiments/lifecycle.sweep"  # half a minute each
    begin = sweep.stdout.readline() + sweep.stdout.readline()  # run 1 cannot start, and is over
    machines = machines_of(sweep.pid, 2)
    second = sluice("sweep", "lifecycle", "--over", "vms/beta/memory-mib=72")
    assert second.returncode == 1 and second.stderr.count("\n") == 1 and "another run is at work in" in second.stderr
    sweep.send_signal(signal.SIGINT)
    said, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 130 and "run 1: vms/beta/memory-mib=3: FAIL" in begin and "interrupted: 1 of 4 runs were over" in said and "\x1b" not in begin + said
    assert not [pid for pid in machines if os.path.exists(f"/proc/{pid}")]
    assert not list(where.glob("run-*/ram"))
    assert [(row["run"], row["outcome"]) for row in csv.DictReader((where / "runs.csv").open())] == [("1", "FAIL")]


def test_an_interrupted_experiment_says_what_there_is():
    one = start("experiment", "lifecycle", "--set", "vms/beta/memory-mib=72")
    machines = machines_of(one.pid, 1)
    one.send_signal(signal.SIGINT)
    said, _ = one.communicate(timeout=60)
    assert one.returncode == 130 and "interrupted; what it said until then is in build" in said and "Traceback" not in said
    assert not os.path.exists(f"/proc/{machines[0]}") and (build_dir() / "experiments/lifecycle/console.log").exists()


def test_progress_is_for_terminals():
    """The console's last line and the time, drawn over; a pipe gets lines only (see above)."""
    words = shlex.join([str(ROOT / "tools/sluice"), "experiment", "faults", "--cpus", "1"])
    done = subprocess.run(["script", "-qec", words, "/dev/null"], capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL,
                          env={**os.environ, "SHELL": "/bin/sh"})
    assert done.returncode == 0 and "\x1b[K" in done.stdout and "faults: PASS" in done.stdout


def test_what_cannot_be_set():
    for words, said in ((["--set", "vms/alfa/memory-mib=64"], "did you mean `alpha`?"), (["--set", "vms/alpha/memory-mib=lots"], "a number is wanted"),
                        (["--set", "hypervisor/policie=wss"], "no property `policie`")):
        done = sluice("experiment", "two-guests", *words)
        assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1
    for words, said in (([], "what is to be varied?"), (["--over", "vms/alpha/memory-mib=64,"], "VALUE,VALUE"), (["--over", "vms/alpha/memory-mib=64,big"], "a number is wanted"),
                        (["--over", "vms/alpha/memory-mib=64", "--jobs", "0"], "at least one"), (["--over", "vms/alpha/memory-mib=64", "--jobs", "two"], "invalid int value: 'two'"),
                        (["--over", "vms/alpha/memory-mib=64,96,64"], "stands there twice"), (["--over", "vms/gama/memory-mib=64"], "no node `gama`"),
                        (["--over", "vms/alpha/memory-mib=64", "--over", "vms/alpha/memory-mib=96"], "varied already")):
        done = sluice("sweep", "virtio", *words)
        assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1
    done = sluice("experiment", "two-gests")
    assert done.returncode == 1 and "no scenario 'two-gests'" in done.stderr and done.stderr.count("\n") == 1
