# SPDX-License-Identifier: BSD-2-Clause
"""Working sets against samples, on consoles and samples made up here."""

import subprocess
import sys

import pytest
import samples
import workset
from machine import ROOT

CONSOLE = """sluice: alpha: started
alpha| workset: start at 0 us with 10 MiB and 4 MiB idle
beta| workset: start at 0 us with 10 MiB and 0 MiB idle
alpha| workset: rise 0 at 1000000 us from 10 to 100 MiB resident after 50000 us
alpha| workset: fall 0 at 2000000 us to 10 MiB by munmap, gone after 10 us
beta| workset: rise 0 at 2000000 us from 10 to 100 MiB resident after {took} us
beta| workset: fall 0 at 3000000 us to 10 MiB by madvise, gone after 10 us
alpha| workset: end at 4000000 us after 120 MiB in checksums
alpha| workset: PASS
beta| workset: end at 4000000 us after 120 MiB in checksums
beta| {verdict}
"""


def zone(time_us, mib):
    return {"scope": "zone", "name": "0", "time_us": time_us, "managed_kib": mib * 1024, "min_kib": 0}


def vm(name, second, mib):
    return {"scope": "vm", "name": name, "sample": second, "time_us": second * 1_000_000 + 1, "resident_kib": mib * 1024}


def made_up(memory=200, alpha=(20, 110, 20, 20), beta=(12, 12, 102, 12)):
    """One value a second, and one after the end, when the VMs are gone."""
    rows = [zone(0, memory)]
    for second, (a, b) in enumerate(zip(alpha + (0,), beta + (0,))):
        rows += [vm("alpha", second, a), vm("beta", second, b)]
    return rows


def console(took=60000, verdict="workset: PASS"):
    return CONSOLE.format(took=took, verdict=verdict)


def test_integrals():
    verdict = workset.judge(console(), made_up())
    alpha, beta = verdict.costs["alpha"], verdict.costs["beta"]
    assert alpha.workset.mib_s() == beta.workset.mib_s() == 10 + 100 + 10 + 10
    assert alpha.footprint == pytest.approx(20 + 110 + 20 + 20, abs=0.01) and alpha.idle == 16
    assert beta.footprint == pytest.approx(12 + 12 + 102 + 12, abs=0.01) and beta.idle == 0
    assert (alpha.own_mib, beta.own_mib) == (6, 2)
    assert verdict.ratio() == pytest.approx((170 - 16 + 138) / 260, abs=0.001)
    assert verdict.ratio_with_idle() == pytest.approx((170 + 138) / 260, abs=0.001)
    assert verdict.problems() == []


def test_only_the_time_of_the_working_set_counts():
    rows = samples.by_name(made_up(), "vm")["alpha"]
    assert samples.footprint_mib_s(workset.clip(rows, 500_000, 1_500_000)) == pytest.approx(0.5 * 20 + 0.5 * 110, abs=0.01)
    assert samples.footprint_mib_s(workset.clip(rows, 3_000_000, 9_000_000)) == pytest.approx(20, abs=0.01)


def test_a_late_rise():
    assert "beta: rise at 2000000 us to 100 MiB was resident after 200001 us" in workset.judge(console(took=200_001), made_up()).problems()
    assert workset.judge(console(took=200_000), made_up()).problems() == []


def test_a_rise_that_does_not_fit_may_be_late():
    """What falls at that moment is not counted; what the kernels need, and idle memory, is: 100 + 10 + 4 + 6 + 2 MiB."""
    assert workset.judge(console(took=900_000), made_up(memory=121)).problems() == []
    assert len(workset.judge(console(took=900_000), made_up(memory=122)).problems()) == 1


def test_a_footprint_that_is_too_large():
    problems = workset.judge(console(), made_up(alpha=(20, 110, 110, 20))).problems()
    assert problems == ["footprint is 1.469 times the working sets"]


def test_a_wrong_checksum():
    assert workset.judge(console(verdict="workset: FAIL (1)"), made_up()).problems() == ["beta: its checksums did not hold"]


def test_nothing_to_judge():
    with pytest.raises(workset.WorksetError, match="no guest ran"):
        workset.judge("sluice: alpha: started\n", made_up())
    with pytest.raises(workset.WorksetError, match="beta: its working set has not come to its end"):
        workset.judge(console().replace("beta| workset: end", "beta| workset: nd"), made_up())
    with pytest.raises(workset.WorksetError, match="no samples of beta"):
        workset.judge(console(), [row for row in made_up() if row["name"] != "beta"])


def test_the_tool(tmp_path):
    rows = [{"sample": 0} | row | {"run": "1", "parameters": "a=b"} for row in made_up()]
    (tmp_path / "samples.csv").write_text(samples.to_csv(rows))
    (tmp_path / "console.log").write_text(console(took=200_001))
    done = subprocess.run([sys.executable, ROOT / "tools/workset", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1 and "MISSED: beta: rise" in done.stdout and "1.123 times" in done.stdout
    (tmp_path / "console.log").write_text(console())
    assert subprocess.run([sys.executable, ROOT / "tools/workset", tmp_path], capture_output=True).returncode == 0
