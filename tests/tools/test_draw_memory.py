# SPDX-License-Identifier: BSD-2-Clause
"""Pictures of memory: what `memmap` printed becomes an SVG, the same for the same console."""

import subprocess
import xml.etree.ElementTree as xml

import memory_map
from machine import ROOT
from plots import Looks

CONSOLE = """\
sluice: compaction: memmap before
memmap before:   0x40000000 #u.1234567888...                 #+.aaaaaaabbb...
memmap before:   0x44000000 ........................88888888 ........................AAAAAAAA
memmap before: a is alpha
memmap before: b is beta
memmap before: A is omega
sluice: compaction: compact
memmap after:   0x40000000 #u.............. #+..............
memmap after: a is alpha
"""


def draw(tmp_path, console, name="memory.svg"):
    log = tmp_path / "console.log"
    log.write_text(console)
    done = subprocess.run([ROOT / "tools/draw-memory", log, tmp_path / name], capture_output=True, text=True)
    return done, tmp_path / name


def test_one_picture_per_title(tmp_path):
    done, picture = draw(tmp_path, CONSOLE)
    assert done.returncode == 0, done.stderr
    text = picture.read_text()
    xml.fromstring(text)
    assert ">before: 28 of 64 blocks free, 1 holds unmovable memory<" in text
    assert ">after: 14 of 16 blocks free, 1 holds unmovable memory<" in text


def test_cells_have_the_colour_of_their_owner():
    before, after = memory_map.read_maps(CONSOLE)
    looks = Looks(["alpha", "beta", "omega"])
    at = [memory_map.colour_of(u, o, before.name, looks) for u, o in zip(before.use, before.owner)]
    assert len(at) == 64 and before.start == 0x40000000 and after.vms() == [] and before.vms() == ["alpha", "beta", "omega"]
    assert at[9] == memory_map.mixed(looks.colour("alpha"), 7 / 8) and at[12] == memory_map.mixed(looks.colour("beta"), 1)
    assert at[63] == memory_map.mixed(looks.colour("omega"), 1) and at[2] == memory_map.to_rgb(memory_map.FREE)
    assert len({looks.colour(name) for name in looks.place}) == 3


def test_a_title_again_is_another_map():
    assert [one.title for one in memory_map.read_maps(CONSOLE + CONSOLE)] == ["before", "after", "before", "after"]
    assert len(memory_map.read_maps(CONSOLE.replace("after", "before"))) == 2


def test_the_same_console_gives_the_same_picture(tmp_path):
    first, second = (draw(tmp_path, CONSOLE, name)[1].read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second


def test_nothing_to_draw_is_said(tmp_path):
    done, picture = draw(tmp_path, "sluice: verdict: PASS\n")
    assert done.returncode != 0 and "shows no memory map" in done.stderr
    assert not picture.exists()
