# SPDX-License-Identifier: BSD-2-Clause
"""Experiments from the command line: properties changed, sweeps side by side, and the same samples again from the same run."""

import csv
import io
import subprocess

from machine import ROOT, build_dir

SAMPLED = ["--set", "hypervisor/sample-ms=2", "--set", "hypervisor/trace-records=32768", "--set", "vms/beta/memory-mib=64"]
OVER = ["--over", "vms/alpha/memory-mib=64,96"]


def sluice(*words):
    return subprocess.run([ROOT / "tools/sluice", *words], capture_output=True, text=True, cwd=ROOT)


def test_a_sweep_repeats_to_the_byte():
    where, texts = build_dir() / "experiments/two-guests.sweep", []
    for jobs in ("1", "2"):
        done = sluice("sweep", "two-guests", *SAMPLED, *OVER, "--jobs", jobs)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[2/2] run" in done.stdout
        texts.append((where / "samples.csv").read_text())
    assert texts[0] == texts[1]
    rows = [row for row in csv.DictReader(io.StringIO(texts[0])) if row["scope"] == "vm" and row["name"] == "alpha"]
    assert {(row["parameters"], row["assigned_kib"]) for row in rows} == {("vms/alpha/memory-mib=64", "65536"), ("vms/alpha/memory-mib=96", "98304")}
    assert max(int(row["resident_kib"]) for row in rows) > 0
    assert "<svg" in (where / "report.html").read_text()


def test_what_cannot_be_set():
    for words, said in ((["--set", "vms/alfa/memory-mib=64"], "did you mean `alpha`?"), (["--set", "vms/alpha/memory-mib=lots"], "a number is wanted")):
        done = sluice("experiment", "two-guests", *words)
        assert done.returncode == 1 and said in done.stderr
    assert sluice("sweep", "two-guests").returncode == 1
