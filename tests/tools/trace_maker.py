# SPDX-License-Identifier: BSD-2-Clause
"""Traces made up for tests: a small hypervisor on paper that does everything right unless a test tells it not to."""

import struct

import trace_records as tr

RAM = 0x4000_0000
ROOT, TABLE, FRAME = 0x8000_0000, 0x8001_0000, 0x9000_0000
PAGE_BITS, BLOCK_BITS = 0x7FF, 0x7FD  # stage 2, Normal, RWX, AF; page and block
L2 = RAM | 2
ALL_GROUPS = 0x3FF


class Maker:
    """Records by CPU, one time for all: each call is one tick later. `skip` and `swap` name steps to leave out or do otherwise."""

    def __init__(self, cpus=2):
        self.rings = [[] for _ in range(cpus)]
        self.time = 1000
        self.seq = {}
        self.vttbr = [0] * cpus

    def add(self, cpu, kind, *arg, vmid=0, vm=0, time=None):
        self.time += 1
        arg = tuple(arg) + (0,) * (5 - len(arg))
        self.rings[cpu].append(tr.Record(len(self.rings[cpu]), time or self.time, kind, vmid, vm, 0, cpu, arg))

    # ---- What EL2 does ----

    def load(self, cpu, vmid, root=ROOT):
        """VTTBR_EL2, and the guest runs."""
        self.vttbr[cpu] = vmid
        self.add(cpu, tr.VTTBR, vmid << 48 | root, vmid=vmid)
        self.add(cpu, tr.ISB)
        self.add(cpu, tr.EXIT, vm=1)

    def pte(self, cpu, entry, old, new, where, ident=1, vmid=1):
        self.seq[ident] = self.seq.get(ident, 0) + 1
        self.add(cpu, tr.PTE_WRITE, entry, old, new, where, ident << 32 | self.seq[ident], vmid=vmid)

    def dsb(self, cpu, kind="ish"):
        self.add(cpu, tr.DSB, 1 if kind == "ish" else 0)

    def tlbi(self, cpu, op, *arg, vmid=None):
        self.add(cpu, tr.TLBI, op, *arg, vmid=self.vttbr[cpu] if vmid is None else vmid)

    def flush(self, cpu, ia, size=4096, level=0, skip=(), op=tr.IPAS2E1IS, vmid=None):
        """The whole sequence of design section 5, less the steps in `skip`."""
        steps = {
            "dsb-ishst": lambda: self.dsb(cpu, "ishst"),
            "ipa": lambda: self.tlbi(cpu, op, ia, size, level, vmid=vmid),
            "dsb-ipa": lambda: self.dsb(cpu),
            "all": lambda: self.tlbi(cpu, tr.VMALLE1IS, vmid=vmid),
            "dsb-all": lambda: self.dsb(cpu),
            "isb": lambda: self.add(cpu, tr.ISB),
        }
        for name, step in steps.items():
            if name not in skip:
                step()

    def flush_vmid(self, cpu, vmid=None, op=tr.VMALLS12E1IS):
        self.dsb(cpu, "ishst")
        self.tlbi(cpu, op, vmid=vmid)
        self.dsb(cpu)
        self.add(cpu, tr.ISB)

    def guarded(self, cpu, vmid, root, body):
        """`body` under another VMID."""
        before = next((r.arg[0] for r in reversed(self.rings[cpu]) if r.type == tr.VTTBR), 0)
        self.add(cpu, tr.VTTBR, vmid << 48 | root, vmid=vmid)
        self.vttbr[cpu] = vmid
        body()
        self.add(cpu, tr.VTTBR, before, vmid=before >> 48)
        self.vttbr[cpu] = before >> 48

    def frame(self, cpu, address, new, old="owned", order=0, owner=0):
        states = tr.FRAME_STATES
        self.add(cpu, tr.FRAME_STATE, address >> 12, order, states.index(old), states.index(new) | owner << 8)

    # ---- Tables ----

    def build(self, ident=1, root=ROOT, table=TABLE, pages=4, frame=FRAME, vmid=1):
        """A root at level 1, a level-2 table with one block and one level-3 table with `pages` pages."""
        low = table + 0x1000
        self.add(0, tr.TABLE_ALLOC, table >> 12, 2, RAM, 0, ident << 32)
        self.pte(0, root + 8, 0, table | 3, RAM | 1, ident, vmid)
        self.pte(0, table + 8, 0, frame + 0x20_0000 | BLOCK_BITS, RAM + 0x20_0000 | 2, ident, vmid)
        self.add(0, tr.TABLE_ALLOC, low >> 12, 3, RAM, 0, ident << 32)
        for i in range(pages):
            self.pte(0, low + 8 * i, 0, page(i, frame), at(i), ident, vmid)
        self.pte(0, table, 0, low | 3, RAM | 2, ident, vmid)
        self.dsb(0, "ishst")

    def unmap(self, cpu, i, vmid=1):
        self.pte(cpu, entry(i), page(i), 0, at(i), vmid=vmid)

    # ---- Out ----

    def trace(self, lost=0, mask=ALL_GROUPS):
        return tr.Trace(mask, 62_500_000, 4096, self.rings, [len(r) for r in self.rings], [lost] + [0] * (len(self.rings) - 1))

    def bytes(self, per_ring=256, mask=ALL_GROUPS):
        """The trace area as it stands in memory."""
        counts = b"".join(tr.RING.pack(len(r), max(0, len(r) - per_ring)) for r in self.rings)
        head = tr.HEADER.pack(tr.MAGIC, tr.VERSION, 64, len(self.rings), per_ring, per_ring * 64, mask, 62_500_000, 0, 0, 0, 0) + counts
        area = bytearray(head.ljust(tr.PAGE, b"\0"))
        for ring in self.rings:
            slots = bytearray(struct.pack("<Q", 0) * 8 * per_ring)
            for r in ring:
                tr.RECORD.pack_into(slots, r.seq % per_ring * 64, r.seq, r.time, r.type, r.vmid, r.vm, r.vcpu, r.cpu, *r.arg)
            area += slots
        return bytes(area)


def page(i, frame=FRAME):
    return frame + i * 0x1000 | PAGE_BITS


def entry(i, table=TABLE):
    return table + 0x1000 + 8 * i


def at(i):
    return RAM + i * 0x1000 | 3
