# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures of the tests that boot the hypervisor: boot (headless, to a verdict) and console (live)."""

import pytest
from harness import Boot, Console, results_dir


@pytest.fixture
def where(request):
    return results_dir(request.node.name)


@pytest.fixture
def boot(where):
    return Boot(where)


@pytest.fixture
def console(where):
    """console(scenario, cpus=2, cpu="max", mem="1G") -> Console; closed at the end of the test."""
    opened = []

    def start(scenario, **asked):
        opened.append(Console(scenario, where, **asked))
        return opened[-1]

    yield start
    for one in opened:
        one.close()
