# SPDX-License-Identifier: BSD-2-Clause
"""Three guests on half the memory they were promised, with every policy: what is late, what it costs, and that no checksum is ever wrong."""

import fcntl
import subprocess

import pytest
import samples
import workset
from machine import ROOT, build_dir

POLICIES = ["none", "proportional", "wss"]


@pytest.fixture(scope="module")
def sweep():
    """Verdicts by policy, of one sweep; one after the other, where tests run side by side."""
    with open(build_dir() / "tests/overcommit.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return judged_sweep()


def judged_sweep():
    words = [ROOT / "tools/sluice", "sweep", "overcommit", "--over", f"hypervisor/policy={','.join(POLICIES)}", "--jobs", "2"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    where = build_dir() / "experiments/overcommit.sweep"
    rows = samples.from_csv((where / "samples.csv").read_text())
    found = {}
    for n, policy in enumerate(POLICIES, 1):
        own = [row for row in rows if row["run"] == str(n)]
        assert {row["parameters"] for row in own} == {f"hypervisor/policy={policy}"}
        found[policy] = workset.judge((where / f"run-{n}/console.log").read_text(), own)
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_targets(sweep, policy):
    assert sweep[policy].problems() == []


@pytest.mark.parametrize("policy", POLICIES)
def test_there_was_something_to_judge(sweep, policy):
    """More is promised than there is; all that was to rise has risen, and each time it could have been had."""
    verdict = sweep[policy]
    assert len(verdict.costs) == 3 and len(verdict.rises) == 6
    assert all(rise.fits and rise.mib == 192 for rise in verdict.rises)
    assert 3 * 192 > verdict.memory_mib > 2 * 192 + 24
    for cost in verdict.costs.values():
        assert cost.workset.checked_mib >= 2 * 192 and cost.idle > 0
        assert cost.used() > cost.workset.mib_s()  # what is resident at least
