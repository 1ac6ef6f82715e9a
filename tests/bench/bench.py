#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measure what each operation costs, in guest-visible instructions, and show it beside the peers' figures and the targets.

    tests/bench/bench.py                  everything: -cpu max and cortex-a72, with the hypervisor and without it
    tests/bench/bench.py --only smp       the runs whose name holds "smp"
    tests/bench/bench.py --only host      what runs on this machine: host-alloc, host-threads, host-workload, host-compaction
    tests/bench/bench.py --repeat         everything twice; fails if one count differs

Every run is QEMU with -icount shift=0,sleep=off: one instruction takes one nanosecond of virtual time, so the counts are path
lengths and repeat exactly. They are not cycles. Leaves build/bench/bench.csv, bench.md and one console log for each run, and of what runs
on the host host.csv, host.md and compaction.csv (for tools/plot-compaction).
Exit status: 0, or 1 if a row is missing, a run failed or a count did not repeat; with --strict also if a target was missed.
"""

import argparse
import re
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "tools/pylib"), str(HERE)]
from machine import PASS, QEMU, Machine, MachineError, build_dir, run_headless, scenario_blob  # noqa: E402
import host  # noqa: E402
from table import Table, load_rows  # noqa: E402

CPUS = ("max", "cortex-a72")
NS_PER_TICK = 16  # the counter runs at 62.5 MHz
BARE_TIMEOUT_S = 60

ROW = re.compile(r"\bbench: ([a-z0-9-]+) ([0-9]+(?:\.[0-9]+)?)\s*$")
ENTERED = re.compile(r"^sluice: boot: vm (\S+) entered at ([0-9]+) ticks")

MOVED = re.compile(r"^sluice: move: bench: ([0-9]+) of \1 pages moved in ([0-9]+) ticks$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """One start of QEMU. `modes` is for the payload without a hypervisor; else `scenario` is started under it."""

    name: str
    scenario: str = ""
    modes: str = ""
    cpus: int = 1
    memory: int = 0


RUNS = (
    Run("bare-exits", modes="exits,faults4k"),
    Run("bare-smp", modes="cpuon,ipi", cpus=2),
    Run("exits", scenario="bench-exits"),
    Run("fault-4k", scenario="bench-fault-4k"),
    Run("fault-2m", scenario="bench-fault-2m"),
    Run("fault-4k-pool", scenario="bench-fault-4k-pool"),
    Run("fault-2m-pool", scenario="bench-fault-2m-pool"),
    Run("move", scenario="bench-move"),
    Run("smp", scenario="bench-smp"),
    Run("one-cpu", scenario="bench-one-cpu"),
    Run("switch", scenario="bench-switch"),
    Run("boot", scenario="bench-boot"),
    Run("boot-2g", scenario="bench-boot", memory=2048),
    Run("handover-4k", scenario="bench-handover-4k"),
    Run("handover-2m", scenario="bench-handover-2m"),
    Run("managed", scenario="bench-managed"),
    Run("guest", scenario="bench-guest"),
)


def rows_in(console):
    """All `bench: <row> <n>` lines, whatever stands before them: the console puts the VM's name there."""
    found = (ROW.search(line) for line in console.splitlines())
    return {match[1]: float(match[2]) for match in found if match}


def boot_rows_in(console, suffix=""):
    """When the first and the second VM were entered, from EL2's own lines. The payload's counter starts with its VM."""
    entered = [int(match[2]) * NS_PER_TICK for match in map(ENTERED.match, console.splitlines()) if match]
    return {f"boot-{word}{suffix}": float(at) for word, at in zip(("first", "second"), sorted(entered))}


def move_rows_in(console):
    """One page moved by the monitor's `move`, from EL2's own line; the last one, when the tables of free frames are warm."""
    found = [int(ticks) * NS_PER_TICK / int(pages) for pages, ticks in MOVED.findall(console)]
    return {"page-move": found[-1]} if found else {}


def snapshot():
    """Copies of everything that is measured, so that a build meanwhile changes nothing. Returns their folder."""
    to = build_dir() / "bench" / "measured"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    for image in ("hyp/sluice.img", "hyp/sluice.elf", "bench/payload.img"):
        shutil.copy(build_dir() / image, to)
    for scenario in {run.scenario for run in RUNS if run.scenario}:
        shutil.copy(scenario_blob(scenario), to)
    return to


def measured(name):
    return build_dir() / "bench" / "measured" / name


def log_path(run, cpu):
    return build_dir() / "bench" / "logs" / f"{run.name}-{cpu}.log"


def run_bare(run, cpu):
    """The payload at EL1 without a hypervisor."""
    command = [QEMU, "-M", "virt,gic-version=3,dtb-randomness=off", "-cpu", cpu, "-smp", str(run.cpus), "-m", "256M", "-nodefaults",
               "-display", "none", "-monitor", "none", "-no-reboot", "-icount", "shift=0,sleep=off", "-serial", "stdio", "-kernel",
               str(measured("payload.img")), "-append", "mode=" + run.modes]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BARE_TIMEOUT_S)
    log_path(run, cpu).write_text(done.stdout)
    if "bench: done" not in done.stdout:
        raise MachineError(f"{run.name} on {cpu}: the payload did not finish: {done.stderr.strip() or 'see its log'}")
    return rows_in(done.stdout)


def run_scenario(run, cpu):
    blob, image = measured(run.scenario + ".dtb"), measured("sluice.img")
    machine = Machine.for_scenario(blob, cpu=cpu, memory=run.memory or None, icount=True, image=image)
    outcome = run_headless(machine, log_path(run, cpu))
    rows = rows_in(outcome.console)
    if run.scenario == "bench-boot":
        suffix = f"-{run.memory // 1024}g" if run.memory else ""
        rows.update(boot_rows_in(outcome.console, suffix))
    rows.update(move_rows_in(outcome.console))
    if outcome.status != PASS:
        raise MachineError(f"{run.name} on {cpu}: {outcome}")
    return rows


def image_bytes(elf):
    """Text, rodata and data: every allocated section that has bytes in the file (ELF64, little-endian)."""
    blob = elf.read_bytes()
    offset, = struct.unpack_from("<Q", blob, 0x28)
    size, count = struct.unpack_from("<HH", blob, 0x3a)
    total = 0
    for i in range(count):
        kind, flags, _, _, length = struct.unpack_from("<IQQQQ", blob, offset + i * size + 4)
        total += length if flags & 2 and kind != 8 else 0
    return float(total)


def measure(runs, cpus, jobs):
    """{(cpu, "bare" or "ours"): {row: count}} and a list of what went wrong, one line each."""
    results, errors = {}, []
    log_path(runs[0], "").parent.mkdir(parents=True, exist_ok=True)

    def one(job):
        run, cpu = job
        try:
            return run, cpu, (run_bare if run.modes else run_scenario)(run, cpu), None
        except (MachineError, subprocess.TimeoutExpired, OSError) as e:
            return run, cpu, {}, str(e)

    with ThreadPoolExecutor(jobs) as pool:
        for run, cpu, rows, error in pool.map(one, [(run, cpu) for run in runs for cpu in cpus]):
            print(f"  {run.name} on {cpu}: {error or f'{len(rows)} rows'}", file=sys.stderr, flush=True)
            results.setdefault((cpu, "bare" if run.modes else "ours"), {}).update(rows)
            errors += [error] if error else []
    for cpu in cpus:
        results.setdefault((cpu, "ours"), {})["image"] = image_bytes(measured("sluice.elf"))
    return results, errors


def differences(first, second):
    """One line for each count that two measurements do not share."""
    lines = []
    for column in sorted(set(first) | set(second)):
        a, b = first.get(column, {}), second.get(column, {})
        changed = (row for row in sorted(set(a) | set(b)) if a.get(row) != b.get(row))
        lines += [f"{row} ({' '.join(column)}): {a.get(row)} and then {b.get(row)}" for row in changed]
    return lines


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", metavar="WORD", default="", help="only runs whose name holds this")
    parser.add_argument("--cpu", choices=CPUS, action="append", help="only this CPU type")
    parser.add_argument("--repeat", action="store_true", help="measure twice and compare")
    parser.add_argument("--strict", action="store_true", help="fail if a target is missed")
    parser.add_argument("--jobs", type=int, default=2, help="QEMUs at once (the counts do not depend on it)")
    return parser.parse_args()


def bench_machine(args, runs):
    """What runs under QEMU. Prints the table; returns what went wrong and the number of targets missed."""
    cpus = args.cpu or list(CPUS)
    try:
        snapshot()
    except (MachineError, OSError) as e:
        sys.exit(f"bench: {e}: run make first")
    results, errors = measure(runs, cpus, args.jobs)
    if args.repeat:
        again, more = measure(runs, cpus, args.jobs)
        changed = differences(results, again)
        errors += more + [f"did not repeat: {line}" for line in changed]
        print("every count repeated" if not changed else f"{len(changed)} counts did not repeat")
    table = Table(load_rows(HERE / "peers.csv"), results)
    print(table.text())
    table.write(build_dir() / "bench")
    if not args.only:
        errors += [f"no figure for: {line}" for line in table.missing(cpus)]
    return errors, len(table.missed)


def bench_host(args, sections):
    """The same for what runs on this machine."""
    results, errors = host.measure(sections)
    if args.repeat and "alloc" in results:
        again, more = host.measure(["alloc"])
        errors += more + [f"did not repeat: {line}" for line in differences({("host", "alloc"): results["alloc"]}, {("host", "alloc"): again.get("alloc", {})})]
    table = host.HostTable(HERE / "targets.csv", results)
    print(table.text())
    table.write(build_dir() / "bench")
    return errors + [f"no figure for: {line}" for line in table.missing], len(table.missed)


def main():
    args = parse_arguments()
    runs = [run for run in RUNS if args.only in run.name]
    sections = [section for section in host.SECTIONS if args.only in f"host-{section}"]
    errors, missed = [], 0
    if not runs and not sections:
        names = [run.name for run in RUNS] + [f"host-{section}" for section in host.SECTIONS]
        sys.exit(f"bench: no run holds '{args.only}': there are {', '.join(names)}")
    if runs:
        errors, missed = bench_machine(args, runs)
    if sections:
        more, host_missed = bench_host(args, sections)
        errors, missed = errors + more, missed + host_missed
    for line in errors:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if errors or (args.strict and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
