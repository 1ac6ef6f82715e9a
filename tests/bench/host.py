# SPDX-License-Identifier: BSD-2-Clause
"""The part of `make bench` that runs on the build machine: the memory core's allocator under callgrind, by the clock on two threads, under a
mixed workload, and its compaction against the oracle. The programs are tests/bench/host/*.c; what they should reach is in targets.csv."""

import csv
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

from machine import MachineError, build_dir
from table import aligned, human, load_rows, markdown, write_csv

SECTIONS = ("alloc", "threads", "workload", "compaction")
TITLES = {
    "alloc": "Allocator (host, release build, callgrind; the measuring loop's own cost included)",
    "threads": "Allocator, two threads (host, by the clock, while both had their cores to themselves)",
    "workload": "Mixed workload (host, 4 GiB zone)",
    "compaction": "Compaction (host, seeded layouts of a 4 GiB zone, against the oracle)",
}
KINDS = ("bimodal", "clustered", "aged", "uniform")
FREE_PERCENT, MOVED_TIMES = 99, 1.05
TIMEOUT_S = 900

ROW = re.compile(r"^([a-z0-9-]+) ([0-9.]+)$")
TRIGGER = re.compile(r"^desc: Trigger: Client Request: (\S+) ([0-9]+)$", re.MULTILINE)
TOTALS = re.compile(r"^(?:totals|summary): ([0-9]+)", re.MULTILINE)


def program(name):
    return build_dir() / "bench" / "host" / name


def run(command, name):
    try:
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise MachineError(f"{name}: not done after {TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise MachineError(f"{name}: {(done.stderr.strip().splitlines() or [f'exit status {done.returncode}'])[-1]}")
    return done.stdout


def rows_in(text):
    return {match[1]: float(match[2]) for match in map(ROW.match, text.splitlines()) if match}


def counts_in(part):
    """The row of one part of callgrind's output: instructions per operation. Empty if it is not one of ours."""
    trigger, totals = TRIGGER.search(part), TOTALS.search(part)
    return {trigger[1]: int(totals[1]) / int(trigger[2])} if trigger and totals else {}


def measure_alloc():
    folder = build_dir() / "bench" / "callgrind"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("out*"):
        old.unlink()
    run(["valgrind", "-q", "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={folder}/out", program("alloc")], "alloc")
    rows = {}
    for part in folder.glob("out.*"):
        rows.update(counts_in(part.read_text()))
    return rows


def verdict(line):
    """Of one line of the compaction table: did it reach the figures?"""
    return line["reached"] * 100 >= line["bound"] * FREE_PERCENT and line["moved"] <= line["least"] * MOVED_TIMES


def read_layouts(texts):
    lines = []
    for text in texts:
        for line in csv.DictReader(text.splitlines()):
            lines.append({key: value if key in ("kind", "policy") else int(value) for key, value in line.items()})
    return lines


def summarise(lines):
    """The figures of the compaction table; uniform layouts are a control and stand in the table only."""
    counted = [line for line in lines if line["counts"] and line["kind"] != "uniform"]
    ours = [line for line in counted if line["policy"] == "occupancy"]
    classic = [line for line in counted if line["policy"] == "classic"]
    if not ours or not classic:
        return {}
    return {
        "compaction-counted": float(len(ours)),
        "compaction-free-worst": min(100 * line["reached"] / line["bound"] for line in ours),
        "compaction-moved-worst": max(line["moved"] / line["least"] if line["least"] else 1.0 for line in ours),
        "compaction-missed": float(sum(not verdict(line) for line in ours)),
        "compaction-classic-missed": 100 * sum(not verdict(line) for line in classic) / len(classic),
    }


def measure_compaction():
    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(lambda kind: run([program("compaction"), kind], f"compaction {kind}"), KINDS))
    lines = read_layouts(texts)
    write_csv(build_dir() / "bench" / "compaction.csv", list(lines[0]), lines)
    return dict(summarise(lines), layouts=lines)


MEASURE = {
    "alloc": measure_alloc,
    "threads": lambda: rows_in(run([program("threads")], "threads")),
    "workload": lambda: rows_in(run([program("workload")], "workload")),
    "compaction": measure_compaction,
}


class HostTable:
    """Rows of targets.csv joined with {section: {key: figure}}."""

    def __init__(self, path, results):
        self.rows = [row for row in load_rows(path) if row["section"] in results]
        self.results = results
        self.missed, self.missing = [], []
        self.layouts = results.get("compaction", {}).get("layouts", [])
        for row in self.rows:
            self._judge(row)

    def _judge(self, row):
        row["ours"] = self.results[row["section"]].get(row["key"])
        row["met"] = ""
        if row["ours"] is None:
            self.missing.append(row["operation"])
        elif row["target"]:
            target = float(row["target"])
            good = row["ours"] <= target if row["better"] == "lower" else row["ours"] >= target
            row["met"] = "met" if good else "missed"
        if row["met"] == "missed":
            self.missed.append(row["key"])

    @staticmethod
    def _figure(value):
        if value is None or value == "":
            return "-"
        value = float(value)
        return f"{value:,.3f}".rstrip("0").rstrip(".") if value < 100 else human(value)

    def _cells(self, section):
        head = ["operation", "LLFree-c", "target", "ours", ""] if section == "alloc" else ["operation", "target", "ours", ""]
        body = []
        for row in (row for row in self.rows if row["section"] == section):
            name = row["operation"] + (f" ({row['unit']})" if row["unit"] and section != "alloc" else "")
            bound = ("at least " if row["better"] == "higher" else "at most ") if row["target"] else ""
            body.append([name] + ([human(row["llfree"])] if section == "alloc" else []) +
                        [bound + self._figure(row["target"]), self._figure(row["ours"]), row["met"]])
        return [head] + body

    def _layout_cells(self):
        """Per layout that counts (and the control): bound, then reached, moved, least for both policies side by side."""
        head = ["layout", "used", "unmovable", "before", "bound", "reached", "moved", "least", "", "classic", "moved", "least", ""]
        body, pairs = [], {}
        for line in self.layouts:
            pairs.setdefault((line["kind"], line["unmovable"], line["occupancy"]), {})[line["policy"]] = line
        for (kind, unmovable, occupancy), pair in pairs.items():
            if any(not line["counts"] for line in pair.values()) or len(pair) != 2:
                continue
            cells = [kind, f"{occupancy} %", f"{unmovable} %", human(pair["occupancy"]["before"]), human(pair["occupancy"]["bound"])]
            for policy in ("occupancy", "classic"):
                line = pair[policy]
                cells += [human(line["reached"]), human(line["moved"]), human(line["least"]), "met" if verdict(line) else "missed"]
            body.append(cells)
        return [head] + body

    def tables(self):
        for section in SECTIONS:
            if section in self.results:
                yield TITLES[section], self._cells(section)
        if self.layouts:
            yield "Layouts that count (free 2 MiB blocks; frames moved; the fewest that any compactor must move for what it reached)", self._layout_cells()

    def text(self):
        out = []
        for title, cells in self.tables():
            out += ["", title] + aligned(cells, {0})
        met = sum(row["met"] == "met" for row in self.rows)
        return "\n".join(out + ["", f"targets on the host: {met} met, {len(self.missed)} missed"])

    def markdown(self):
        out = []
        for title, cells in self.tables():
            out += markdown(title, cells)
        return "\n".join(out) + "\n"

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "host.md").write_text(self.markdown())
        write_csv(folder / "host.csv", ["section", "key", "operation", "unit", "llfree", "target", "better", "ours", "met"], self.rows)


def measure(sections):
    """{section: {key: figure}} and a list of what went wrong."""
    results, errors = {}, []
    for section in sections:
        try:
            results[section] = MEASURE[section]()
        except (MachineError, OSError) as e:
            errors.append(f"host-{section}: {e}")
    return results, errors
