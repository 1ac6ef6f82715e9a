# SPDX-License-Identifier: BSD-2-Clause
"""The hypervisor's trace (include/abi/trace.h): finding it, reading it, putting its rings in order, saying it in words."""

import mmap
import os
import struct
from collections import namedtuple
from dataclasses import dataclass

MAGIC = 0x4543415254434C53
VERSION = 1
PAGE = 4096
GROUPS = ["fault", "pt", "frame", "exit", "sched", "irq", "vm", "guest", "sample", "policy", "managed"]

(NONE, PTE_WRITE, DSB, ISB, TLBI, VTTBR, VMID, TABLE_ALLOC, TABLE_FREE, S2_FAULT, S1_FAULT, S1_OTHER, FRAME_STATE, FRAME_MOVE, EXIT, HVC,
 SWITCH, WFI, INJECT, VM_CREATE, VM_DESTROY, CPU_ON, GUEST, SAMPLE_ZONE, SAMPLE_ORDERS, SAMPLE_NAME, SAMPLE_VM, SAMPLE_EVENTS, SAMPLE_MARK,
 SAMPLE_POLICY, TARGET, MEMORY_WAIT, MEMORY_BACK,
 MANAGED_FAULT, MANAGED_PREFETCH, MANAGED_MIGRATE, MANAGED_DUPLICATE, MANAGED_COLLAPSE, MANAGED_EVICT, MANAGED_THROTTLE, MANAGED_PIN) = range(41)
TYPES = ["none", "pte-write", "dsb", "isb", "tlbi", "vttbr", "vmid", "table-alloc", "table-free", "s2-fault", "s1-fault", "s1-other",
         "frame-state", "frame-move", "exit", "hvc", "switch", "wfi", "inject", "vm-create", "vm-destroy", "cpu-on", "guest",
         "sample-zone", "sample-orders", "sample-name", "sample-vm", "sample-events", "sample-mark",
         "sample-policy", "target", "memory-wait", "memory-back",
         "managed-fault", "managed-prefetch", "managed-migrate", "managed-duplicate", "managed-collapse", "managed-evict", "managed-throttle", "managed-pin"]
TLBIS = ["IPAS2E1IS", "RIPAS2E1IS", "VMALLE1IS", "VMALLS12E1IS", "ALLE1IS", "VAE2IS", "ALLE2IS", "VMALLE1", "IC IALLUIS"]
(IPAS2E1IS, RIPAS2E1IS, VMALLE1IS, VMALLS12E1IS, ALLE1IS, VAE2IS, ALLE2IS, VMALLE1, IALLUIS) = range(9)
FAULT_RESULTS = ["mapped 4 KiB", "mapped 2 MiB", "spurious", "MMIO", "reflected", "no memory", "re-armed", "managed"]
MEMORY_WAITS = ["none", "no frame", "quota"]
UNKNOWN = 0xFFFFFFFF
FRAME_STATES = ["reserved", "free", "cached", "zeroed", "core", "table", "owned", "shared", "lent", "managed", "moving", "bad"]
MARKS = ["step", "memmap"]
EXCEPTION_CLASSES = {
    0x00: "unknown", 0x01: "WFI/WFE", 0x07: "FP/SIMD", 0x0E: "illegal state", 0x15: "SVC", 0x16: "HVC", 0x17: "SMC", 0x18: "MSR/MRS",
    0x20: "instruction abort", 0x21: "instruction abort, same EL", 0x22: "PC alignment", 0x24: "data abort",
    0x25: "data abort, same EL", 0x26: "SP alignment", 0x2F: "SError", 0x30: "breakpoint", 0x3C: "BRK",
}

HEADER = struct.Struct("<QIIIIQQQQQQQ")
RING = struct.Struct("<QQ")
RECORD = struct.Struct("<QQHHHBB5Q")
NOT_WRITTEN = (1 << 64) - 1

Record = namedtuple("Record", "seq time type vmid vm vcpu cpu arg")


class TraceError(Exception):
    """The trace cannot be read; one line."""


@dataclass
class Trace:
    """A trace as read: its header's fields and one list of records per ring, each in order."""

    mask: int
    counter_hz: int
    records_per_ring: int
    rings: list
    written: list
    lost: list

    def group_on(self, name):
        return bool(self.mask >> GROUPS.index(name) & 1)

    def problems(self):
        """What keeps the trace from being whole: lost records, gaps, slots caught half written."""
        found = []
        for cpu, (records, written, lost) in enumerate(zip(self.rings, self.written, self.lost)):
            if lost:
                found.append(f"CPU {cpu}: {lost} records lost (a larger trace-records keeps them)")
            if len(records) != written - lost:
                found.append(f"CPU {cpu}: {len(records)} records where the header says {written - lost}")
            for before, after in zip(records, records[1:]):
                if after.seq != before.seq + 1:
                    found.append(f"CPU {cpu}: record {after.seq} follows record {before.seq}")
        return found


def find_area(ram):
    """Offset of the trace area in the bytes of a machine's RAM (or 0 in a trace.bin)."""
    needle, at = struct.pack("<Q", MAGIC), 0
    while (at := ram.find(needle, at)) >= 0:
        if at % PAGE == 0 and at + PAGE <= len(ram):
            _, version, record_bytes, rings, per_ring, ring_bytes, *_ = HEADER.unpack_from(ram, at)
            if record_bytes == RECORD.size and 0 < rings <= 64 and ring_bytes == per_ring * record_bytes:
                if version != VERSION:
                    raise TraceError(f"trace of version {version}, this tool reads version {VERSION}")
                return at
        at += 8
    raise TraceError("no trace area found")


def find_in_sparse_file(fd, size):
    """As find_area, looking only where the file has data: RAM of a machine is mostly holes."""
    with mmap.mmap(fd, size, access=mmap.ACCESS_READ) as ram:
        at = 0
        while at < size:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA) & ~(PAGE - 1)
            except OSError:
                break
            at = os.lseek(fd, start, os.SEEK_HOLE)
            for page in range(start, at, PAGE):
                if ram[page:page + 8] == struct.pack("<Q", MAGIC):
                    try:
                        return page + find_area(ram[page:page + PAGE])
                    except TraceError as error:
                        if "version" in str(error):
                            raise
    raise TraceError("no trace area found")


def read_ring(data, base, per_ring, written):
    """Records still there, oldest first. A slot whose number is not the expected one was caught in flight and is left out."""
    records = []
    for seq in range(max(0, written - per_ring), written):
        fields = RECORD.unpack_from(data, base + seq % per_ring * RECORD.size)
        if fields[0] == seq:
            records.append(Record(*fields[:7], fields[7:]))
    return records


def parse(data):
    """A Trace from the bytes of a trace area."""
    if len(data) < PAGE:
        raise TraceError("shorter than a trace header")
    if find_area(data[:PAGE]) != 0:
        raise TraceError("no trace area at the start")
    _, _, _, rings, per_ring, ring_bytes, mask, hz, *_ = HEADER.unpack_from(data, 0)
    if len(data) < PAGE + rings * ring_bytes:
        raise TraceError(f"cut short: {len(data)} bytes of {PAGE + rings * ring_bytes}")
    counts = [RING.unpack_from(data, HEADER.size + i * RING.size) for i in range(rings)]
    read = [read_ring(data, PAGE + i * ring_bytes, per_ring, counts[i][0]) for i in range(rings)]
    return Trace(mask, hz, per_ring, read, [c[0] for c in counts], [c[1] for c in counts])


def load(path):
    """From a trace.bin, or out of the file behind a machine's RAM, running or not."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < PAGE:
                raise TraceError(f"{path}: shorter than a trace header")
            at = 0 if os.pread(file.fileno(), 8, 0) == struct.pack("<Q", MAGIC) else find_in_sparse_file(file.fileno(), size)
            _, _, _, rings, _, ring_bytes, *_ = HEADER.unpack(os.pread(file.fileno(), HEADER.size, at))
            file.seek(at)
            return parse(file.read(PAGE + rings * ring_bytes))
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}") from None


# ---- Order ----

def table_set(record):
    return record.arg[4] >> 32


def table_seq(record):
    return record.arg[4] & 0xFFFFFFFF


def is_next(record, last):
    """Is it the descriptor write that its table set waits for, or none at all? `last`: {set: sequence number}."""
    return record.type != PTE_WRITE or table_seq(record) in (1, last.get(table_set(record), table_seq(record) - 1) + 1)


def note_table(record, last):
    if record.type == PTE_WRITE:
        last[table_set(record)] = table_seq(record)


def merged(trace):
    """All records in one order: by time, each ring's own order kept, and descriptor writes of one table set by their sequence number.

    The counter's resolution is 16 instructions, so records of two CPUs may bear one time; what the table's lock ordered is then found in
    the sequence numbers. A set that begins anew begins with 1."""
    heads = [0] * len(trace.rings)
    last = {}
    while True:
        ready = [(ring[at].time, cpu) for cpu, (ring, at) in enumerate(zip(trace.rings, heads)) if at < len(ring)]
        if not ready:
            return
        for _, cpu in sorted(ready):
            record = trace.rings[cpu][heads[cpu]]
            if is_next(record, last):
                break
        else:
            cpu = min(ready)[1]
            record = trace.rings[cpu][heads[cpu]]
        note_table(record, last)
        heads[cpu] += 1
        yield record


# ---- In words ----

def name_of(table, index):
    return table[index] if index < len(table) else f"?{index}"


def esr_text(esr):
    return f"{EXCEPTION_CLASSES.get(esr >> 26 & 0x3F, hex(esr >> 26 & 0x3F))} (ESR {esr:#x})"


def desc_text(desc, level):
    if not desc & 1:
        return "invalid" if desc == 0 else f"invalid {desc:#x}"
    kind = "table" if level < 3 and desc & 2 else "page" if level == 3 else "block"
    return f"{kind} {desc & 0xFFFFFFFFF000:#x}" + ("" if kind == "table" else f" [{desc & 0xFFF0000000000FFF:#x}]")


def vcpu_text(name):
    return "idle" if name == NOT_WRITTEN else f"vm {name >> 16} vcpu {name & 0xFFFF}"


def tlbi_text(a, vmid):
    text = name_of(TLBIS, a[0])
    if a[0] in (IPAS2E1IS, RIPAS2E1IS, VAE2IS):
        text += f" {a[1]:#x} +{a[2]:#x}" + (f" level {a[3]}" if a[3] else "")
    return f"TLBI {text} vmid {vmid}" if a[0] != IALLUIS else text


def set_text(ident):
    if ident == 0:
        return "el2"
    view = ident >> 8
    return f"vm {ident & 0xFF}" + (f" vcpu {(view - 1) // 2} {'armed' if view % 2 else 'open'}" if view else "")


def halves(words):
    """Two counts to a word, as samples have them."""
    return [half for word in words for half in (word & 0xFFFFFFFF, word >> 32)]


def known(count):
    return "unknown" if count == UNKNOWN else str(count)


def vm_name(a):
    return struct.pack("<4Q", *a[1:5]).split(b"\0")[0].decode(errors="replace")


def sample_text(a, about, *names):
    counts = ", ".join(f"{name} {count}" for name, count in zip(names, halves(a[1:5])))
    return f"#{a[0] >> 32} {about}: {counts}"


def managed_text(a):
    pages = [page for page in range(64) if a[1] >> page & 1]
    which = f"{len(pages)} pages from {pages[0]}" if len(pages) > 1 else f"page {pages[0]}" if pages else "nothing"
    return f"range {a[0] >> 40} offset {a[0] & 0xFFFFFFFFFF:#x}: {which}, location {a[2]} -> {a[3]}, member {a[4]}"


FORMATS = {
    PTE_WRITE: lambda r, a: (f"{set_text(a[4] >> 32)} #{a[4] & 0xFFFFFFFF} L{a[3] & 3} {a[3] & ~0xFFF:#x}: "
                             f"{desc_text(a[1], a[3] & 3)} -> {desc_text(a[2], a[3] & 3)} at {a[0]:#x}"),
    DSB: lambda r, a: name_of(["DSB ISHST", "DSB ISH"], a[0]),
    ISB: lambda r, a: "ISB",
    TLBI: lambda r, a: tlbi_text(a, r.vmid),
    VTTBR: lambda r, a: f"VTTBR_EL2 = vmid {a[0] >> 48} root {a[0] & 0xFFFFFFFFFFFE:#x}",
    VMID: lambda r, a: f"vm {a[0]} gets vmid {a[2]} of generation {a[1]}" + (" (rollover)" if a[3] else ""),
    TABLE_ALLOC: lambda r, a: f"table {a[0] << 12:#x} for level {a[1]} at {a[2]:#x}",
    TABLE_FREE: lambda r, a: f"table {a[0] << 12:#x}",
    S2_FAULT: lambda r, a: f"ipa {a[0]:#x} {esr_text(a[1])} far {a[2]:#x} pc {a[3]:#x}: {name_of(FAULT_RESULTS, a[4])}",
    S1_FAULT: lambda r, a: f"far {a[0]:#x} {esr_text(a[1])} elr {a[2]:#x} spsr {a[3]:#x} -> {a[4]:#x}",
    S1_OTHER: lambda r, a: f"vector {a[0]:#x} {esr_text(a[1])} elr {a[2]:#x}",
    FRAME_STATE: lambda r, a: (f"{a[0] << 12:#x} order {a[1]}: " + (f"{FRAME_STATES[a[2]]} -> " if a[2] < len(FRAME_STATES) else "-> ") +
                               f"{name_of(FRAME_STATES, a[3] & 0xFF)}" + (f" of {a[3] >> 8}" if a[3] >> 8 else "")),
    FRAME_MOVE: lambda r, a: f"{a[0] << 12:#x} -> {a[1] << 12:#x} order {a[2]}",
    EXIT: lambda r, a: f"{esr_text(a[0])} pc {a[1]:#x} far {a[2]:#x} hpfar {a[3]:#x}",
    HVC: lambda r, a: f"{a[0]:#x} ({a[1]:#x}, {a[2]:#x}) = {a[3]:#x}",
    SWITCH: lambda r, a: f"{vcpu_text(a[0])} -> {vcpu_text(a[1])}",
    WFI: lambda r, a: "",
    INJECT: lambda r, a: f"intid {a[0]} to vcpu {a[1]}",
    VM_CREATE: lambda r, a: f"vm {a[0]}",
    VM_DESTROY: lambda r, a: f"vm {a[0]}",
    CPU_ON: lambda r, a: f"vcpu {a[0]} at {a[1]:#x}",
    GUEST: lambda r, a: " ".join(f"{x:#x}" for x in a[:4]),
    SAMPLE_ZONE: lambda r, a: sample_text(a, f"zone {a[0] & 0xFFFF}", "managed", "free", "cached", "zeroed", "min", "low", "node"),
    SAMPLE_ORDERS: lambda r, a: f"#{a[0] >> 32} zone {a[0] & 0xFFFF}: from order {a[0] >> 16 & 0xFFFF}: " + " ".join(map(str, halves(a[1:5]))),
    SAMPLE_NAME: lambda r, a: f"#{a[0] >> 32} vm {a[0] & 0xFFFF}: {vm_name(a)}",
    SAMPLE_VM: lambda r, a: sample_text(a, f"vm {a[0] & 0xFFFF}", "assigned", "resident", "ballooned", "reported", "shared", "lent", "quota", "waiting"),
    SAMPLE_EVENTS: lambda r, a: sample_text(a, f"vm {a[0] & 0xFFFF}", "4 KiB faults", "2 MiB faults", "stage-1 faults", "waits", "moved", "tables", "exits"),
    SAMPLE_MARK: lambda r, a: f"#{a[0] >> 32} {name_of(MARKS, a[0] & 0xFFFF)} {vm_name(a)}",
    SAMPLE_POLICY: lambda r, a: (f"#{a[0] >> 32} vm {a[0] & 0xFFFF}: working set {known(a[1] & UNKNOWN)}, target {known(a[1] >> 32)}, released {a[4] & UNKNOWN}" +
                              ("" if a[2] == NOT_WRITTEN else f", TLBIs {a[4] >> 32}, instructions: EL2 {a[2]}, guest {a[3]}")),
    TARGET: lambda r, a: (f"vm {a[0]}: keep {a[1] >> 32} of {a[2] >> 32} frames (before: {a[1] & UNKNOWN}); resident {a[2] & UNKNOWN}, "
                          f"working set {known(a[3] & UNKNOWN)}, {a[3] >> 32} waiting"),
    MEMORY_WAIT: lambda r, a: f"{vcpu_text(a[0])} at ipa {a[1]:#x}: {name_of(MEMORY_WAITS, a[2])}; {a[3]} frames to spare",
    MEMORY_BACK: lambda r, a: f"vm {a[0]} after {a[1]} ticks; {a[2]} frames asked of others",
    **{kind: lambda r, a: managed_text(a) for kind in range(MANAGED_FAULT, MANAGED_PIN + 1)},
}


def describe(record):
    """What a record says, without when and where."""
    form = FORMATS.get(record.type)
    return form(record, record.arg) if form else " ".join(f"{x:#x}" for x in record.arg)


def line(record, trace):
    micros = record.time * 1e6 / trace.counter_hz if trace.counter_hz else record.time
    where = f"vm{record.vm}.{record.vcpu}" if record.vm else "-"
    return f"{micros:14.3f} cpu{record.cpu} {where:6} {name_of(TYPES, record.type):11} {describe(record)}".rstrip()
