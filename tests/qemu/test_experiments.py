# SPDX-License-Identifier: BSD-2-Clause
"""Experiments from the command line: properties changed, sweeps side by side, and the same samples again from the same run."""

import csv
import io
import os
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


def test_an_interruption_ends_every_machine():
    """Ctrl-C reaches the launcher alone: it must not leave a QEMU behind, nor start another."""
    words = [ROOT / "tools/sluice", "sweep", "lifecycle", "--over", "vms/beta/memory-mib=64,72,80,96", "--jobs", "2"]  # half a minute each
    sweep = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    until = time.monotonic() + 30
    while len(children(sweep.pid)) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    machines = children(sweep.pid)
    assert machines
    sweep.send_signal(signal.SIGINT)
    said, _ = sweep.communicate(timeout=30)
    assert sweep.returncode == 130 and "interrupted: " in said and "of 4 runs were over" in said
    assert not [pid for pid in machines if os.path.exists(f"/proc/{pid}")]
    assert not list((build_dir() / "experiments/lifecycle.sweep").glob("run-*/ram"))


def test_what_cannot_be_set():
    for words, said in ((["--set", "vms/alfa/memory-mib=64"], "did you mean `alpha`?"), (["--set", "vms/alpha/memory-mib=lots"], "a number is wanted"),
                        (["--set", "hypervisor/policie=wss"], "no property `policie`")):
        done = sluice("experiment", "two-guests", *words)
        assert done.returncode == 1 and said in done.stderr
    for words, said in (([], "what is to be varied?"), (["--over", "vms/alpha/memory-mib=64,"], "VALUE,VALUE"), (["--over", "vms/alpha/memory-mib=64,big"], "a number is wanted"),
                        (["--over", "vms/alpha/memory-mib=64", "--jobs", "0"], "at least one")):
        done = sluice("sweep", "two-guests", *words)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
