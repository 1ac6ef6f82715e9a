# SPDX-License-Identifier: BSD-2-Clause
"""Samples out of a trace, properties changed from the command line, and reports: on traces and scenarios made up here."""

import re
import struct
import subprocess
from pathlib import Path

import overrides
import plots
import pytest
import run_plots
import samples
import sweep_plots
import trace_records as tr
from trace_maker import Maker

TREE = Path(__file__).resolve().parent.parent.parent
SCENARIO = """/dts-v1/;
/ { compatible = "sluice,scenario";
    vms { alpha { compatible = "sluice,vm"; memory-mib = <64>; force-4k; }; beta { compatible = "sluice,vm"; memory-mib = <32>; }; };
    timeline { end { run = "vms"; }; }; };
"""


def pair(low, high=0):
    return low | high << 32


def sample(maker, number, resident, moved=0, measured=True):
    """Zone 0 and VM 1 of one sample, 1 ms after the last."""
    maker.time += 62_500
    maker.add(0, tr.SAMPLE_ZONE, pair(0, number), pair(1000, 1000 - resident), pair(3, 4), pair(16, 20), 0)
    maker.add(0, tr.SAMPLE_ORDERS, pair(0, number), pair(1, 2), pair(3, 4), pair(5, 6), pair(7, 8))
    maker.add(0, tr.SAMPLE_ORDERS, pair(8 << 16, number), pair(9, 10), pair(11))
    if number == 0:
        maker.add(0, tr.SAMPLE_NAME, pair(1, 0), *struct.unpack("<4Q", b"alpha".ljust(32, b"\0")))
    maker.add(0, tr.SAMPLE_VM, pair(1, number), pair(512, resident), pair(20, 30), pair(40, 50), pair(400, 1))
    maker.add(0, tr.SAMPLE_EVENTS, pair(1, number), pair(resident, 2), pair(3, 4), pair(moved, 6), 1 << 40)
    maker.add(0, tr.SAMPLE_POLICY, pair(1, number), pair(70, tr.UNKNOWN if number == 2 else 80), 1000 + 50_000 * number if measured else tr.NOT_WRITTEN,
              9000 if measured else tr.NOT_WRITTEN, pair(7 + 10_000 * number, 8))


def mark(maker, what, number, name):
    maker.add(0, tr.SAMPLE_MARK, pair(what, number), *struct.unpack("<4Q", name.ljust(32, b"\0")))


def made_up():
    maker = Maker(cpus=1)
    mark(maker, 0, 0, b"begin")
    mark(maker, 1, 0, b"full")
    for number, resident in enumerate((256, 512, 0)):
        sample(maker, number, resident, moved=number)
    return maker


def test_rows():
    step, looked, zone, vm = samples.rows_of(made_up().trace(), "7", "a=b")[:4]
    assert [(row["scope"], row["name"], row["time_us"]) for row in (step, looked)] == [("step", "begin", 0), ("memmap", "full", 0)]
    assert (zone["scope"], zone["name"], zone["free_kib"], zone["cached_kib"], zone["zeroed_kib"], zone["min_kib"]) == ("zone", "0", 744 * 4, 12, 16, 64)
    assert [zone[f"free_order{n}_blocks"] for n in range(11)] == list(range(1, 12))
    assert (vm["run"], vm["parameters"], vm["scope"], vm["name"]) == ("7", "a=b", "vm", "alpha")
    assert [vm[c] for c in samples.VM_COLUMNS] == [2048, 1024, 80, 120, 160, 200, 24, 1600, 1, 280, 320, 256, 2, 3, 4, 0, 1 << 40, 7, 8, 1000, 9000]
    last = samples.rows_of(made_up().trace())[-1]
    assert last["working_set_kib"] == 280 and "target_kib" not in last


def test_what_is_not_measured_is_not_said():
    maker = Maker(cpus=1)
    sample(maker, 0, 5, measured=False)
    row = samples.rows_of(maker.trace())[-1]
    assert row["released_pages_count"] == 7 and "el2_instructions" not in row and "tlbis_count" not in row


def test_cost_per_page_of_what_prevailed():
    rows = samples.by_name(samples.rows_of(made_up().trace()), "vm")["alpha"]
    assert [(kind, round(y)) for kind, points in run_plots.costs_of(rows, plots.Clock(1000)).items() for _, y in points] == [("released_pages_count", 5)]


def test_footprint_is_the_integral():
    rows = samples.by_name(samples.rows_of(made_up().trace()), "vm")["alpha"]
    assert samples.footprint_mib_s(rows) == pytest.approx((1 + 2) * 0.001, rel=0.01)


def test_csv_there_and_back():
    rows = samples.rows_of(made_up().trace())
    text = samples.to_csv(rows)
    assert text.splitlines()[0] == ",".join(samples.COLUMNS)
    assert samples.from_csv(text) == [{**row, "run": "1", "parameters": ""} for row in rows]
    with pytest.raises(samples.SampleError):
        samples.from_csv("run,name\n1,alpha\n")


def test_no_samples_and_lost_ones():
    with pytest.raises(samples.SampleError, match="sample-ms"):
        samples.rows_of(Maker(cpus=1).trace())
    with pytest.raises(samples.SampleError, match="lost"):
        samples.rows_of(made_up().trace(lost=3))


# ---- overrides ----

@pytest.fixture
def blob(tmp_path):
    (tmp_path / "s.dts").write_text(SCENARIO)
    subprocess.run(["dtc", "-q", "-O", "dtb", "-o", tmp_path / "s.dtb", tmp_path / "s.dts"], check=True)
    return tmp_path / "s.dtb"


def value(blob, node, name, kind="u"):
    done = subprocess.run(["fdtget", "-t", kind, blob, node, name], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


@pytest.mark.parametrize("text, node, name, kind, expected", [
    ("vms/alpha/memory-mib=128", "/vms/alpha", "memory-mib", "u", "128"),
    ("vms/beta/memory-mib=0x40", "/vms/beta", "memory-mib", "u", "64"),
    ("vms/beta/bootargs=run=hog", "/vms/beta", "bootargs", "s", "run=hog"),
    ("vms/beta/force-4k=on", "/vms/beta", "force-4k", "s", ""),
    ("vms/alpha/force-4k=off", "/vms/alpha", "force-4k", "s", None),
    ("vms/beta/force-4k=off", "/vms/beta", "force-4k", "s", None),
    ("hypervisor/sample-ms=5", "/hypervisor", "sample-ms", "u", "5"),
    ("hypervisor/trace=vm+frame", "/hypervisor", "trace", "s", "vm frame"),
    ("sluice,machine-cpus=2", "/", "sluice,machine-cpus", "u", "2"),
    ("vms/alpha/cpu-affinity=0 1", "/vms/alpha", "cpu-affinity", "u", "0 1"),
])
def test_override(blob, text, node, name, kind, expected):
    overrides.apply(blob, text)
    assert value(blob, node, name, kind) == expected


@pytest.mark.parametrize("text, said", [
    ("vms/alpha/memory-mib", "say NODE/PROPERTY=VALUE"),
    ("vms/alpah/memory-mib=2", "no node `alpah` in /vms (did you mean `alpha`?)"),
    ("vms/alpha/memory-mb=2", "no property `memory-mb` (did you mean `memory-mib`?)"),
    ("vms/alpha/memory-mib=many", "a number is wanted, not `many`"),
    ("vms/alpha/force-4k=1", "a flag is on or off"),
    ("vms/alpha/image=3", "cannot be changed here"),
    ("images/x/data=3", "no node `images` in /"),
    ("hypervisor/trace=vm++frame", "an empty string"),
])
def test_override_refused(blob, text, said):
    before = blob.read_bytes()
    with pytest.raises(overrides.OverrideError) as error:
        overrides.apply(blob, text)
    assert said in str(error.value)
    assert blob.read_bytes() == before


def test_combinations():
    assert overrides.combinations(["a=1,2", "b=x,y"]) == [["a=1", "b=x"], ["a=1", "b=y"], ["a=2", "b=x"], ["a=2", "b=y"]]
    with pytest.raises(overrides.OverrideError):
        overrides.combinations(["a=1,,2"])


def test_rules_are_the_parsers():
    rules = overrides.read_rules()
    assert rules["vms"]["memory-mib"] == "NUMBER" and rules["vms"]["virtio"] == "STRINGS" and rules["hypervisor"]["console-quiet"] == "FLAG"


# ---- reports ----

CONSOLE = "memmap full:   0x40000000 #u.8 #+.a\nmemmap full: a is alpha\n"


def make_report(where, name="r.html", **files):
    """The page, of the CSV there and of what else a run leaves."""
    more = []
    for option, (file, text) in files.items():
        (where / file).write_text(text)
        more += [f"--{option}", f"1={where / file}" if option == "console" else where / file]
    done = subprocess.run([TREE / "tools/experiment-report", where / "samples.csv", where / name, "--title", "one & two", *more], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (where / name).read_text()


def pictures(text):
    """What is drawn, without the swatches of keys."""
    return text.count("<svg") - text.count('<svg width="26"')


def check_page(text):
    assert "http://" not in re.sub(r"http://(www.w3.org|purl.org)", "", text) and "https://" not in text and "<script" not in text  # nothing from elsewhere
    ids = [part.split('"')[0] for part in text.split(' id="')[1:]]
    assert len(ids) == len(set(ids))


def sweep_rows(runs=("1", "2"), maker=made_up):
    return [row for run in runs for row in samples.rows_of(maker().trace(), run, f"vms/alpha/memory-mib={run}")]


def test_report_of_one_run(tmp_path):
    (tmp_path / "samples.csv").write_text(samples.to_csv(samples.rows_of(made_up().trace())))
    runs = "run,parameters,outcome,reason\n1,,PASS,\n"
    made = [make_report(tmp_path, name, console=("console.log", CONSOLE), runs=("runs.csv", runs)) for name in ("a.html", "b.html")]
    assert made[0] == made[1]
    assert pictures(made[0]) == 6 and "one &amp; two" in made[0] and "Ended: PASS." in made[0]
    assert "Physical memory by owner" in made[0] and "A  full, at 0.00 ms: 1 of 4 blocks free" in made[0] and "<li>begin <span>(0.00 ms)" in made[0]
    assert "Did not happen: " not in made[0]
    check_page(made[0])


def test_report_of_a_sweep(tmp_path):
    """A run that failed is told apart, and one that left no samples is in the table still."""
    (tmp_path / "samples.csv").write_text(samples.to_csv(sweep_rows()))
    runs = "run,parameters,outcome,reason\n1,vms/alpha/memory-mib=1,PASS,\n2,vms/alpha/memory-mib=2,FAIL,more: `x` was not written\n3,vms/alpha/memory-mib=4,TIMEOUT,\n"
    text = make_report(tmp_path, runs=("runs.csv", runs))
    assert pictures(text) == 2 + 2 * 5
    assert "2 of 3 runs did not pass" in text and "FAIL (more: `x` was not written)" in text and "alpha/memory-mib = 4" in text and ">alpha/memory-mib<" in text
    check_page(text)


def test_many_vms_with_long_names(tmp_path):
    """Twelve VMs: no two look alike, and every name is in a key."""
    names = [f"a-rather-long-name-of-a-vm-{n:02}" for n in range(12)]
    rows = [{**row, "name": name} for name in names for row in samples.rows_of(made_up().trace()) if row["scope"] == "vm"]
    rows += [row for row in samples.rows_of(made_up().trace()) if row["scope"] != "vm"]
    (tmp_path / "samples.csv").write_text(samples.to_csv(rows))
    text = make_report(tmp_path)
    assert all(text.count(f"</svg>{name}</li>") >= 2 for name in names)
    looks = plots.Looks(names)
    assert len({(looks.colour(name), looks.hatch(name)) for name in names}) == 12 == len({(looks.colour(name), looks.dash(name)) for name in names})


def test_a_vm_that_goes_and_comes_again():
    """Its counts go on from where they were, and nothing is charged to it while it was not there."""
    rows = [{"sample": n, "time_us": 1000 * n, "resident_kib": 1024, "exits_count": count} for n, count in ((0, 5), (1, 9), (7, 2), (8, 3))]
    assert sweep_plots.total_of(rows, "exits_count") == 12
    assert samples.footprint_mib_s(rows) == pytest.approx(0.002)
    assert [len(part) for part in plots.without_gaps(rows)] == [2, 2]


def test_parameters_with_blanks():
    assert sweep_plots.parameters_of("vms/a/cpu-affinity=0 1 vms/a/memory-mib=64") == {"vms/a/cpu-affinity": "0 1", "vms/a/memory-mib": "64"}
    assert sweep_plots.Axis(["64", "0x80", "96"]).place == {"64": 64, "0x80": 128, "96": 96}
    assert sweep_plots.Axis(["wss", "none"]).place == {"wss": 0, "none": 1}


def test_report_of_nothing(tmp_path):
    (tmp_path / "samples.csv").write_text(samples.to_csv([]))
    done = subprocess.run([TREE / "tools/experiment-report", tmp_path / "samples.csv", tmp_path / "r.html"], capture_output=True, text=True)
    assert done.returncode == 1 and "no samples" in done.stderr
