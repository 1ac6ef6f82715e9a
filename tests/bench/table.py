# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark's table: our counts beside the peers' and the targets, as text, Markdown and CSV."""

import csv
import re

STATEMENT = (
    "Counts are guest-visible instructions (QEMU -icount shift=0): path lengths, not cycles.\n"
    "TLB and cache misses cost nothing here, DC ZVA costs one. The measuring loop's own cost is included (3; 7 for a hypercall;\n"
    "14 for a touch; 15 for an SGI). Trace off, no pool of zeroed frames but where a row says so, hot path warm.")
HYP_PEERS = (("kvm_vhe", "KVM VHE"), ("kvm_nvhe", "KVM nVHE"), ("xen", "Xen"), ("bao", "Bao"), ("xvisor", "Xvisor"))
GUEST_PEERS = (("linux", "Linux"),)
BOOT_GROWTH = 1.01  # twice the RAM may cost this much more


def load_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def human(value):
    """1234567 -> "1,234,567"; one decimal below 1000 where there is one; text stays as it is."""
    if value is None or value == "":
        return "-"
    match = re.match(r"([0-9.]+)(.*)", str(value))
    if not match or re.match(r" (per|text)", match[2]):
        return str(value)
    number, rest = float(match[1]), match[2]
    shown = f"{number:,.1f}" if number < 1000 and number != int(number) else f"{number:,.0f}"
    return shown + rest


# --- shapes: a table is a list of rows of text, the head first


def aligned(cells, left):
    """Lines of text; columns whose numbers are in `left` begin at the left, the others end at the right."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return ["  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip() for row in cells]


def markdown(title, cells):
    head, *body = cells
    return ["", f"## {title}", "", "| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"] + \
        ["| " + " | ".join(row) + " |" for row in body]


def write_csv(path, columns, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class Table:
    """Rows of peers.csv joined with results {(cpu, "bare" or "ours"): {row: count}}."""

    def __init__(self, rows, results):
        self.rows, self.results = rows, results
        self.missed = []
        self.lines = [self._line(row) for row in rows]

    def count(self, cpu, kind, key):
        return self.results.get((cpu, kind), {}).get(key)

    def target(self, row, cpu):
        if row["key"] == "boot-second-2g":
            one = self.count(cpu, "ours", "boot-second")
            return one * BOOT_GROWTH if one else None
        text = (cpu == "cortex-a72" and row["target_a72"]) or row["target"]
        return float(text) if text else None

    def _line(self, row):
        line = dict(row, bare=self.count("max", "bare", row["key"]))
        for cpu, name in (("max", "max"), ("cortex-a72", "a72")):
            ours, target = self.count(cpu, "ours", row["key"]), self.target(row, cpu)
            line[f"ours_{name}"], line[f"target_{name}"] = ours, target
            line[f"met_{name}"] = "" if ours is None or target is None else "met" if ours <= target else "missed"
            if line[f"met_{name}"] == "missed":
                self.missed.append((row["key"], cpu))
        return line

    def missing(self, cpus):
        return [f"{row['operation']} on {cpu}" for row in self.rows for cpu in cpus if self.count(cpu, "ours", row["key"]) is None]

    # --- shapes

    @staticmethod
    def _is_measured(line):
        """Of a part of the runs, only its own rows are shown."""
        return any(line[key] is not None for key in ("bare", "ours_max", "ours_a72"))

    def _cells(self, table):
        peers = HYP_PEERS if table == "hyp" else GUEST_PEERS
        bare = [("bare", "bare")] if table == "hyp" else []
        head = ["operation"] + [title for _, title in bare + list(peers)] + ["target", "ours (max)", "", "ours (a72)", ""]
        body = []
        for line in (line for line in self.lines if line["table"] == table and self._is_measured(line)):
            name = line["operation"] + (f" ({line['unit']})" if line["unit"] else "")
            target = human(line["target_max"])
            if line["target_a72"] != line["target_max"] and table == "hyp" and line["target_a72"]:
                target += f" (a72 {human(line['target_a72'])})"
            body.append([name] + [human(line[key]) for key, _ in bare + list(peers)] +
                        [target, human(line["ours_max"]), line["met_max"], human(line["ours_a72"]), line["met_a72"]])
        return [head] + body

    def text(self):
        out = ["", STATEMENT]
        for table, title in (("hyp", "Hypervisor (same guest payload)"), ("guest", "Guest kernel (same static test program)")):
            cells = self._cells(table)
            if len(cells) == 1:
                continue
            out += ["", title] + aligned(cells, {0, len(cells[0]) - 1, len(cells[0]) - 3})
        met = sum(line[k] == "met" for line in self.lines for k in ("met_max", "met_a72"))
        out += ["", f"targets: {met} met, {len(self.missed)} missed"]
        return "\n".join(out)

    def markdown(self):
        out = [STATEMENT]
        for table, title in (("hyp", "Hypervisor"), ("guest", "Guest kernel")):
            cells = self._cells(table)
            out += markdown(title, cells) if len(cells) > 1 else []
        return "\n".join(out) + "\n"

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.md").write_text(self.markdown())
        write_csv(folder / "bench.csv",
                  ["table", "key", "operation", "unit", "bare", "kvm_vhe", "kvm_nvhe", "xen", "bao", "xvisor", "linux",
                   "target_max", "ours_max", "met_max", "target_a72", "ours_a72", "met_a72"], self.lines)
