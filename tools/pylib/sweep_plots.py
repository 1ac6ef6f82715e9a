# SPDX-License-Identifier: BSD-2-Clause
"""The figures that compare the runs of a sweep: figures of merit over what was varied, and a small picture of each run."""

import re
import textwrap

import samples
from plots import CYCLE, DASHES, RED, any_of, area_key, line_key, panels
from run_plots import OTHER, TALL, plain_counts, stack_residents

MERITS = [("footprint", "footprint, MiB·s", None), ("faults_4k_count", "stage-2 faults by 4 KiB", 0), ("faults_2m_count", "stage-2 faults by 2 MiB", 0),
          ("memory_waits_count", "waits for memory", 0), ("moved_pages_count", "pages moved", 0), ("time", "virtual time, s", None)]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]


def parameters_of(text):
    """'vms/a/memory-mib=64 x=1' -> {'vms/a/memory-mib': '64', 'x': '1'}; a value may have blanks, numbers between them."""
    parts = re.split(r" (?=[^ =]+=)", text) if text else []
    return dict(part.split("=", 1) for part in parts if "=" in part)


def short(name):
    """vms/alpha/memory-mib -> alpha/memory-mib: what a person says."""
    return "/".join(name.split("/")[-2:]) if name.startswith(("vms/", "managed/")) else name.split("/")[-1]


def merits_of(rows):
    """The figures that a run is compared by."""
    vms = samples.by_name(rows, "vm")
    found = {column: sum(total_of(of, column) for of in vms.values()) for column, _, _ in MERITS if column.endswith("_count")}
    return {**found, "footprint": sum(samples.footprint_mib_s(of) for of in vms.values()), "time": rows[-1]["time_us"] / 1e6}


def total_of(rows, column):
    """A count that starts again when its VM is made again."""
    return rows[-1][column] + sum(a[column] for a, b in zip(rows, rows[1:]) if b[column] < a[column])


def number(text):
    try:
        return float(int(text, 0))
    except ValueError:
        return None


class Axis:
    """What was varied first, as places on an axis: as far apart as its values are, if they are numbers, else evenly."""

    def __init__(self, values):
        self.values = list(dict.fromkeys(values))
        numbers = [number(value) for value in self.values]
        if None in numbers or len(set(numbers)) < len(numbers):
            numbers = [float(n) for n in range(len(self.values))]
        self.place = dict(zip(self.values, numbers))

    def label(self, axis, name):
        axis.set_xticks(list(self.place.values()), [textwrap.shorten(value, 18, placeholder="…") for value in self.values],
                        rotation=30 if sum(map(len, self.values)) > 30 else 0)
        span = max(self.place.values()) - min(self.place.values()) or 1
        axis.set_xlim(min(self.place.values()) - 0.08 * span, max(self.place.values()) + 0.08 * span)
        axis.set_xlabel(name)


def series_of(runs):
    """The runs as lines: {label of all but the first parameter: [(value of the first, run)]}."""
    lines = {}
    for run, rows in runs.items():
        given = parameters_of(rows[0]["parameters"])
        first, *others = given.items() or [("run", run)]
        label = ", ".join(f"{short(name)} {value}" for name, value in others)
        lines.setdefault(label, []).append((first[1], run))
    return lines


def draw_merits(runs, failed):
    """A panel for each figure of merit that is not 0 throughout; runs that failed are crosses, and no part of a line."""
    merits = {run: merits_of(rows) for run, rows in runs.items()}
    shown = [(key, label) for key, label, dull in MERITS if dull is None or any(merit[key] != dull for merit in merits.values())]
    lines = series_of(runs)
    places = Axis([value for line in lines.values() for value, _ in line])
    name = short(next(iter(parameters_of(next(iter(runs.values()))[0]["parameters"])), "run"))
    figure, axes, across = panels(len(shown), 2.1, across=3)
    for axis, (key, label) in zip(axes, shown):
        for n, line in enumerate(lines.values()):
            points = sorted((places.place[value], merits[run][key], run in failed) for value, run in line)
            good = [(x, y) for x, y, bad in points if not bad]
            axis.plot(*zip(*good) if good else ([], []), DASHES[n % 4], marker=MARKERS[n % len(MARKERS)], color=CYCLE[n % len(CYCLE)], linewidth=1.5)
            axis.plot([x for x, _, bad in points if bad], [y for _, y, bad in points if bad], "x", color=RED, markersize=8, markeredgewidth=2)
        axis.set_title(label)
        axis.set_ylim(0, 1.08 * max(merit[key] for merit in merits.values()) or 1)
        plain_counts(axis) if key.endswith("_count") else None
        axis.tick_params(labelbottom=True)
    for axis in axes:
        places.label(axis, name if axis in axes[-across:] else "")
    key = [line_key(label, CYCLE[n % len(CYCLE)], DASHES[n % 4]) for n, label in enumerate(lines) if label]
    return figure, key + ([("failed", f'<path d="M9 2l8 8M17 2l-8 8" stroke="{RED}" stroke-width="2"/>')] if any(run in failed for run in runs) else [])


def draw_each(clock, runs, looks, failed):
    """Who had how much in each run, all on the same axes."""
    with_vms = {run: rows for run, rows in runs.items() if any_of(rows, "assigned_kib")}
    figure, axes, across = panels(len(with_vms), 1.9, across=3, sharey=True)
    most = 0
    for axis, (run, rows) in zip(axes, with_vms.items()):
        vms = samples.by_name(rows, "vm")
        managed, taken = stack_residents(axis, clock, vms, samples.by_name(rows, "zone"), looks)
        most = max(most, managed if taken > TALL * managed else 1.2 * taken)
        given = ", ".join(f"{short(name)} {value}" for name, value in parameters_of(rows[0]["parameters"]).items()) or f"run {run}"
        axis.set_title("\n".join(textwrap.wrap(given, 34)) + (" (failed)" if run in failed else ""), fontsize=8)
        axis.set(xlim=(0, clock.end))
    for n, axis in enumerate(axes):
        axis.set_ylim(0, most * 1.04)
        axis.set_ylabel("resident, MiB" if n % across == 0 else "")
        axis.set_xlabel(clock.label if n >= len(axes) - across else "")
    names = dict.fromkeys(name for rows in with_vms.values() for name in samples.by_name(rows, "vm"))
    return figure, [area_key(name, looks.colour(name), looks.hatch(name)) for name in names] + [area_key("EL2 itself", OTHER)]
