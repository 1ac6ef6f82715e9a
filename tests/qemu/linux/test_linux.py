# SPDX-License-Identifier: BSD-2-Clause
"""Debian's unmodified Linux as a guest (`make test-linux`): what the standard's own drivers and kernel make of this machine."""

import re

import pytest


def test_memory_goes_from_one_linux_to_another(boot):
    console = boot("linux", trace=False).console
    assert not re.search(r"Call trace|BUG:|WARNING:|rcu_.*stall", console)


@pytest.mark.parametrize("cpu", ["cortex-a72", "max"])
def test_on_a_free_running_machine(boot, cpu):
    console = boot("linux", trace=False, icount=False, cpu=cpu).console
    assert not re.search(r"Call trace|BUG:|WARNING:", console)


def test_the_rules_of_translation_hold(boot):
    boot("linux")
