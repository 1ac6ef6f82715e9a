# SPDX-License-Identifier: BSD-2-Clause
"""tools/trace reads what include/abi/trace.h lays down, out of trace.bin and out of a machine's RAM."""

import json
import re
import subprocess

import pytest
import trace_records as tr
from machine import ROOT as TREE
from trace_maker import RAM, Maker


@pytest.fixture
def maker():
    m = Maker()
    m.build()
    m.load(0, 1)
    m.unmap(0, 0)
    m.flush(0, RAM)
    m.add(1, tr.S2_FAULT, RAM + 0x5000, 0x24 << 26 | 0x47, 0x1234, RAM, 0, vm=2)
    m.add(1, tr.HVC, 0x84000000, 0, 0, 0x10001, vm=2)
    return m


@pytest.fixture
def path(maker, tmp_path):
    where = tmp_path / "trace.bin"
    where.write_bytes(maker.bytes())
    return where


def run(*args):
    return subprocess.run([TREE / "tools/trace", *args], capture_output=True, text=True)


def names_in(header, first, last):
    """Enumerators of trace.h between two, in order."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    body = text[text.index(first):text.index(last)]
    return re.findall(r"\b(TRACE_[A-Z0-9_]+|FRAME_[A-Z0-9_]+)\b", body)


def test_names_match_the_header():
    header = (TREE / "include/abi/trace.h").read_text()
    types = names_in(header, "TRACE_NONE", "TRACE_TYPES")
    assert [t.removeprefix("TRACE_").lower().replace("_", "-") for t in types] == tr.TYPES
    tlbis = names_in(header, "TRACE_TLBI_IPAS2E1IS =", "enum trace_fault_result")
    assert [t.removeprefix("TRACE_").removeprefix("TLBI_").replace("_", " ") for t in tlbis] == tr.TLBIS
    groups = names_in(header, "TRACE_GROUP_FAULT =", "TRACE_GROUPS")
    assert [g.removeprefix("TRACE_GROUP_").lower() for g in groups] == tr.GROUPS
    results = names_in(header, "TRACE_FAULT_MAPPED_4K =", "enum trace_mark {")
    assert len(results) == len(tr.FAULT_RESULTS)
    marks = names_in(header, "TRACE_MARK_STEP =", "struct trace_record {")
    assert [m.removeprefix("TRACE_MARK_").lower() for m in marks] == tr.MARKS
    frames = (TREE / "include/mm/frame.h").read_text()
    states = names_in(frames, "FRAME_RESERVED =", "FRAME_STATES")
    assert [s.removeprefix("FRAME_").lower() for s in states] == tr.FRAME_STATES


def test_every_type_has_words():
    for kind in range(1, len(tr.TYPES)):
        record = tr.Record(0, 0, kind, 0, 0, 0, 0, (0, 0, 0, 0, 0))
        assert kind in tr.FORMATS
        tr.describe(record)


def test_round_trip(maker, path):
    found = tr.load(path)
    assert found.rings == maker.rings
    assert found.problems() == []


def test_print(path):
    lines = run(path).stdout.splitlines()
    assert any("pte-write   vm 1 #3 L3 0x40000000: invalid -> page 0x90000000 [0x7ff]" in text for text in lines)
    assert any("TLBI IPAS2E1IS 0x40000000 +0x1000 vmid 1" in text for text in lines)
    assert any("ipa 0x40005000 data abort" in text and text.endswith("mapped 4 KiB") for text in lines)


def test_filters(path):
    assert len(run(path, "--type", "tlbi").stdout.splitlines()) == 2
    assert len(run(path, "--type", "hvc", "--type", "s2-fault").stdout.splitlines()) == 2
    assert all("cpu1" in text for text in run(path, "--cpu", "1").stdout.splitlines())
    assert len(run(path, "--vm", "2").stdout.splitlines()) == 2
    assert run(path, "--type", "nonsense").returncode == 2


def test_json(path):
    records = [json.loads(text) for text in run(path, "--json", "--vm", "2").stdout.splitlines()]
    assert [r["type"] for r in records] == ["s2-fault", "hvc"]
    assert records[0]["arg"][0] == RAM + 0x5000


def test_summary(path, maker):
    done = run(path, "--summary")
    assert re.search(r"^tlbi\s+2\s+2$", done.stdout, re.MULTILINE)
    assert f"{sum(len(r) for r in maker.rings)} records written, 0 lost" in done.stdout


def test_in_ram(maker, tmp_path):
    """In a sparse file as big as a machine, with a false magic before it."""
    ram = tmp_path / "ram"
    area = maker.bytes()
    with open(ram, "wb") as file:
        file.truncate(256 << 20)
        file.seek(0x1000)
        file.write(b"SLCTRACE but no header")
        file.seek(100 << 20)
        file.write(area)
    assert tr.load(ram).rings == maker.rings


def test_overwritten_records(maker, path):
    path.write_bytes(maker.bytes(per_ring=8))
    found = tr.load(path)
    assert [r.seq for r in found.rings[0]] == list(range(len(maker.rings[0]) - 8, len(maker.rings[0])))
    assert "records lost" in run(path).stderr


def test_slot_in_flight(maker, path):
    data = bytearray(maker.bytes())
    data[tr.PAGE:tr.PAGE + 8] = b"\xff" * 8
    found = tr.parse(bytes(data))
    assert found.rings[0][0].seq == 1
    assert found.problems()


@pytest.mark.parametrize("content", [b"", b"short", b"SLCTRACE" + b"\0" * 5000, b"\0" * 8192],
                         ids=["empty", "short", "no-header", "zeroes"])
def test_no_trace(content, path):
    path.write_bytes(content)
    done = run(path)
    assert done.returncode == 1 and done.stderr.startswith("trace: ") and "Traceback" not in done.stderr


def test_cut_short(maker, path):
    path.write_bytes(maker.bytes()[:-100])
    assert "cut short" in run(path).stderr


def test_no_such_file(tmp_path):
    assert "No such file" in run(tmp_path / "none").stderr
