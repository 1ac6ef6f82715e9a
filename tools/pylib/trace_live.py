# SPDX-License-Identifier: BSD-2-Clause
"""The checker of tools/trace-check beside a running machine: records are read out of the file behind its RAM as they come, so a run may be longer than its rings.

CPUs that run freely write records a little out of order (one may be held up between the clock and the ring), so each is looked at when LAG_S of the machine's time
have passed since. If the reader falls behind, the machine is stopped for a moment (SIGSTOP): no record is lost."""

import itertools
import mmap
import os
import signal
import subprocess
import time
from collections import deque
from pathlib import Path

import trace_records as tr
from trace_check import Checker, find_guards

ROOT = Path(__file__).resolve().parent.parent.parent
LAG_S = 3
POLL_S = 0.1
PIECE = 10_000  # records looked at between two reads
BEHIND_MAX = 0.2  # of a ring, not read
BACKLOG_MAX = 1_000_000  # records read, not looked at


class Area:
    """The trace area of a machine that runs."""

    def __init__(self, path):
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.at = tr.find_in_sparse_file(file.fileno(), size)
            self.ram = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        _, _, _, self.rings, self.per_ring, self.ring_bytes, self.mask, self.hz, *_ = tr.HEADER.unpack_from(self.ram, self.at)
        self.seen = [0] * self.rings

    def written(self, cpu):
        return tr.RING.unpack_from(self.ram, self.at + tr.HEADER.size + cpu * tr.RING.size)[0]

    def behind(self):
        """The part of a ring that is not read yet; of the fullest one."""
        return max(self.written(cpu) - self.seen[cpu] for cpu in range(self.rings)) / self.per_ring

    def new(self, cpu):
        """Records that have come to a ring; up to one that is being written. TraceError if some are gone."""
        base, found = self.at + tr.PAGE + cpu * self.ring_bytes, []
        for seq in range(self.seen[cpu], self.written(cpu)):
            fields = tr.RECORD.unpack_from(self.ram, base + seq % self.per_ring * tr.RECORD.size)
            if fields[0] != seq:
                if fields[0] != tr.NOT_WRITTEN and fields[0] > seq:
                    raise tr.TraceError(f"CPU {cpu}: record {seq} was overwritten before it was read")
                break
            found.append(tr.Record(*fields[:7], fields[7:]))
        self.seen[cpu] += len(found)
        return found


class Live:
    """The checker, fed as records come."""

    def __init__(self, area, bbm2=True):
        self.area = area
        self.waiting = [deque() for _ in range(area.rings)]
        self.vttbr = [None] * area.rings  # last one that the checker has seen of each CPU
        self.last = {}  # sequence number of each table set
        self.checker = Checker(tr.Trace(area.mask, area.hz, area.per_ring, [[] for _ in range(area.rings)], [0] * area.rings, [0] * area.rings), bbm2)
        self.records = 0

    def read(self):
        for cpu, waiting in enumerate(self.waiting):
            found = self.area.new(cpu)
            if found:
                waiting.extend(found)
                self.checker.guards[cpu] = {seq for seq in self.checker.guards[cpu] if seq >= waiting[0].seq}
                self.checker.guards[cpu] |= find_guards(list(waiting), self.vttbr[cpu], self.checker.guards[cpu])

    def ripe(self, until):
        """Records up to that time, in one order, as trace_records.merged() has it."""
        while True:
            ready = sorted((ring[0].time, cpu) for cpu, ring in enumerate(self.waiting) if ring)
            if not ready or ready[0][0] > until:
                return
            cpu = next((cpu for _, cpu in ready if tr.is_next(self.waiting[cpu][0], self.last)), ready[0][1])
            record = self.waiting[cpu].popleft()
            tr.note_table(record, self.last)
            if record.type == tr.VTTBR:
                self.vttbr[cpu] = record.arg[0]
            self.records += 1
            yield record

    def backlog(self):
        return sum(len(ring) for ring in self.waiting)

    def look(self, everything=False):
        """Read what there is, look at some of it. True if there was enough to go on at once."""
        self.read()
        newest = max((ring[-1].time for ring in self.waiting if ring), default=0)
        before = self.records
        self.checker.feed(itertools.islice(self.ripe(newest if everything else newest - LAG_S * self.area.hz), None if everything else PIECE))
        return self.records - before == PIECE


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for_area(path, pid):
    while True:
        try:
            return Area(path)
        except (tr.TraceError, OSError, ValueError):
            if not alive(pid):
                raise tr.TraceError(f"{path}: no trace area, and the machine is gone") from None
        time.sleep(0.05)


def follow(path, pid, bbm2=True):
    """Until the machine is gone, or something is found. Returns the Live."""
    live = Live(wait_for_area(path, pid), bbm2)
    if not live.checker.found.group_on("pt"):
        raise tr.TraceError('group "pt" is off: nothing to check')
    while alive(pid) and not live.checker.errors:
        more = live.look()
        if live.area.behind() > BEHIND_MAX or live.backlog() > BACKLOG_MAX:
            stand_still(live, pid)
        elif not more:
            time.sleep(POLL_S)
    if not live.checker.errors:
        live.look(everything=True)
        live.checker.at_end()
    return live


def stand_still(live, pid):
    """The machine waits until the reader has come up."""
    try:
        os.kill(pid, signal.SIGSTOP)
        try:
            while live.look() and not live.checker.errors and live.backlog() > BACKLOG_MAX / 2:
                pass
        finally:
            os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass


class Beside:
    """`tools/trace-check --follow` as a process of its own beside a machine: for run_headless(beside=...), then ask for its finding()."""

    def __init__(self, ram, bbm2=True):
        self.ram, self.bbm2, self.child = ram, bbm2, None

    def __call__(self, process):
        words = [ROOT / "tools/trace-check", "--follow", str(process.pid), *([] if self.bbm2 else ["--no-bbm2"]), self.ram]
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finding(self):
        """Once the machine is off: (in order?, what it says)."""
        said, _ = self.child.communicate(timeout=300)
        return self.child.returncode == 0, said.strip()
