# SPDX-License-Identifier: BSD-2-Clause
"""A person at the console: `make run`'s command line, keys typed, answers read."""

import pexpect
import pytest

PROMPT = r"sluice> "


@pytest.fixture
def monitor(console):
    """two-guests at its prompt, the scenario's own timeline done and both guests off: nothing else is said."""
    live = console("two-guests")
    live.expect("To leave: Ctrl-A, then x")
    live.expect("timeline: done", timeout=60)
    live.expect(PROMPT)
    return live


def ask(live, line):
    """Type a command; what follows is its answer. Each key draws the prompt anew, the last time with the whole line."""
    live.type(line)
    live.expect_exact(f"sluice> {line}\r\n")


def answer(live, line):
    """What is said between a command and the next prompt."""
    ask(live, line)
    live.expect(PROMPT)
    return live.child.before


def test_the_machine_stays_on_after_the_verdict_and_answers(monitor):
    helped = answer(monitor, "help")
    for command in ("vms", "ledger", "walk", "focus", "shutdown"):
        assert f"\n  {command} " in helped
    vms = answer(monitor, "vms")
    assert "alpha" in vms and "beta" in vms
    assert " frames" in answer(monitor, "ledger")
    monitor.leave()


def test_unknown_command_is_answered(monitor):
    assert "levitate" in answer(monitor, "levitate alpha")


def test_history_by_arrow_up(monitor):
    assert "first-of-all" in answer(monitor, "echo first-of-all")
    monitor.child.send("\x1b[A\r")
    monitor.expect_exact("sluice> echo first-of-all\r\n")
    monitor.expect(PROMPT)
    assert "first-of-all" in monitor.child.before


def test_a_guest_is_restarted_and_destroyed(monitor):
    ask(monitor, "restart alpha")
    monitor.expect(r"alpha\| memdemo: PASS", timeout=60)
    monitor.expect("sluice: alpha: off")
    ask(monitor, "destroy alpha")
    monitor.expect("alpha: destroyed")
    assert "alpha" not in answer(monitor, "vms")
    ask(monitor, "start alpha")
    monitor.expect(r"alpha\| memdemo: PASS", timeout=60)


def test_a_caught_guest_is_walked_through_both_stages(monitor):
    answer(monitor, 'catch beta "memdemo: pid"')
    ask(monitor, "restart beta")
    monitor.expect("sluice: beta: paused", timeout=60)
    monitor.expect(PROMPT)
    kernel = answer(monitor, "walk beta 0xffffffc000000000")
    assert "TTBR1_EL1" in kernel and "S1 L" in kernel and "S2 L" in kernel and "VMID" in kernel
    assert "stage-1 fault" in answer(monitor, "walk beta 0x0")
    ask(monitor, "resume beta")
    monitor.expect(r"beta\| memdemo: PASS", timeout=60)


def test_typing_to_a_guest_and_back(monitor):
    answer(monitor, 'catch alpha "memdemo: pid"')
    ask(monitor, "restart alpha")
    monitor.expect("sluice: alpha: paused", timeout=60)
    monitor.expect(PROMPT)
    ask(monitor, "focus alpha")
    monitor.expect("keys go to alpha")
    monitor.child.send("\x1d")  # Ctrl-]
    assert "alpha" in answer(monitor, "vms")


def test_what_is_typed_reaches_a_virtio_console(console):
    live = console("virtio")
    live.expect("timeline: done", timeout=60)
    live.expect(PROMPT)
    ask(live, "start carol")
    live.expect(r"carol\| guest: virtio: virtio-console", timeout=60)
    live.expect("heard: say something", timeout=60)
    ask(live, "focus carol")
    live.expect("keys go to carol")
    live.child.send("a line for you\r")
    live.expect("heard: <a line for you>")
    live.expect("verdict passed")


def test_shutdown_ends_the_machine(monitor):
    monitor.type("shutdown")
    monitor.child.expect(pexpect.EOF, timeout=30)
