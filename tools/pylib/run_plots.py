# SPDX-License-Identifier: BSD-2-Clause
"""The figures of one run. Each function gives (figure, entries of its key), or None where there is nothing to see."""

from matplotlib import colormaps

import samples
from plots import (BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, any_of, area_key, line_key, marker_key, mib, panels, step_line, tell_time, thinned)

MEMORY = [("assigned_kib", "assigned", BLACK, "--"), ("quota_max_kib", "quota", GREY, ":"), ("target_kib", "target", SKY, "-."),
          ("resident_kib", "resident", BLUE, "-"), ("working_set_kib", "working set", GREEN, "-"), ("ballooned_kib", "ballooned", RED, "-."),
          ("shared_kib", "shared", ORANGE, "--"), ("lent_kib", "lent", PINK, ":")]
ALWAYS = {"assigned_kib", "resident_kib"}
EVENTS = [("faults_4k_count", "stage-2 faults served by 4 KiB"), ("faults_2m_count", "stage-2 faults served by 2 MiB"),
          ("faults_stage1_count", "stage-1 faults seen by EL2"), ("memory_waits_count", "waits for memory"), ("moved_pages_count", "pages moved"),
          ("reported_kib", "given back by free-page reporting, MiB"), ("exits_count", "exits to EL2")]
OTHER = "#8c8c8c"
TALL = 0.45  # of RAM: if VMs together never have more than this, the plot ends above what they have


def draw_steps(axis, clock, steps):
    """Where steps of the timeline begin: a line each, and its number where there is room for one."""
    last = -1.0
    for n, (time_us, _) in enumerate(steps, 1):
        x = time_us / clock.divisor
        axis.axvline(x, color=GREY, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1.5)
        if x - last >= clock.end * 0.018:
            axis.annotate(str(n), (x, 1), xycoords=("data", "axes fraction"), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=7, color="#444444")
            last = x


def draw_maps(axis, clock, maps):
    """Where memory was looked at: a letter each, just above the axis of time; one above the other where they would touch."""
    last, up = -1.0, 0
    for n, (time_us, _) in enumerate(maps):
        x = time_us / clock.divisor
        up = up + 1 if x - last < clock.end * 0.02 and n else 0
        last = x
        axis.annotate(letter(n), (x, 0), xycoords=("data", "axes fraction"), xytext=(0, 3 + 13 * up), textcoords="offset points", ha="center",
                      fontsize=7, fontweight="bold", color="white", bbox={"boxstyle": "circle,pad=0.15", "facecolor": BLACK, "edgecolor": "white", "linewidth": 0.6})


def letter(n):
    return chr(ord("A") + n) if n < 26 else f"A{n - 25}"


def machine_moments(zones):
    """Of each sample: its number, time, and what can be given, is free or set aside, of all zones together."""
    moments = {}
    for rows in zones.values():
        for row in rows:
            one = moments.setdefault(row["sample"], {"sample": row["sample"], "time_us": row["time_us"], "managed_kib": 0, "free_kib": 0})
            one["managed_kib"] += row["managed_kib"]
            one["free_kib"] += row["free_kib"] + row["cached_kib"] + row["zeroed_kib"]
    return [moments[n] for n in sorted(moments)]


def stack_residents(axis, clock, vms, zones, looks):
    """What VMs have, one on top of the other, on what EL2 has for itself. Gives MiB: what the machine has to give, and the most that was taken."""
    moments = machine_moments(zones)
    of = {name: {row["sample"]: row["resident_kib"] for row in rows} for name, rows in vms.items()}
    layers = [[one.get(m["sample"], 0) / 1024 for m in moments] for one in of.values()]
    other = [max(0, (m["managed_kib"] - m["free_kib"]) / 1024 - sum(layer[n] for layer in layers)) for n, m in enumerate(moments)]
    few, areas = thinned(moments, [other, *layers])
    bands = axis.stackplot(clock.of(few), areas, colors=[OTHER, *(looks.colour(name) for name in vms)], edgecolor="white", linewidth=0.4)
    for band, name in zip(bands[1:], vms):
        band.set_hatch(looks.hatch(name))
    return moments[0]["managed_kib"] / 1024, max(map(sum, zip(other, *layers)))


def most_together(clock, vms):
    """What the first plot says, in a sentence."""
    together, times = {}, {}
    for row in (row for rows in vms.values() for row in rows):
        together[row["sample"]] = together.get(row["sample"], 0) + row["resident_kib"] / 1024
        times.setdefault(row["sample"], row["time_us"])
    most = max(together, key=together.get)
    promised = sum(max(mib(rows, "assigned_kib")) for rows in vms.values())
    return f"{promised:g} MiB were promised in all; the most that was backed at once is {together[most]:.0f} MiB, at {clock.text(times[most])}."


def draw_all(clock, vms, zones, looks, steps, maps):
    figure, (axis,), _ = panels(1, 3.4)
    managed, most = stack_residents(axis, clock, vms, zones, looks)
    whole = most > TALL * managed
    axis.axhline(managed, color=BLACK, linestyle="--", linewidth=1.2)
    axis.set(ylabel="resident, MiB", ylim=(0, managed * 1.04 if whole else max(1.25 * most, 1)))
    tell_time([axis], 1, clock)
    draw_steps(axis, clock, steps)
    draw_maps(axis, clock, maps)
    key = [area_key(name, looks.colour(name), looks.hatch(name)) for name in vms]
    ram = line_key("RAM that can be given", BLACK, "--") if whole else (f"RAM that can be given: {managed:.0f} MiB, far above", "")
    return figure, key + [area_key("EL2's, handed over, managed", OTHER), ram]


def shown(column, rows):
    if column == "quota_max_kib":
        return any(row.get(column) not in (None, row["assigned_kib"]) for row in rows)
    if column == "target_kib":
        return any(row.get(column, row["assigned_kib"]) != row["assigned_kib"] for row in rows)
    return column in ALWAYS or any_of(rows, column)


def draw_memory(clock, vms, steps):
    """A panel for each VM: what it was promised, and what it has."""
    figure, axes, across = panels(len(vms), 2.0)
    used = set()
    for axis, (name, rows) in zip(axes, vms.items()):
        for column, _, colour, dash in MEMORY:
            if shown(column, rows):
                used.add(column)
                step_line(axis, clock, rows, lambda part, column=column: mib(part, column), color=colour, linestyle=dash, linewidth=1.5)
        axis.set_title(name)
        axis.set(ylabel="MiB", ylim=(0, max(1.0, 1.06 * max(max(mib(rows, column)) for column in ("assigned_kib", "resident_kib")))))
        for time_us, _ in steps:
            axis.axvline(time_us / clock.divisor, color=GREY, linewidth=0.6, linestyle=(0, (2, 2)), zorder=1.5)
    tell_time(axes, across, clock)
    return figure, [line_key(label, colour, dash) for column, label, colour, dash in MEMORY if column in used]


def order_label(order):
    return f"{4 << order} KiB" if order < 8 else f"{1 << order - 8} MiB"


def draw_free(clock, zones):
    """Free memory by order, darker for larger blocks; a panel for each zone."""
    figure, axes, across = panels(len(zones), 2.6 if len(zones) < 3 else 1.9, across=1 if len(zones) < 3 else 2)
    shades = [colormaps["viridis_r"](0.05 + 0.95 * n / (samples.ORDERS - 1)) for n in range(samples.ORDERS)]
    for axis, (name, rows) in zip(axes, zones.items()):
        few, areas = thinned(rows, [[row[f"free_order{n}_blocks"] * (4 << n) / 1024 for row in rows] for n in range(samples.ORDERS)])
        axis.stackplot(clock.of(few), areas, colors=shades)
        step_line(axis, clock, rows, lambda part: mib(part, "min_kib"), color=RED, linestyle="--", linewidth=1.4)
        axis.set_title(f"zone {name}" if len(zones) > 1 else "")
        axis.set(ylabel="free, MiB", ylim=(0, None))
    tell_time(axes, across, clock)
    hexes = ["#%02x%02x%02x" % tuple(round(255 * part) for part in shade[:3]) for shade in shades]
    return figure, [area_key(order_label(n), hexes[n]) for n in range(samples.ORDERS)] + [line_key("EL2's reserve", RED, "--")]


def count(part, column):
    return [row.get(column, 0) / (1024 if column.endswith("_kib") else 1) for row in part]


def plain_counts(axis):
    """0, 1, 2 and no halves where counts are small; thousands as 20k."""
    axis.yaxis.get_major_locator().set_params(integer=True, nbins=5)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e4 else f"{value:g}")


def happened(vms):
    """Events of which there was one, and the names of those that never happened."""
    seen = [(column, label) for column, label in EVENTS if any(any_of(rows, column) for rows in vms.values())]
    return seen, [label.split(",")[0] for column, label in EVENTS if (column, label) not in seen]


COSTS = [("faults_4k_count", 1, "stage-2 faults by 4 KiB", BLUE, "o"), ("faults_2m_count", 512, "stage-2 faults by 2 MiB", ORANGE, "s"),
         ("released_pages_count", 1, "given back: balloon, reporting", GREEN, "^"), ("moved_pages_count", 1, "moved", RED, "D")]
COST_PAGES_MIN, COST_PART = 16, 0.95


def costs_of(rows, clock):
    """{kind of event: [(time, EL2's instructions per page)]}: of intervals in which at least some pages came or went, nearly all in one way."""
    found = {}
    for a, b in zip(rows, rows[1:]):
        pages = {column: (b[column] - a[column]) * each for column, each, *_ in COSTS}
        kind, total = max(pages, key=pages.get), sum(pages.values())
        if b["sample"] == a["sample"] + 1 and min(pages.values()) >= 0 and total >= COST_PAGES_MIN and pages[kind] >= COST_PART * total:
            found.setdefault(kind, []).append((b["time_us"] / clock.divisor, (b["el2_instructions"] - a["el2_instructions"]) / total))
    return found


def draw_costs(clock, vms):
    """What EL2 spent per page while pages came and went in one way. None if it was not measured (`measure-el2`)."""
    measured = [rows for rows in vms.values() if any_of(rows, "el2_instructions")]
    found = [costs_of(rows, clock) for rows in measured]
    if not any(found):
        return None
    figure, (axis,), _ = panels(1, 2.6)
    for column, _, _, colour, marker in COSTS:
        points = [point for costs in found for point in costs.get(column, [])]
        axis.plot([x for x, _ in points], [y for _, y in points], marker, color=colour, markersize=4, markeredgewidth=0)
    axis.set(ylabel="EL2's instructions per page", yscale="log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    tell_time([axis], 1, clock)
    used = {column for costs in found for column in costs}
    return figure, [marker_key(label, colour, marker) for column, _, label, colour, marker in COSTS if column in used]


def draw_events(clock, vms, looks):
    """A panel for each kind of event that happened, a line for each VM."""
    seen, _ = happened(vms)
    if not seen:
        return None
    figure, axes, across = panels(len(seen), 2.0)
    for axis, (column, label) in zip(axes, seen):
        for name, rows in vms.items():
            if any_of(rows, column):
                step_line(axis, clock, rows, lambda part, column=column: count(part, column), color=looks.colour(name), linestyle=looks.dash(name), linewidth=1.5)
        axis.set_title(label)
        axis.set(ylabel="so far", ylim=(0, None))
        plain_counts(axis)
    tell_time(axes, across, clock)
    return figure, [line_key(name, looks.colour(name), looks.dash(name)) for name in vms if any(any_of(vms[name], column) for column, _ in seen)]
