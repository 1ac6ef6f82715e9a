# SPDX-License-Identifier: BSD-2-Clause
"""Break-before-make, TLB maintenance and VMID discipline, held against a trace (Arm ARM D8.13, D8.14).

QEMU forgives missing barriers and TLBIs; this does not. It follows the tables descriptor by descriptor and keeps, for whatever was
taken out of them, what a TLB may still hold: a stage-2 entry and, from it, combined stage-1+2 entries. An entry is forgotten in steps,
each on record:

    written        the descriptor was made invalid or less permissive
    visible        DSB ISHST (or ISH) on the CPU that wrote it
    ipa flushed    TLBI IPAS2E1IS/RIPAS2E1IS that covers it, under its VMID   +  DSB ISH
    all flushed    TLBI VMALLE1IS under the same VMID                         +  DSB ISH   (VMALLS12E1IS or ALLE1IS do both steps)
    forgotten      ISB

Until then no other translation may be made in its place, and its frame or table may not be freed. What no CPU has had in VTTBR_EL2
since its VMID was last flushed is in no TLB, so a VM that never ran, or that was flushed after it stopped, owes nothing.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import trace_records as tr

ADDRESS = 0x0000FFFFFFFFF000
AF, DBM, PXN, XN = 1 << 10, 1 << 51, 1 << 53, 1 << 54
READ_OR_EL0, WRITE_OR_RO = 1 << 6, 1 << 7
SOFT = READ_OR_EL0 | WRITE_OR_RO | AF | DBM | PXN | XN | 0xF << 55  # may change in a valid leaf
BY_HARDWARE = AF | WRITE_OR_RO
FREED_STATES = [tr.FRAME_STATES.index(name) for name in ("free", "cached", "zeroed")]
WRITTEN, VISIBLE, IPA_ISSUED, IPA_DONE, ALL_ISSUED, ALL_DONE = range(6)
FLUSH_TYPES = (tr.DSB, tr.ISB, tr.TLBI)
SHARED_TLBIS = (tr.IPAS2E1IS, tr.RIPAS2E1IS, tr.VMALLE1IS, tr.VMALLS12E1IS)
ERRORS_MAX = 20


def shift_of(level):
    return 39 - 9 * level


def is_valid(desc):
    return desc & 1


def is_table(desc, level):
    return level < 3 and desc & 3 == 3


def overlap(a, a_size, b, b_size):
    return a < b + b_size and b < a + a_size


@dataclass
class Page:
    """One table: its entries by index, and where it hangs. A root hangs nowhere and is always reachable."""

    address: int
    level: int
    base: int
    root: bool
    entries: dict = field(default_factory=dict)
    parent: "Page" = None

    def reachable(self):
        page = self
        while not page.root:
            if page.parent is None:
                return False
            page = page.parent
        return True


@dataclass
class TableSet:
    """The tables of one regime: 0 for EL2's own, else of a VM or of a vCPU's view."""

    ident: int
    seq: int = 0
    root: int = None
    pages: dict = field(default_factory=dict)
    leaves: dict = field(default_factory=lambda: defaultdict(set))  # (output, shift) -> {(page, index)}

    def __str__(self):
        return tr.set_text(self.ident)


@dataclass
class Stale:
    """Something a TLB may hold that the tables no longer say."""

    tables: TableSet
    vmid: int
    ia: int
    level: int  # of the entry
    desc: int
    writer: int
    when: int
    state: int = WRITTEN
    flusher: int = None
    others_at_write: int = 0

    @property
    def size(self):
        return 1 << shift_of(self.level)

    @property
    def out(self):
        return self.desc & ADDRESS

    @property
    def is_table(self):
        return is_table(self.desc, self.level)

    def __str__(self):
        return f"{self.tables}: {self.ia:#x} ({tr.desc_text(self.desc, self.level)})"


@dataclass
class Cpu:
    vttbr: int = None   # in the register
    loaded: tuple = None  # (vmid, root) that guests run on; a flush under another VMID does not change it
    others: int = 0     # records that are no maintenance: the CPU went on to other things
    pending: list = field(default_factory=list)  # VMIDs flushed whole (None: all), DSB outstanding


def find_guards(ring, value=None, known=()):
    """VTTBR_EL2 writes made only to act under another VMID: a TLBI follows, and the old value comes back, with nothing between.

    `value` is what the register had before; `known` are guards (sequence numbers) that were found already."""
    guards = set()
    for at, record in enumerate(ring):
        if record.type != tr.VTTBR or at in guards or record.seq in known:
            if record.type == tr.VTTBR:
                value = record.arg[0]
            continue
        end, flushed = at + 1, False
        while end < len(ring) and ring[end].type in FLUSH_TYPES:
            flushed |= ring[end].type == tr.TLBI and ring[end].arg[0] in SHARED_TLBIS
            end += 1
        if flushed and end < len(ring) and ring[end].type == tr.VTTBR and ring[end].arg[0] == value:
            guards |= {at, end}
        value = record.arg[0]
    return {ring[at].seq for at in guards}


class Checker:
    def __init__(self, found, bbm2=True):
        self.found = found
        self.bbm2 = bbm2
        self.sets = {}
        self.stale = []
        self.cpus = defaultdict(Cpu)
        self.exposed = defaultdict(set)  # root -> VMIDs under which some TLB may hold its entries
        self.guards = [find_guards(ring) for ring in found.rings]
        self.errors = []
        self.counts = Counter()
        self.handlers = {
            tr.PTE_WRITE: self.pte_write, tr.DSB: self.dsb, tr.ISB: self.isb, tr.TLBI: self.tlbi, tr.VTTBR: self.vttbr,
            tr.TABLE_ALLOC: self.table_alloc, tr.TABLE_FREE: self.table_free, tr.FRAME_STATE: self.frame_state,
        }

    def fail(self, record, text):
        self.errors.append(f"cpu{record.cpu} record {record.seq} ({tr.line(record, self.found).strip()}): {text}")

    def run(self):
        for problem in self.found.problems():
            self.errors.append(problem)
        if not self.errors:
            self.feed(tr.merged(self.found))
            self.at_end()
        return self.errors[:ERRORS_MAX]

    def feed(self, records):
        for record in records:
            self.counts[record.type] += 1
            handler = self.handlers.get(record.type)
            if handler:
                handler(record, record.arg)
            if record.type not in FLUSH_TYPES and record.type not in (tr.PTE_WRITE, tr.VTTBR):
                self.cpus[record.cpu].others += 1
            if len(self.errors) >= ERRORS_MAX:
                break

    # ---- Who may be in a TLB ----

    def vmids_of(self, tables):
        """VMIDs under which a TLB may hold entries of this set; EL2's own are always live, under 0."""
        return {0} if tables.ident == 0 else self.exposed.get(tables.root, set())

    def vttbr(self, record, a):
        cpu, vmid, root = self.cpus[record.cpu], a[0] >> 48, a[0] & 0xFFFFFFFFFFFE
        cpu.vttbr = a[0]
        if record.seq in self.guards[record.cpu]:
            return
        cpu.loaded = (vmid, root)
        if vmid == 0:
            return
        for other, vmids in self.exposed.items():
            if other != root and vmid in vmids:
                self.fail(record, f"VMID {vmid} still tags entries of the tables at {other:#x}")
        self.exposed[root].add(vmid)

    def flush_vmid(self, vmid):
        """No TLB holds anything of this VMID (None: of any) but what CPUs that run on it walk again."""
        running = {cpu.loaded for cpu in self.cpus.values()}
        for root, vmids in self.exposed.items():
            vmids -= {v for v in vmids if vmid in (None, v) and (v, root) not in running}

    # ---- Descriptors ----

    def tables_of(self, record, a):
        ident, seq = tr.table_set(record), tr.table_seq(record)
        tables = self.sets.get(ident)
        if tables is None or (seq == 1 and tables.seq > 0):
            kept = {} if tables is None else {p.address: p for p in tables.pages.values() if not p.entries and not p.root}
            tables = self.sets[ident] = TableSet(ident, pages=kept)
        elif seq != tables.seq + 1 and tables.seq:
            self.fail(record, f"{tables}: descriptor write #{seq} follows #{tables.seq}")
        tables.seq = seq
        return tables

    def page_of(self, record, tables, a):
        level, ia = a[3] & 3, a[3] & ~0xFFF
        address, index = a[0] & ~0xFFF, (a[0] & 0xFFF) // 8
        page = tables.pages.get(address)
        if page is None:  # never announced as a table: one of the roots, whose first index is not cut to 9 bits
            tables.root = a[0] - (ia >> shift_of(level)) * 8
            page = tables.pages[address] = Page(address, level, ia - (index << shift_of(level)), root=True)
        if page.level != level or page.base + (index << shift_of(level)) != ia:
            self.fail(record, f"the entry lies in a table for level {page.level} at {page.base:#x}")
        return page, index, level, ia

    def pte_write(self, record, a):
        tables = self.tables_of(record, a)
        page, index, level, ia = self.page_of(record, tables, a)
        old, new = a[1], a[2]
        known = page.entries.get(index, 0 if not page.root else old)
        if (known ^ old) & ~(BY_HARDWARE if is_valid(old) else 0):
            self.fail(record, f"the entry held {known:#x}, which changed without a record")
        live = page.reachable()
        if live:
            self.check_pair(record, tables, level, old, new)
        self.unhook(record, tables, page, index, ia, level, old, new, live)
        if live and is_valid(new):
            self.check_make(record, tables, ia, level, old, new)
        self.hook(tables, page, index, level, new)

    def check_pair(self, record, tables, level, old, new):
        """Between two valid descriptors (D8.14.1)."""
        if not (is_valid(old) and is_valid(new)):
            return
        if is_table(old, level) != is_table(new, level):
            if not (self.bbm2 and self.same_mapping(tables, level, old, new)):
                self.fail(record, "a block and a table change places without break-before-make")
        elif is_table(old, level) and old != new:
            self.fail(record, "one table replaces another without break-before-make")
        elif not is_table(old, level) and (old ^ new) & ~SOFT:
            self.fail(record, "output, size or memory type changes without break-before-make")

    def same_mapping(self, tables, level, old, new):
        """FEAT_BBM level 2: a block may give way to a table that says the same, or the other way round."""
        block, table = (old, new) if is_table(new, level) else (new, old)
        page, part = tables.pages.get(table & ADDRESS), shift_of(level + 1)
        if page is None or len(page.entries) != 512:
            return False
        return all(is_valid(d) and not is_table(d, level + 1) and ((d ^ block) & ~SOFT & ~ADDRESS & ~(2 | 1 << 52)) == 0 and
                   d & ADDRESS == (block & ADDRESS) + (i << part) for i, d in page.entries.items())

    def unhook(self, record, tables, page, index, ia, level, old, new, live):
        if not is_valid(old):
            return
        if is_table(old, level):
            child = tables.pages.get(old & ADDRESS)
            if live and old != new:
                self.retire(record, tables, ia, level, old)
                if child:
                    self.retire_below(record, tables, child)
            if child:
                child.parent = None
            return
        tables.leaves[old & ADDRESS, shift_of(level)].discard((page.address, index))
        if live and (not is_valid(new) or (old ^ new) & ~SOFT or self.loses(tables, old, new)):
            self.retire(record, tables, ia, level, old)

    @staticmethod
    def loses(tables, old, new):
        write_lost = not old & WRITE_OR_RO and new & WRITE_OR_RO if tables.ident == 0 else old & ~new & WRITE_OR_RO
        return write_lost or old & ~new & (READ_OR_EL0 | AF) or ~old & new & (XN | PXN)

    def hook(self, tables, page, index, level, new):
        page.entries.pop(index, None)
        if not is_valid(new):
            return
        page.entries[index] = new
        if is_table(new, level):
            child = tables.pages.get(new & ADDRESS)
            if child:
                child.parent = page
        else:
            tables.leaves[new & ADDRESS, shift_of(level)].add((page.address, index))

    # ---- What was taken out ----

    def retire(self, record, tables, ia, level, desc):
        if not is_table(desc, level) and not desc & AF:
            return  # never cached (D8.4.4)
        for vmid in self.vmids_of(tables):
            self.stale.append(Stale(tables, vmid, ia, level, desc, record.cpu, record.seq, others_at_write=self.cpus[record.cpu].others))

    def retire_below(self, record, tables, page):
        for index, desc in page.entries.items():
            self.retire(record, tables, page.base + (index << shift_of(page.level)), page.level, desc)
            if is_table(desc, page.level) and desc & ADDRESS in tables.pages:
                self.retire_below(record, tables, tables.pages[desc & ADDRESS])

    def check_make(self, record, tables, ia, level, old, new):
        size = 1 << shift_of(level)
        for s in self.stale:
            if s.tables is not tables or not overlap(s.ia, s.size, ia, size):
                continue
            if s.when == record.seq and s.writer == record.cpu:
                continue  # this very write; check_pair has judged it
            if s.is_table and is_table(new, level) and s.level != level:
                continue
            same = s.level == level and not s.is_table and not is_table(new, level) and not (s.desc ^ new) & ~SOFT
            if not same:
                self.fail(record, f"made while a TLB may hold {s}, written by cpu{s.writer} record {s.when}")
                return

    def dsb(self, record, a):
        cpu = self.cpus[record.cpu]
        for s in self.stale:
            if s.state == WRITTEN and s.writer == record.cpu:
                s.state = VISIBLE
            elif a[0] == 1 and s.flusher == record.cpu and s.state in (IPA_ISSUED, ALL_ISSUED):
                s.state += 1
        if a[0] == 1:
            for vmid in cpu.pending:
                self.flush_vmid(vmid)
            cpu.pending = []

    def isb(self, record, a):
        self.stale = [s for s in self.stale if not (s.state == ALL_DONE and s.flusher == record.cpu)]

    def tlbi(self, record, a):
        op = a[0]
        if op in (tr.IALLUIS, tr.VMALLE1):
            return
        cpu = self.cpus[record.cpu]
        if op in SHARED_TLBIS and cpu.vttbr is not None and cpu.vttbr >> 48 != record.vmid:
            self.fail(record, f"VTTBR_EL2 holds VMID {cpu.vttbr >> 48}")
        if op in (tr.VMALLS12E1IS, tr.ALLE1IS):
            cpu.pending.append(record.vmid if op == tr.VMALLS12E1IS else None)
        for s in self.stale:
            if self.reaches(s, record, a):
                self.advance(s, record, op)

    @staticmethod
    def reaches(s, record, a):
        """Does this TLBI act on that entry? A level hint leaves other levels, and table pointers, alone (D8.13.5)."""
        op = a[0]
        if op in (tr.VAE2IS, tr.ALLE2IS) or s.tables.ident == 0:
            return s.tables.ident == 0 and (op == tr.ALLE2IS or (op == tr.VAE2IS and overlap(s.ia, s.size, a[1], a[2])))
        if op == tr.ALLE1IS:
            return True
        if s.vmid != record.vmid:
            return False
        if op in (tr.IPAS2E1IS, tr.RIPAS2E1IS):
            return overlap(s.ia, s.size, a[1], a[2]) and (a[3] == 0 or (a[3] == s.level and not s.is_table))
        return True

    def advance(self, s, record, op):
        if s.state == WRITTEN:
            if s.writer == record.cpu:
                self.fail(record, f"no DSB between it and the write of {s}, record {s.when}")
            return
        if op in (tr.IPAS2E1IS, tr.RIPAS2E1IS):
            if s.state == VISIBLE:
                s.state, s.flusher = IPA_ISSUED, record.cpu
        elif op == tr.VMALLE1IS:
            if s.state == IPA_ISSUED and s.flusher == record.cpu:
                self.fail(record, f"no DSB ISH since the TLBI by IPA of {s}: combined entries may be made anew from it")
            elif s.state == IPA_DONE:
                s.state, s.flusher = ALL_ISSUED, record.cpu
        elif s.state < ALL_ISSUED:
            s.state, s.flusher = ALL_ISSUED, record.cpu

    # ---- Frames ----

    def table_alloc(self, record, a):
        tables = self.sets.setdefault(tr.table_set(record), TableSet(tr.table_set(record)))
        tables.pages[a[0] << 12] = Page(a[0] << 12, a[1], a[2], root=False)

    def table_free(self, record, a):
        address = a[0] << 12
        tables = self.sets.get(tr.table_set(record))
        self.check_freed(record, address, 4096)
        page = tables.pages.pop(address, None) if tables else None
        if page and page.reachable() and self.vmids_of(tables):
            self.fail(record, f"{tables}: the table is still in use")
        for index, desc in page.entries.items() if page else ():
            tables.leaves[desc & ADDRESS, shift_of(page.level)].discard((address, index))

    def frame_state(self, record, a):
        if a[3] & 0xFF in FREED_STATES and a[2] not in FREED_STATES:
            self.check_freed(record, a[0] << 12, 4096 << a[1])

    def check_freed(self, record, address, size):
        for s in self.stale:
            if overlap(s.out, 4096 if s.is_table else s.size, address, size):
                self.fail(record, f"freed while a TLB may hold {s}, written by cpu{s.writer} record {s.when}")
        for tables in self.sets.values():
            if tables.ident != 0 and self.vmids_of(tables):  # EL2 maps all of RAM all the time
                self.check_unmapped(record, tables, address, size)

    def check_unmapped(self, record, tables, address, size):
        keys = [(at, 12) for at in range(address, address + size, 4096)]
        keys += [(address >> shift << shift, shift) for shift in (21, 30)] + ([(address + (2 << 20), 21)] if size > 2 << 20 else [])
        for key in keys:
            for where, index in tables.leaves.get(key, ()):
                page = tables.pages.get(where)
                if page and page.reachable():
                    self.fail(record, f"freed while {tables} maps it at {page.base + (index << shift_of(page.level)):#x}")
                    return

    def at_end(self):
        """Whatever is left must be work in progress: its CPU did nothing else since."""
        for s in self.stale:
            if self.cpus[s.writer].others > s.others_at_write + 1:
                self.errors.append(f"{s}: taken out by cpu{s.writer} record {s.when} and never flushed to the end")
                if len(self.errors) >= ERRORS_MAX:
                    return
