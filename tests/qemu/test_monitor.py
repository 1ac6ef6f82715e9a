# SPDX-License-Identifier: BSD-2-Clause
"""A person at the console: `make run`'s command line, keys typed, answers read."""

import pytest

PROMPT = r"sluice> "


@pytest.fixture
def monitor(console):
    """two-guests, both through with their work, and the prompt there."""
    live = console("two-guests")
    live.expect("To leave: Ctrl-A, then x")
    for vm in ("alpha", "beta"):
        live.expect(f"sluice: {vm}: off")
    ask(live, "echo ready")
    live.expect("ready\r")
    return live


def ask(live, line):
    live.type(line)
    live.expect(line)  # the echo


def test_the_machine_stays_on_after_the_verdict_and_answers(monitor):
    ask(monitor, "help")
    for command in ("vms", "ledger", "walk", "focus", "shutdown"):
        monitor.expect(rf"\b{command}\b")
    ask(monitor, "vms")
    monitor.expect("alpha")
    monitor.expect("beta")
    ask(monitor, "ledger")
    monitor.expect(r"of \d+ frames")
    ask(monitor, "buddyinfo")
    monitor.expect(PROMPT)
    monitor.leave()


def test_unknown_command_is_answered(monitor):
    ask(monitor, "levitate alpha")
    monitor.expect("levitate")
    monitor.expect(PROMPT)


def test_history_by_arrow_up(monitor):
    ask(monitor, "echo first-of-all")
    monitor.expect("first-of-all\r")
    monitor.child.send("\x1b[A\r")
    monitor.expect("echo first-of-all")
    monitor.expect("first-of-all\r")


def test_a_guest_is_restarted_and_destroyed(monitor):
    ask(monitor, "restart alpha")
    monitor.expect(r"alpha\| .*memdemo: PASS", timeout=90)
    monitor.expect("sluice: alpha: off")
    ask(monitor, "destroy alpha")
    monitor.expect("alpha: destroyed")


def test_walk_shows_both_stages(monitor):
    ask(monitor, "start beta")
    ask(monitor, "pause beta")
    ask(monitor, "walk beta 0xffffffc000000000")
    monitor.expect("stage 1", timeout=20)
    monitor.expect("stage 2", timeout=20)


def test_shutdown_ends_the_machine(monitor):
    import pexpect

    monitor.type("shutdown")
    monitor.child.expect(pexpect.EOF, timeout=30)
