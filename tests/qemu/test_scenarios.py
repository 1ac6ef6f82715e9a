# SPDX-License-Identifier: BSD-2-Clause
"""Every scenario under dts/ runs to its own verdict, as it is, and with the page-table trace on and checked; some on other machines, too."""

import re
import subprocess

import pytest
from machine import ROOT, build_dir, scenario_blob, scenarios
from overrides import fdt

# The benchmark's are run by `make bench`, and judged by its own test; the long ones by `make soak`, Linux as a guest by `make test-linux`.
OWN_TEST = {"everything", "overcommit"}  # test_everything.py; with every policy: test_overcommit.py
OWN_MACHINE = [name for name in scenarios() if not name.startswith(("bench-", "bad-", "soak-", "linux")) and name not in OWN_TEST]

# Its guest takes exceptions all the time under two stage-2 views, which is some million VTTBR_EL2 writes a CPU: more than is worth
# keeping. hostile has the same guest with one view, faults-trapped has two views with less noise.
# tour switches the trace off. handover-masked measures; its calls are those of handover. managed-moves makes more records than its RAM holds; managed and managed-pong are traced.
UNTRACED = {"hostile-trapped", "handover-masked", "managed-moves", "tour"}

OTHER_MACHINES = [
    ("two-guests", {"cpu": "cortex-a72"}),
    ("two-guests", {"cpus": 2}),
    ("two-guests", {"icount": False, "cpus": 2}),
    ("faults", {"cpu": "cortex-a72"}),
    ("smp", {"cpus": 1}),
    ("smp", {"cpus": 2}),
    ("smp", {"cpus": 3}),
    ("smp", {"cpus": 1, "cpu": "cortex-a72"}),
    ("smp", {"cpu": "cortex-a72"}),
    ("lifecycle", {"cpu": "cortex-a72"}),
    ("virtio", {"cpu": "cortex-a72"}),
    ("virtio", {"icount": False, "cpus": 2}),
    ("handover", {"cpu": "cortex-a72"}),
    ("handover", {"icount": False, "cpus": 2}),
    ("hostile", {"cpu": "cortex-a72"}),
    ("wss", {"cpu": "cortex-a72"}),
    ("squeeze", {"cpu": "cortex-a72"}),
    ("hostile", {"icount": False, "cpus": 2}),
    ("hostile-ffa", {"icount": False, "cpus": 2}),
    ("managed", {"cpu": "cortex-a72", "cpus": 1}),
    ("managed", {"icount": False}),
    ("managed-moves", {"icount": False, "cpus": 2, "trace": False}),
    ("managed-squeeze", {"icount": False}),
    ("hostile-managed", {"cpus": 1}),
    ("hostile-managed", {"icount": False}),
    ("hostile-balloon", {"cpus": 1, "trace": False}),  # it judges masked time, and a record takes some
    ("balloon", {"icount": False}),
    ("oom", {"icount": False}),
    ("reporting", {"icount": False}),
    ("rebalance", {"icount": False}),
    ("balloon", {"cpu": "cortex-a72"}),
]


def label(case):
    name, asked = case
    return name + "".join(f"-{key}={value}" for key, value in asked.items())


@pytest.mark.parametrize("name", OWN_MACHINE)
def test_scenario(boot, name):
    boot(name, trace=False)


@pytest.mark.parametrize("name", [name for name in OWN_MACHINE if name not in UNTRACED])
def test_scenario_keeps_the_rules_of_translation(boot, name):
    boot(name)


@pytest.mark.parametrize("case", OTHER_MACHINES, ids=label)
def test_scenario_on(boot, case):
    name, asked = case
    boot(name, **asked)


def test_nobody_starves_on_a_free_running_machine(boot, tmp_path):
    """Without icount a vCPU's time is what the host gave QEMU's thread, so `smp` cannot ask for equal shares to a tenth: only that each has a fair part. Nor does it know how long
    the host will take to look: they spin until the machine goes off."""
    blob = tmp_path / "smp.dtb"
    blob.write_bytes(scenario_blob("smp").read_bytes())
    for node, name, *words in (*((f"/vms/{vm}", "bootargs", "run=spin:3600000:a+spin:3600000:b") for vm in ("alpha", "beta", "gamma")),
                               ("/timeline/measure", "run", "shares begin", "wait 600", "vcpus", "shares check 60")):
        fdt("fdtput", "-t", "s", blob, node, name, *words).check_returncode()
    fdt("fdtput", "-r", blob, "/timeline/finish").check_returncode()
    boot("smp", blob=blob, icount=False)


def test_the_example_of_the_docs(boot, tmp_path):
    text = (ROOT / "docs/experiments.md").read_text()
    (tmp_path / "mine.dts").write_text(re.search(r"```\n(/\* SPDX.*?)```", text, re.DOTALL)[1])
    subprocess.run(["dtc", "-q", "-O", "dtb", "-i", build_dir(), "-i", ROOT / "dts", "-o", tmp_path / "mine.dtb", tmp_path / "mine.dts"], check=True)
    boot("mine", blob=tmp_path / "mine.dtb", trace=False)


def test_a_run_repeats_exactly(boot):
    """Under icount the console is the same to the last byte."""
    first, second = (boot("two-guests", tag=tag, trace=False).console for tag in ("first", "second"))
    assert first == second
