# SPDX-License-Identifier: BSD-2-Clause
"""Pictures of memory: what `memmap` printed becomes an SVG, the same for the same console."""

import subprocess
import xml.etree.ElementTree as xml

from machine import ROOT

CONSOLE = """\
sluice: compaction: memmap before
memmap before:   0x40000000 #u.1234567888...         #++aaaaaa
memmap before:   0x44000000 ........................88888888 ........................aaaaaaaa
sluice: compaction: compact
memmap after:   0x40000000 #u..............         #+
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
    assert ">before: 28 of 48 blocks free, 1 hold unmovable memory<" in text
    assert ">after: 14 of 16 blocks free, 1 hold unmovable memory<" in text


def test_the_same_console_gives_the_same_picture(tmp_path):
    first, second = (draw(tmp_path, CONSOLE, name)[1].read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second


def test_nothing_to_draw_is_said(tmp_path):
    done, picture = draw(tmp_path, "sluice: verdict: PASS\n")
    assert done.returncode != 0 and "shows no memory map" in done.stderr
    assert not picture.exists()
