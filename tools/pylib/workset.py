# SPDX-License-Identifier: BSD-2-Clause
"""What working sets that rise and fall cost: the lines of guest/user/workset.c in a console log, held against the samples of the same run.

A guest's clock starts with its VM, and so do the samples, to a few milliseconds: scenarios start their VMs at once, in the first group of the timeline.
"""

import re
from dataclasses import dataclass, field

import samples

RESIDENT_WITHIN_US = 200_000  # of a rise that fits
FOOTPRINT_AT_MOST = 1.2       # times the working sets

START = re.compile(r"workset: start at (\d+) us with (\d+) MiB and (\d+) MiB idle$")
RISE = re.compile(r"workset: rise (\d+) at (\d+) us from (\d+) to (\d+) MiB resident after (\d+) us$")
FALL = re.compile(r"workset: fall (\d+) at (\d+) us to (\d+) MiB by (munmap|madvise), gone after (\d+) us$")
END = re.compile(r"workset: end at (\d+) us after (\d+) MiB in checksums$")


class WorksetError(Exception):
    """There is nothing to judge; one line."""


@dataclass
class Rise:
    name: str
    at_us: int
    mib: int
    took_us: int
    fits: bool = True

    def in_time(self):
        return self.took_us <= RESIDENT_WITHIN_US or not self.fits


@dataclass
class Workset:
    """One guest's: what it said."""
    name: str
    start_us: int
    low_mib: int
    idle_mib: int
    steps: list = field(default_factory=list)  # (time_us, MiB from then on)
    rises: list = field(default_factory=list)
    end_us: int = 0
    checked_mib: int = 0
    passed: bool = False

    def mib_at(self, time_us):
        return next((mib for at, mib in reversed(self.steps) if at <= time_us), 0)

    def mib_s(self):
        """The working set over time, from start to end."""
        edges = self.steps + [(self.end_us, 0)]
        return sum(mib * (after - at) for (at, mib), (after, _) in zip(edges, edges[1:])) / 1e6


def of_console(text):
    """Working sets by the name of the VM. WorksetError if there are none, or one has not come to its end."""
    found = {}
    for line in text.splitlines():
        name, _, said = line.partition("| ")
        if match := START.match(said):
            at, low, idle = map(int, match.groups())
            found[name] = Workset(name, at, low, idle, [(at, low)])
        elif match := RISE.match(said):
            _, at, _, high, took = map(int, match.groups())
            found[name].steps.append((at, high))
            found[name].rises.append(Rise(name, at, high, took))
        elif match := FALL.match(said):
            found[name].steps.append((int(match[2]), int(match[3])))
        elif match := END.match(said):
            found[name].end_us, found[name].checked_mib = map(int, match.groups())
        elif said == "workset: PASS":
            found[name].passed = True
    if not found:
        raise WorksetError("no guest ran `workset`")
    for w in found.values():
        if w.end_us == 0:
            raise WorksetError(f"{w.name}: its working set has not come to its end")
    return found


def clip(rows, start_us, end_us):
    """The rows of that time; the one that stands at its beginning moved there."""
    before = [row for row in rows if row["time_us"] <= start_us][-1:]
    inside = [row for row in rows if start_us < row["time_us"] < end_us]
    last = (before + inside)[-1:]
    return [dict(row, time_us=start_us) for row in before] + inside + [dict(row, time_us=end_us, sample=row["sample"] + 1) for row in last]


def can_be_had_mib(rows):
    """What VMs may have in all: managed memory less reserve."""
    zones = samples.by_name(rows, "zone")
    return sum(z[0]["managed_kib"] - z[0]["min_kib"] for z in zones.values()) / 1024


@dataclass
class Cost:
    """One guest's, in MiB-seconds from its start to its end."""
    workset: Workset
    own_mib: float     # of its kernel, when the working set began
    footprint: float   # all that was resident
    idle: float        # of it: kept, and not worked with

    def used(self):
        return self.footprint - self.idle


def cost_of(w, rows):
    resident = next((row["resident_kib"] for row in rows if row["time_us"] > w.start_us), 0) / 1024
    spent = samples.footprint_mib_s(clip(rows, w.start_us, w.end_us))
    return Cost(w, max(0.0, resident - w.low_mib - w.idle_mib), spent, w.idle_mib * (w.end_us - w.start_us) / 1e6)


@dataclass
class Verdict:
    costs: dict
    rises: list
    memory_mib: float

    def footprint(self):
        return sum(c.used() for c in self.costs.values())

    def working_sets(self):
        return sum(c.workset.mib_s() for c in self.costs.values())

    def ratio(self):
        return self.footprint() / self.working_sets()

    def ratio_with_idle(self):
        return sum(c.footprint for c in self.costs.values()) / self.working_sets()

    def worst_rise_us(self):
        return max((r.took_us for r in self.rises if r.fits), default=0)

    def problems(self):
        """What misses its target; one line each."""
        late = [f"{r.name}: rise at {r.at_us} us to {r.mib} MiB was resident after {r.took_us} us" for r in self.rises if not r.in_time()]
        wrong = [f"{name}: its checksums did not hold" for name, c in self.costs.items() if not c.workset.passed]
        dear = [f"footprint is {self.ratio():.3f} times the working sets"] if self.ratio() > FOOTPRINT_AT_MOST else []
        return late + wrong + dear


def judge(console, rows):
    """The verdict on one run: its console log and its rows. A rise fits if all working sets of that moment, and what their guests need besides, can be had."""
    worksets, by_vm = of_console(console), samples.by_name(rows, "vm")
    if missing := set(worksets) - set(by_vm):
        raise WorksetError(f"no samples of {', '.join(sorted(missing))}")
    costs = {name: cost_of(w, by_vm[name]) for name, w in worksets.items()}
    verdict = Verdict(costs, sorted((r for w in worksets.values() for r in w.rises), key=lambda r: r.at_us), can_be_had_mib(rows))
    for rise in verdict.rises:
        needed = sum(c.workset.mib_at(rise.at_us) + c.workset.idle_mib + c.own_mib for c in costs.values())
        rise.fits = needed <= verdict.memory_mib
    return verdict


def report(verdict):
    """Lines for people."""
    for name, c in verdict.costs.items():
        rises = ", ".join(f"{r.took_us / 1000:.1f}{'' if r.fits else ' (does not fit)'}" for r in c.workset.rises)
        yield (f"{name}: working set {c.workset.mib_s():.1f} MiB·s, footprint {c.used():.1f}, idle but kept {c.idle:.1f} apart; "
               f"its kernel began with {c.own_mib:.1f} MiB; {c.workset.checked_mib} MiB in checksums; rises resident after {rises} ms")
    yield (f"all: footprint {verdict.footprint():.1f} MiB·s is {verdict.ratio():.3f} times the working sets, {verdict.working_sets():.1f} "
           f"(with idle memory {verdict.ratio_with_idle():.3f}; target {FOOTPRINT_AT_MOST}); the slowest rise {verdict.worst_rise_us() / 1000:.1f} ms "
           f"(target {RESIDENT_WITHIN_US // 1000})")
    yield from (f"MISSED: {line}" for line in verdict.problems())
