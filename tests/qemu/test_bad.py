# SPDX-License-Identifier: BSD-2-Clause
"""What cannot run is refused at boot, in words, and the machine is switched off."""

import re
import struct

import pytest
from machine import FAIL, ROOT, build_dir

BAD = sorted(path.stem for path in (ROOT / "dts/bad").glob("*.dts"))
MACHINE = {"memory": 256, "cpus": 1, "timeout": 60}


def refused(boot, **asked):
    """The console of a run that ended at once, by itself and without a guest having started."""
    outcome = boot(expect=FAIL, trace=False, **asked)
    assert outcome.reason == "could not start"
    assert outcome.seconds < 20, "the machine was not switched off"
    assert ": started" not in outcome.console
    return outcome.console


@pytest.mark.parametrize("name", BAD)
def test_bad_scenario_is_refused_for_its_reason(boot, name):
    """The first lines of each say what is wrong with it."""
    wanted = re.search(r"/\* error: (.*) \*/", (ROOT / f"dts/bad/{name}.dts").read_text())[1]
    assert wanted in refused(boot, blob=build_dir() / f"dts/bad/{name}.dtb", **MACHINE)


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.999])
def test_truncated_scenario(boot, where, cut):
    whole = (build_dir() / "dts/two-guests.dtb").read_bytes()
    blob = where / "cut.dtb"
    blob.write_bytes(whole[: int(len(whole) * cut)])
    assert re.search(r"error: .*(truncated|cut|bytes)", refused(boot, blob=blob, **MACHINE))


NO_TREES = {
    "zeros": bytes(4096),
    "text": b"two guests, please\n" * 100,
    "header": struct.pack(">10I", 0xD00DFEED, 0xFFFFFFFF, 56, 72, 40, 17, 16, 0, 0, 0),
}


@pytest.mark.parametrize("what", NO_TREES)
def test_what_is_no_device_tree(boot, where, what):
    blob = where / f"{what}.dtb"
    blob.write_bytes(NO_TREES[what])
    assert "error: " in refused(boot, blob=blob, **MACHINE)


def test_no_scenario(boot):
    assert "no scenario: pass one as initrd" in refused(boot, **MACHINE)


def test_not_at_el2(boot):
    console = refused(boot, scenario="two-guests", board="virtualization=off,gic-version=3", timeout=30)
    assert re.search(r"EL1.*EL2|EL2.*EL1", console)


def test_gic_too_old(boot):
    console = refused(boot, scenario="two-guests", board="virtualization=on,gic-version=2", timeout=30)
    assert "GICv3" in console
