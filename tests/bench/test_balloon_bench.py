# SPDX-License-Identifier: BSD-2-Clause
"""What balloon.py takes from a console, and how it judges it."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "tools/pylib")]
import balloon  # noqa: E402
from machine import MachineError  # noqa: E402
from table import load_rows  # noqa: E402


def cost(name, el2, released, pages=0, blocks=0, guest=0, exits=0):
    return (f"cost: zeroing takes 100 instructions for 4 KiB, 60000 for 2 MiB\n"
            f"cost {name}: el2 {el2} guest {guest} exits {exits} tlbis 2 populated-4k {pages} populated-2m {blocks} moved 0 released {released}\n")


CONSOLE = (cost("pages", 1000, 0) + cost("pages", 1000 + 512 * 249, 512, exits=8) + cost("pages", 1000 + 512 * 249, 512) +
           cost("pages", 1000 + 512 * 259 + 60000, 512, blocks=1, guest=77) +
           cost("blocks", 0, 0) + cost("blocks", 901, 512) + cost("blocks", 901, 512) + cost("blocks", 901, 512) +
           cost("reports", 0, 0) + cost("reports", 1200 + 700, 512, pages=7) + cost("reports", 1900, 512, pages=7))


def row(mechanism, step, console=CONSOLE):
    return next(row for row in balloon.rows_in(console) if (row["mechanism"], row["step"]) == (mechanism, step))


def test_counts_are_scaled_to_a_gib():
    reclaimed = row("pages", "reclaimed")
    assert reclaimed["bytes"] == 2 << 20
    assert reclaimed["el2_instructions_per_page"] == 249
    assert reclaimed["exits_per_gib"] == 8 * 512


def test_zeroing_is_told_apart_and_touch_includes_the_return():
    touched = row("pages", "touched")
    assert touched["zeroing_instructions_per_gib"] == 60000 * 512
    assert touched["el2_instructions_per_page"] == 10
    assert touched["guest_instructions_per_gib"] == 77 * 512
    assert row("reports", "reclaimed")["el2_instructions_per_block"] == 1200


def test_targets_are_judged():
    targets = [line for line in load_rows(HERE / "targets.csv") if line["section"] == "balloon"]
    assert [met for *_, met in balloon.judge(balloon.rows_in(CONSOLE), targets)] == ["met", "missed", "met"]


def test_a_step_that_is_missing_is_said():
    with pytest.raises(MachineError, match="reports: 2 costs"):
        balloon.rows_in(CONSOLE[:CONSOLE.rindex("cost: zeroing")])
    with pytest.raises(MachineError, match="nothing was reclaimed"):
        balloon.rows_in(cost("pages", 1, 0) * 4)
