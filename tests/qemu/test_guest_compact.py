# SPDX-License-Identifier: BSD-2-Clause
"""User pages on the move inside the guest: the processes' checksums are the scenario's verdict, here it is that there was something to survive."""

import re

import pytest

REPORT = re.compile(r"(\w+)\| guest: compact: (\d+) pages moved with (\d+) mappings, (\d+) compactions, (\d+) blocks of 2 MiB free")


MACHINES = {"as-it-is": {}, "one-cpu": {"cpus": 1}, "a72": {"cpu": "cortex-a72"}, "real-time": {"icount": False}}


@pytest.mark.parametrize("machine", MACHINES)
def test_pages_moved_under_running_processes(boot, machine):
    reports = REPORT.findall(boot("guest-compact", **MACHINES[machine]).console)
    assert sorted(name for name, *_ in reports) == ["alpha", "beta"]
    for name, pages, _, compactions, _ in reports:
        assert int(pages) > 2_000 and int(compactions) > 0, name
