# SPDX-License-Identifier: BSD-2-Clause
"""The checker beside a machine: records that come bit by bit lead to what the whole trace leads to, and none is missed unnoticed."""

import contextlib
import subprocess
import time

import pytest
import trace_live
import trace_records as tr
from machine import ROOT as TREE
from trace_check import Checker
from trace_maker import FRAME, RAM, ROOT, Maker, at, entry, page

TICKS = 24  # of lag: more than any sequence of maintenance here takes


@pytest.fixture(autouse=True)
def lag(monkeypatch):
    monkeypatch.setattr(trace_live, "LAG_S", TICKS / 62_500_000)
    monkeypatch.setattr(trace_live, "PIECE", 3)


def two_vms(skip=()):
    """A page of VM 1 is taken back from under it, flushed from VM 2's CPU, and freed; again and again."""
    m = Maker()
    m.build()
    m.load(0, 1)
    m.build(ident=2, root=0xA000_0000, table=0xA001_0000, frame=0xB000_0000, vmid=2)
    m.load(1, 2, 0xA000_0000)
    for n in range(8):
        i = n % 4
        m.unmap(1, i)
        m.guarded(1, 1, ROOT, lambda: m.flush(1, RAM + i * 0x1000, skip=skip))
        m.frame(1, FRAME + i * 0x1000, "free")
        m.add(0, tr.EXIT, vm=1)
        m.pte(0, entry(i), 0, page(i), at(i))
        m.add(1, tr.EXIT, vm=2)
    for _ in range(TICKS):
        m.add(0, tr.EXIT, vm=1)
    return m


def write(where, m, count, per_ring=256):
    """The first `count` records, in order of time, stand in the area."""
    shown = Maker()
    for record in sorted((r for ring in m.rings for r in ring), key=lambda r: r.time)[:count]:
        shown.rings[record.cpu].append(record)
    area = shown.bytes(per_ring)
    with open(where, "r+b" if where.exists() else "wb", buffering=0) as file:
        file.seek(tr.PAGE)
        file.write(area[tr.PAGE:])
        file.seek(0)
        file.write(area[:tr.PAGE])  # what counts the records last, as the hypervisor does


@pytest.mark.parametrize("skip", [(), ("all",), ("ipa",), ("dsb-ishst",)])
@pytest.mark.parametrize("piece", [1, 2, 7, 50])
def test_bit_by_bit(tmp_path, skip, piece):
    m, where = two_vms(skip), tmp_path / "ram"
    total = sum(len(ring) for ring in m.rings)
    write(where, m, 0)
    live = trace_live.Live(trace_live.Area(where))
    for count in range(0, total + piece, piece):
        write(where, m, count)
        while live.look():
            pass
    live.look(everything=True)
    live.checker.at_end()
    whole = Checker(m.trace())
    assert live.checker.errors[:20] == whole.run() and live.checker.counts == whole.counts and live.records == total
    assert bool(live.checker.errors) == bool(skip)


def test_what_was_overwritten_is_missed(tmp_path):
    m, where = two_vms(), tmp_path / "ram"
    write(where, m, 4, per_ring=16)
    live = trace_live.Live(trace_live.Area(where))
    live.look()
    write(where, m, 1000, per_ring=16)
    with pytest.raises(tr.TraceError, match="overwritten"):
        live.look()


@pytest.mark.parametrize("skip, status", [((), 0), (("all",), 1)])
def test_beside_a_process_that_ends(tmp_path, skip, status):
    m, where = two_vms(skip), tmp_path / "ram"
    write(where, m, 1000)
    with subprocess.Popen(["sleep", "0.5"]) as machine:
        done = subprocess.run([TREE / "tools/trace-check", "--follow", str(machine.pid), where], capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    assert ("in order" in done.stdout) == (status == 0) and "30 descriptor writes" in done.stdout


def test_rings_go_round_many_times(tmp_path):
    """Of 16 records each, for some hundred: nothing is missed as long as the reader keeps up, and what is broken in the last round is found."""
    for skip in ((), ("all",)):
        m, where = two_vms(skip), tmp_path / f"ram{len(skip)}"
        total = sum(len(ring) for ring in m.rings)
        write(where, m, 0, per_ring=16)
        live = trace_live.Live(trace_live.Area(where))
        for count in range(0, total + 8, 8):
            write(where, m, count, per_ring=16)
            while live.look():
                pass
        live.look(everything=True)
        assert live.records == total > 6 * 16 and bool(live.checker.errors) == bool(skip)


@contextlib.contextmanager
def beside_a_machine(where):
    """A process that stands for QEMU, and tools/trace-check beside it. It runs until it is killed."""
    with subprocess.Popen(["sleep", "60"]) as machine:
        follower = subprocess.Popen([TREE / "tools/trace-check", "--follow", str(machine.pid), where], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            yield machine, follower
        finally:
            machine.kill()
            follower.kill()


def later(m, ticks):
    """The machine runs on: so much later than what was last."""
    m.time += ticks
    m.add(0, tr.EXIT, vm=1)
    m.add(1, tr.EXIT, vm=2)


def test_a_violation_is_found_while_the_machine_runs(tmp_path):
    good, bad, where = two_vms(), two_vms(skip=("all",)), tmp_path / "ram"
    later(bad, 10 * 62_500_000)  # beyond the lag, as it is outside of this test
    write(where, good, 20)
    with beside_a_machine(where) as (machine, follower):
        time.sleep(0.5)
        assert follower.poll() is None
        write(where, bad, 1000)
        said, _ = follower.communicate(timeout=30)
        assert machine.poll() is None and follower.returncode == 1 and "broken" in said


def test_lost_records_end_it_with_a_word(tmp_path):
    m, where = two_vms(), tmp_path / "ram"
    write(where, m, 8, per_ring=16)
    with beside_a_machine(where) as (_, follower):
        time.sleep(0.5)
        write(where, m, 1000, per_ring=16)
        said, _ = follower.communicate(timeout=30)
        assert follower.returncode == 2 and "was overwritten before it was read" in said and "Traceback" not in said


def test_the_end_of_the_machine_is_the_end(tmp_path):
    """What came last is looked at, too, although nothing came after it."""
    for skip, status in (((), 0), (("all",), 1)):
        m, where = two_vms(skip), tmp_path / f"ram{status}"
        write(where, m, 1000)
        with beside_a_machine(where) as (machine, follower):
            time.sleep(0.5)
            assert follower.poll() is None
            machine.kill()
            machine.wait()
            said, _ = follower.communicate(timeout=30)
            assert follower.returncode == status and "30 descriptor writes" in said


def test_a_machine_without_a_trace(tmp_path):
    (tmp_path / "ram").write_bytes(bytes(1 << 16))
    with subprocess.Popen(["sleep", "0.3"]) as machine:
        done = subprocess.run([TREE / "tools/trace-check", "--follow", str(machine.pid), tmp_path / "ram"], capture_output=True, text=True)
    assert done.returncode == 2 and "no trace area" in done.stderr
