# SPDX-License-Identifier: BSD-2-Clause
"""What all plots of a report share: colours, axes of time, keys, and figures as elements of a page.

Keys are HTML beside the figure, not part of it: they wrap, however many names there are and however long. Needs matplotlib (tools/setup plot)."""

import html
import io
import re

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "sluice", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "axes.axisbelow": True,
                            "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left"})
import matplotlib.pyplot as plt  # noqa: E402

# Okabe and Ito: told apart by any kind of sight. Yellow is left out, it does not show on white; dashes or hatches say it once more.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PINK, GREY = "#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#888888"
CYCLE = [BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK]
HATCHES = ["", "///", "...", "xxx", "|||"]
DASHES = ["-", "--", ":", "-."]
SVG_DASHES = {"-": "", "--": "6 3", ":": "1.5 2.5", "-.": "7 3 1.5 3"}
WIDTH = 9.0  # inches
MOMENTS_MAX = 600  # of filled areas; lines show every change


class Looks:
    """A colour for each VM, the same in every figure; from the eighth on colours come again with other hatches and dashes."""

    def __init__(self, names):
        self.place = {name: n for n, name in enumerate(dict.fromkeys(names))}

    def colour(self, name):
        return CYCLE[self.place[name] % len(CYCLE)]

    def hatch(self, name):
        return HATCHES[self.place[name] // len(CYCLE) % len(HATCHES)]

    def dash(self, name):
        return DASHES[self.place[name] % len(DASHES)]


class Clock:
    """Virtual time in the unit that suits a run, or several that are compared."""

    def __init__(self, last_us):
        self.divisor, self.unit = (1e3, "ms") if last_us < 2e6 else (1e6, "s")
        self.end = max(last_us, 1) / self.divisor

    def of(self, rows):
        return [row["time_us"] / self.divisor for row in rows]

    def text(self, time_us):
        return f"{time_us / self.divisor:.{2 if self.unit == 'ms' else 3}f} {self.unit}"

    @property
    def label(self):
        return f"virtual time, {self.unit}"


def mib(rows, column):
    return [row.get(column, 0) / 1024 for row in rows]


def any_of(rows, column):
    return any(row.get(column) for row in rows)


def without_gaps(rows):
    """Runs of rows whose samples follow each other: a VM may go and come again."""
    parts, last = [], None
    for row in rows:
        if last is None or row["sample"] != last + 1:
            parts.append([])
        parts[-1].append(row)
        last = row["sample"]
    return parts


def changes(times, values):
    """The same step line with fewer points: those where it changes, and the last."""
    keep = [n for n in range(len(values)) if n in (0, len(values) - 1) or values[n] != values[n - 1]]
    return [times[n] for n in keep], [values[n] for n in keep]


def step_line(axis, clock, rows, values_of, **look):
    for part in without_gaps(rows):
        axis.plot(*changes(clock.of(part), values_of(part)), drawstyle="steps-post", solid_joinstyle="miter", **look)


def thinned(rows, layers):
    """Rows and layers (lists of values, one for each row) for areas: without those between two equal ones, and of the rest at most some MOMENTS_MAX, evenly."""
    values = list(zip(*layers))
    keep = [n for n in range(len(rows)) if n in (0, len(rows) - 1) or not values[n - 1] == values[n] == values[n + 1]]
    keep = keep[:: -(-len(keep) // MOMENTS_MAX)] + keep[-1:]
    return [rows[n] for n in keep], [[layer[n] for n in keep] for layer in layers]


def panels(count, height, across=2, **rest):
    """Axes for `count` panels, and the figure; those left over are not there. Only the lowest ones tell the time."""
    across = min(across, max(count, 1))
    down = -(-count // across)
    figure, axes = plt.subplots(down, across, figsize=(WIDTH, height * down + 0.35), squeeze=False, layout="constrained", sharex=True, **rest)
    for n, axis in enumerate(axes.flat):
        axis.set_visible(n < count)
        axis.tick_params(labelbottom=n + across >= count)
    return figure, list(axes.flat)[:count], across


def tell_time(axes, across, clock):
    for axis in axes:
        axis.set_xlim(0, clock.end)
    for axis in axes[-across:]:
        axis.set_xlabel(clock.label)


def svg_of(figure, name):
    """The figure as an element of the page. Ids are made unique by the figure's name: several stand in one document."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    body = text.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", body[body.index("<svg"):], flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", body)


# ---- Keys: a list of (label, swatch) ----

def line_key(label, colour, dash="-"):
    pattern = f' stroke-dasharray="{SVG_DASHES[dash]}"' if SVG_DASHES[dash] else ""
    return label, f'<line x1="0" y1="6" x2="26" y2="6" stroke="{colour}" stroke-width="2.2"{pattern}/>'


def area_key(label, colour, hatch="", edge="none"):
    marks = {"/": "M2 12L14 0M12 12L24 0", ".": "M5 6h2M12 6h2M19 6h2", "x": "M2 12L14 0M12 12L24 0M2 0L14 12M12 0L24 12", "|": "M6 0v12M13 0v12M20 0v12"}
    lines = f'<path d="{marks[hatch[0]]}" stroke="#fff" stroke-width="1.5"/>' if hatch else ""
    return label, f'<rect x="0.5" y="0.5" width="25" height="11" fill="{colour}" stroke="{edge}"/>{lines}'


def marker_key(label, colour, marker):
    shapes = {"o": '<circle cx="13" cy="6" r="4"', "s": '<rect x="9" y="2" width="8" height="8"', "^": '<path d="M13 1l5 10h-10z"', "D": '<path d="M13 1l5 5-5 5-5-5z"'}
    return label, f'{shapes[marker]} fill="{colour}"/>'


def key_html(entries):
    items = "".join(f'<li><svg width="26" height="12" viewBox="0 0 26 12" aria-hidden="true">{swatch}</svg>{html.escape(label)}</li>' for label, swatch in entries)
    return f'<ul class="key">{items}</ul>' if entries else ""
