# SPDX-License-Identifier: BSD-2-Clause
"""What bench.py takes from a console, how it compares two measurements, and what the table says about a target."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "tools/pylib")]
import bench  # noqa: E402
import host  # noqa: E402
from table import Table, human, load_rows  # noqa: E402

CONSOLE = """sluice: scenario: bench
bench| bench: hvc-smccc-version 70.0
bench| bench-note: fault-4k shortest 0 longest 16
bench| bench: CPU_ON refused
bench| bench: done
bench: fork-exit-wait 12345
sluice: boot: vm beta entered at 40000 ticks
sluice: boot: vm alpha entered at 30000 ticks
"""


def test_rows_are_found_behind_a_prefix_and_notes_are_not_rows():
    assert bench.rows_in(CONSOLE) == {"hvc-smccc-version": 70.0, "fork-exit-wait": 12345.0}


def test_boot_rows_are_in_order_of_time_and_in_instructions():
    assert bench.boot_rows_in(CONSOLE) == {"boot-first": 480000.0, "boot-second": 640000.0}
    assert bench.boot_rows_in(CONSOLE, "-2g") == {"boot-first-2g": 480000.0, "boot-second-2g": 640000.0}


def test_differences_name_the_row():
    first = {("max", "ours"): {"a": 1.0, "b": 2.0}}
    assert bench.differences(first, first) == []
    assert bench.differences(first, {("max", "ours"): {"a": 1.0, "b": 2.1}}) == ["b (max ours): 2.0 and then 2.1"]
    assert bench.differences(first, {("max", "ours"): {"a": 1.0}}) == ["b (max ours): 2.0 and then None"]


def results(**rows):
    return {("max", "ours"): {key.replace("_", "-"): value for key, value in rows.items()}}


def table_of(found):
    return Table(load_rows(HERE / "peers.csv"), found)


def line(table, key):
    return next(found for found in table.lines if found["key"] == key)


def test_a_target_is_met_at_its_value_and_missed_above():
    assert line(table_of(results(hvc_smccc_version=70.0)), "hvc-smccc-version")["met_max"] == "met"
    missed = table_of(results(hvc_smccc_version=70.1))
    assert line(missed, "hvc-smccc-version")["met_max"] == "missed"
    assert missed.missed == [("hvc-smccc-version", "max")]


def test_cortex_a72_may_have_its_own_target():
    found = {("max", "ours"): {"fault-2m": 99000.0}, ("cortex-a72", "ours"): {"fault-2m": 99000.0}}
    row = line(table_of(found), "fault-2m")
    assert (row["met_max"], row["met_a72"]) == ("missed", "met")


def test_twice_the_memory_may_cost_one_percent_more():
    assert line(table_of(results(boot_second=1000.0, boot_second_2g=1010.0)), "boot-second-2g")["met_max"] == "met"
    assert line(table_of(results(boot_second=1000.0, boot_second_2g=1011.0)), "boot-second-2g")["met_max"] == "missed"


def test_a_row_without_a_figure_is_missing():
    assert any("GICD_TYPER" in text for text in table_of({}).missing(["max"]))


def test_numbers_for_people():
    assert [human(v) for v in (None, "", 103.8, 3.0, "17056", "no trap", "407000 (static)", "395 per 4 KiB at boot")] == \
        ["-", "-", "103.8", "3", "17,056", "no trap", "407,000 (static)", "395 per 4 KiB at boot"]


def test_each_run_has_a_scenario_or_modes_and_a_name_of_its_own():
    assert len({run.name for run in bench.RUNS}) == len(bench.RUNS)
    assert all(bool(run.scenario) != bool(run.modes) for run in bench.RUNS)


# --- on the host

CSV = """kind,occupancy,unmovable,policy,before,bound,reached,moved,least,counts
aged,70,0,occupancy,60,600,594,10500,10000,1
aged,70,0,classic,60,600,593,10500,10000,1
aged,95,5,occupancy,0,31,0,0,0,0
uniform,70,0,occupancy,0,600,0,0,0,1
uniform,70,0,classic,0,600,0,0,0,1
"""


def test_a_part_of_callgrinds_output_is_a_row():
    part = "version: 1\ndesc: Trigger: Client Request: hot-order0 200\nevents: Ir\nsummary: 20400\n\nfn=(1) x\n12 5\ntotals: 20400\n"
    assert host.counts_in(part) == {"hot-order0": 102.0}
    assert host.counts_in("desc: Trigger: Program termination\nsummary: 9\n") == {}


def test_compaction_is_judged_at_99_percent_and_5_percent_more_moves():
    found = host.summarise(host.read_layouts([CSV]))
    assert found == {"compaction-counted": 1, "compaction-free-worst": 99, "compaction-moved-worst": 1.05, "compaction-missed": 0,
                     "compaction-classic-missed": 100}


def test_layouts_that_do_not_count_and_the_control_are_not_judged():
    assert host.summarise(host.read_layouts([CSV.replace("600,594", "600,0").replace(",1\n", ",0\n")])) == {}


def host_table(**sections):
    return host.HostTable(HERE / "targets.csv", sections)


def test_a_host_target_has_a_better_side():
    table = host_table(threads={"threads-hot-order0": 1.9, "threads-bulk-order0": 1.89}, alloc={"hot-order0": 80.0, "bulk-order0": 120.1})
    met = {row["key"]: row["met"] for row in table.rows}
    assert (met["threads-hot-order0"], met["threads-bulk-order0"], met["hot-order0"], met["bulk-order0"]) == ("met", "missed", "met", "missed")
    assert table.missed == ["bulk-order0", "threads-bulk-order0"]
    assert "two threads, order 9, bulk" in table.missing


def test_sections_that_did_not_run_are_not_missing():
    assert host_table(workload={"workload-order9-served": 99.5}).missed == []
    assert not any("two threads" in text for text in host_table(workload={}).missing)
