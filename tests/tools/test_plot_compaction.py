# SPDX-License-Identifier: BSD-2-Clause
"""tools/plot-compaction: a picture for each kind of layout in the table, the same from the same figures, and a plain word if there are none."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = ROOT / "tools/plot-compaction"
HEAD = "kind,occupancy,unmovable,policy,before,bound,reached,moved,least,counts\n"


def plot(folder):
    return subprocess.run([sys.executable, TOOL, folder], capture_output=True, text=True, timeout=120)


def table(folder, kinds):
    lines = [f"{kind},{used},1,{policy},5,{900 - used},{890 - used},{1000 * used},{990 * used},1\n"
             for kind in kinds for used in (30, 60, 90) for policy in ("occupancy", "classic")]
    (folder / "compaction.csv").write_text(HEAD + "".join(lines))


def test_each_kind_has_its_figure_and_it_repeats(tmp_path):
    table(tmp_path, ["bimodal", "aged"])
    done = plot(tmp_path)
    assert done.returncode == 0, done.stderr
    first = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    assert sorted(first) == ["compaction-aged.svg", "compaction-bimodal.svg"]
    assert all(word in first["compaction-aged.svg"] for word in ("occupancy", "classic", "the best possible", "1 % unmovable", "frames moved"))
    assert plot(tmp_path).returncode == 0
    assert first == {path.name: path.read_text() for path in tmp_path.glob("*.svg")}


def test_without_figures_it_says_what_to_run(tmp_path):
    done = plot(tmp_path)
    assert done.returncode != 0 and "make bench" in done.stderr
