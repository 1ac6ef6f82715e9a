# SPDX-License-Identifier: BSD-2-Clause
"""Pictures of physical memory out of what the monitor's `memmap` printed: one cell per 2 MiB, its colour the owner's, its depth how full it is."""

import math
import re
from dataclasses import dataclass, field

from matplotlib.colors import to_rgb

from plots import BLACK, GREY, Looks, area_key, plt

LINE = re.compile(r"^memmap (\S+):\s+0x([0-9a-f]+) (\S+)(?: +(\S+))?$")
OWNER = re.compile(r"^memmap (\S+): (\w) is (\S+)$")
BLOCKS = 32  # to a line: 64 MiB
ACROSS_MAX = 64  # cells to a line of a picture

FREE, RESERVED, SEVERAL = "#f4f4f4", "#bbbbbb", "#7a5195"
EL2 = "#555555"


@dataclass
class Map:
    """One `memmap`: where it begins, and of each block how full it is and whose."""

    title: str
    start: int = None
    use: str = ""
    owner: str = ""
    names: dict = field(default_factory=dict)

    def name(self, letter):
        return self.names.get(letter, f"VM {letter}")

    def vms(self):
        return sorted({self.name(one) for one in self.owner if one.isalpha()})

    def summary(self):
        unmovable = self.use.count("u")
        return f"{self.use.count('.')} of {len(self.use)} blocks free, {unmovable} hold{'' if unmovable != 1 else 's'} unmovable memory"


def read_maps(text):
    """Maps in the order in which they were printed. The same title again is another map when its addresses begin anew."""
    maps = []
    for line in text.splitlines():
        block, owner = LINE.match(line), OWNER.match(line)
        title = (block or owner or [None, None])[1]
        if owner and maps and maps[-1].title == title:
            maps[-1].names[owner[2]] = owner[3]
        if not block:
            continue
        address = int(block[2], 16)
        if not maps or maps[-1].title != title or address <= maps[-1].start:
            maps.append(Map(title, address))
        one = maps[-1]
        at = (address - one.start) >> 21
        one.use = one.use.ljust(at) + block[3]
        one.owner = one.owner.ljust(at) + (block[4] or "").ljust(len(block[3]))
    return maps


def mixed(colour, part):
    """The colour, lighter the emptier: a quarter of it at least, so that little is still something."""
    depth = 0.25 + 0.75 * part
    return tuple(1 - depth * (1 - c) for c in to_rgb(colour))


def colour_of(use, owner, name, looks):
    if use == " ":
        return (1, 1, 1)
    if use == ".":
        return to_rgb(FREE)
    if use == "#":
        return to_rgb(RESERVED)
    part = int(use) / 8 if use.isdigit() else 1
    if owner.isalpha():
        return mixed(looks.colour(name(owner)), part)
    return mixed(EL2, part)


def draw(axis, one, looks):
    """The cells, with addresses at the left; unmovable ones bear a dot."""
    across = min(ACROSS_MAX, len(one.use))
    down = math.ceil(len(one.use) / across)
    use, owner = one.use.ljust(across * down), one.owner.ljust(across * down)
    for n, (u, o) in enumerate(zip(use, owner)):
        x, y = n % across, n // across
        if u != " ":
            axis.add_patch(plt.Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, facecolor=colour_of(u, o, one.name, looks), edgecolor="#dddddd" if u == "." else "none",
                                         linewidth=0.4, hatch=looks.hatch(one.name(o)) if o.isalpha() else ""))
        if u == "u" and o.isalpha():
            axis.plot(x + 0.5, y + 0.5, ".", color="white", markersize=3, markeredgewidth=0)
    axis.set(xlim=(0, ACROSS_MAX), ylim=(down, 0), aspect="equal")
    step = max(1, down // 8)
    axis.set_yticks([y + 0.5 for y in range(0, down, step)], [f"{(one.start >> 20) + 2 * across * y} MiB" for y in range(0, down, step)], fontsize=7)
    axis.set_xticks([])
    axis.grid(False)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def height_of(one):
    return 0.42 + 0.125 * math.ceil(len(one.use) / min(ACROSS_MAX, max(1, len(one.use))))


def draw_maps(maps, looks=None, captions=None):
    """One figure of all maps, below each other, and the entries of its key."""
    looks = looks or Looks(sorted({name for one in maps for name in one.vms()}))
    heights = [height_of(one) for one in maps]
    figure, axes = plt.subplots(len(maps), 1, figsize=(9, sum(heights) + 0.1), squeeze=False, layout="constrained", gridspec_kw={"height_ratios": heights})
    for axis, one, caption in zip(axes.flat, maps, captions or [one.title for one in maps]):
        draw(axis, one, looks)
        axis.set_title(f"{caption}: {one.summary()}", fontsize=8.5, fontweight="normal")
    names = [name for name in looks.place if any(name in one.vms() for one in maps)]
    return figure, [area_key(name, looks.colour(name), looks.hatch(name)) for name in names] + [
        area_key("EL2 itself", EL2), area_key("reserved", RESERVED), area_key("free", FREE, edge=GREY), dot_key("holds unmovable memory of a VM"),
        depth_key("an eighth of the block in use … all of it", BLACK)]


def dot_key(label):
    return label, f'<rect x="0.5" y="0.5" width="25" height="11" fill="{EL2}"/><circle cx="13" cy="6" r="2" fill="#fff"/>'


def depth_key(label, colour):
    shades = ["#%02x%02x%02x" % tuple(round(255 * c) for c in mixed(colour, part / 8)) for part in (1, 3, 5, 8)]
    return label, "".join(f'<rect x="{0.5 + 6.3 * n:.1f}" y="0.5" width="6.3" height="11" fill="{shade}"/>' for n, shade in enumerate(shades))
