#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""What it costs to take memory from a guest and to give it back: by pages, by blocks of 2 MiB and by free-page reporting, in one run.

    tests/bench/balloon.py                -cpu max
    tests/bench/balloon.py --cpu cortex-a72

The scenario bench-balloon says what each VM has cost so far (the monitor's `cost`), before and after each step. Instructions are counted by the CPU's
performance monitors under QEMU's icount: exact, and the same for the same build. Leaves build/bench/balloon.csv, balloon.md and the console.
Exit status: 0, or 1 if the run failed or a figure is missing; with --strict also if a target was missed.
"""

import argparse
import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "tools/pylib"), str(HERE)]
from machine import PASS, Machine, MachineError, build_dir, run_headless, scenario_blob  # noqa: E402
from table import aligned, human, load_rows, markdown, write_csv  # noqa: E402

SCENARIO = "bench-balloon"
GIB, MIB = 1 << 30, 1 << 20
PAGE, BLOCK = 4096, 2 * MIB

COST = re.compile(r"^cost (\w+): (el2 \d+ .*)$", re.MULTILINE)
ZEROING = re.compile(r"^cost: zeroing takes (\d+) instructions for 4 KiB, (\d+) for 2 MiB$", re.MULTILINE)

MECHANISMS = {
    "pages": ("4 KiB balloon", ("reclaimed", "returned", "touched")),
    "blocks": ("huge balloon", ("reclaimed", "returned", "touched")),
    "reports": ("reporting", ("reclaimed", "touched")),
}
STEPS = {"reclaimed": "reclaimed", "returned": "returned", "touched": "returned with touch"}
COLUMNS = ("mechanism", "step", "bytes", "el2_instructions_per_gib", "guest_instructions_per_gib", "zeroing_instructions_per_gib", "exits_per_gib",
           "tlbis_per_gib", "zeroed_bytes_per_gib", "copied_bytes_per_gib", "el2_instructions_per_page", "el2_instructions_per_block")
STATEMENT = ("Per GiB. Hypervisor: instructions at EL2 on the VM's behalf, exits included, zeroing not; guest: the VM's own, its program's touches included.\n"
             "Counted by the performance monitors under -icount shift=0: path lengths, not cycles. DC ZVA counts as one instruction.")


def snapshots(console):
    """{VM: [counters after each step, the first before any]}"""
    found = {}
    for name, counters in COST.findall(console):
        words = counters.split()
        found.setdefault(name, []).append(dict(zip(words[::2], map(int, words[1::2]))))
    return found


def zeroing_costs(console):
    match = ZEROING.search(console)
    if not match:
        raise MachineError("the console does not say what zeroing takes")
    return int(match[1]), int(match[2])


def line_of(mechanism, step, spent, size, zeroing):
    """One row, `spent` being what the counters went up by while `size` bytes went or came."""
    zeroed = spent["populated-4k"] * zeroing[0] + spent["populated-2m"] * zeroing[1]
    el2 = spent["el2"] - zeroed
    per_gib = {"el2_instructions": el2, "guest_instructions": spent["guest"], "zeroing_instructions": zeroed, "exits": spent["exits"],
               "tlbis": spent["tlbis"], "zeroed_bytes": spent["populated-4k"] * PAGE + spent["populated-2m"] * BLOCK,
               "copied_bytes": spent["moved"] * PAGE}
    return {"mechanism": mechanism, "step": step, "bytes": size, **{f"{key}_per_gib": value * GIB / size for key, value in per_gib.items()},
            "el2_instructions_per_page": el2 * PAGE / size, "el2_instructions_per_block": el2 * BLOCK / size}


def rows_in(console):
    """A row for each mechanism and step. What is returned with touch includes what returning it took."""
    rows, zeroing, found = [], zeroing_costs(console), snapshots(console)
    for vm, (_, steps) in MECHANISMS.items():
        counters = found.get(vm, [])
        if len(counters) != len(steps) + 1:
            raise MachineError(f"{vm}: {len(counters)} costs on the console, not {len(steps) + 1}")
        size = (counters[1]["released"] - counters[0]["released"]) * PAGE
        if size == 0:
            raise MachineError(f"{vm}: nothing was reclaimed")
        for i, step in enumerate(steps):
            before = counters[min(i, 1)]
            rows.append(line_of(vm, step, {key: value - before[key] for key, value in counters[i + 1].items()}, size, zeroing))
    return rows


def judge(rows, targets):
    """(operation, target, figure, "met" or "missed") for each row of targets.csv that is about balloons."""
    lines = []
    for target in targets:
        mechanism, step, unit = target["key"].split("-")
        row = next(row for row in rows if (row["mechanism"], row["step"]) == (mechanism, step))
        figure = row[f"el2_instructions_per_{unit}"]
        lines.append((target["operation"], float(target["target"]), figure, "met" if figure <= float(target["target"]) else "missed"))
    return lines


def cells_of(rows):
    head = ["", "hypervisor", "guest", "zeroing", "exits", "TLBIs", "MiB zeroed", "MiB copied"]
    body = []
    for row in rows:
        numbers = [row[f"{key}_per_gib"] for key in ("el2_instructions", "guest_instructions", "zeroing_instructions", "exits", "tlbis")]
        numbers += [row["zeroed_bytes_per_gib"] / MIB, row["copied_bytes_per_gib"] / MIB]
        body.append([f"{MECHANISMS[row['mechanism']][0]}, {STEPS[row['step']]}"] + [human(round(number)) for number in numbers])
    return [head] + body


def measure(cpu):
    console = build_dir() / "bench" / "logs" / f"balloon-{cpu}.log"
    outcome = run_headless(Machine.for_scenario(scenario_blob(SCENARIO), cpu=cpu, icount=True), console)
    if outcome.status != PASS:
        raise MachineError(f"{SCENARIO} on {cpu}: {outcome}")
    return rows_in(outcome.console)


def report(rows, verdicts):
    """Print the tables, and leave them as Markdown and CSV."""
    cells = cells_of(rows)
    targets = [["hypervisor instructions", "target", "ours", ""]] + [[name, f"at most {human(bound)}", human(round(figure, 1)), met]
                                                                     for name, bound, figure, met in verdicts]
    print("\n".join([STATEMENT, ""] + aligned(cells, {0}) + [""] + aligned(targets, {0})))
    folder = build_dir() / "bench"
    write_csv(folder / "balloon.csv", COLUMNS, rows)
    (folder / "balloon.md").write_text("\n".join([STATEMENT] + markdown("Memory taken and given back", cells) + markdown("Targets", targets)) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cpu", choices=("max", "cortex-a72"), default="max")
    parser.add_argument("--strict", action="store_true", help="fail if a target is missed")
    args = parser.parse_args()
    try:
        rows = measure(args.cpu)
    except (MachineError, OSError) as e:
        sys.exit(f"bench-balloon: {e}")
    verdicts = judge(rows, [row for row in load_rows(HERE / "targets.csv") if row["section"] == "balloon"])
    report(rows, verdicts)
    return 1 if args.strict and any(met == "missed" for *_, met in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
