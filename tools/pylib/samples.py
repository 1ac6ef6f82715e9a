# SPDX-License-Identifier: BSD-2-Clause
"""Samples of memory out of a trace (group `sample`, include/abi/trace.h): one row per VM and per zone of each sample and one per mark, as the CSV of
experiments has them."""

import csv
import io
from collections import defaultdict

import trace_records as trace

PAGE_KIB = 4
ORDERS = 11
NOT_MEASURED = (1 << 64) - 1

VM_COLUMNS = ["assigned_kib", "resident_kib", "ballooned_kib", "reported_kib", "shared_kib", "lent_kib", "tables_kib", "quota_max_kib", "waiting_vcpus",
              "working_set_kib", "target_kib", "faults_4k_count", "faults_2m_count", "faults_stage1_count", "memory_waits_count", "moved_pages_count", "exits_count",
              "released_pages_count", "tlbis_count", "el2_instructions", "guest_instructions"]
ZONE_COLUMNS = ["managed_kib", "free_kib", "cached_kib", "zeroed_kib", "min_kib", "low_kib"] + [f"free_order{n}_blocks" for n in range(ORDERS)]
COLUMNS = ["run", "parameters", "sample", "time_us", "scope", "name"] + VM_COLUMNS + ZONE_COLUMNS


class SampleError(Exception):
    """There is nothing to report on; one line."""


def sample_of(record):
    return record.arg[0] >> 32


def about(record):
    return record.arg[0] & 0xFFFF


def zone_values(record):
    managed, free, cached, zeroed, low_min, low, *_ = trace.halves(record.arg[1:5])
    return {"managed_kib": managed * PAGE_KIB, "free_kib": free * PAGE_KIB, "cached_kib": cached * PAGE_KIB, "zeroed_kib": zeroed * PAGE_KIB,
            "min_kib": low_min * PAGE_KIB, "low_kib": low * PAGE_KIB}


def order_values(record):
    first = record.arg[0] >> 16 & 0xFFFF
    return {f"free_order{first + n}_blocks": count for n, count in enumerate(trace.halves(record.arg[1:5])) if first + n < ORDERS}


def vm_values(record):
    assigned, resident, ballooned, reported, shared, lent, quota, waiting = trace.halves(record.arg[1:5])
    frames = {"assigned": assigned, "resident": resident, "ballooned": ballooned, "reported": reported, "shared": shared, "lent": lent, "quota_max": quota}
    return {f"{name}_kib": count * PAGE_KIB for name, count in frames.items()} | {"waiting_vcpus": waiting}


def event_values(record):
    by_4k, by_2m, stage1, waits, moved, tables = trace.halves(record.arg[1:4])
    return {"faults_4k_count": by_4k, "faults_2m_count": by_2m, "faults_stage1_count": stage1, "memory_waits_count": waits, "moved_pages_count": moved,
            "tables_kib": tables * PAGE_KIB, "exits_count": record.arg[4]}


def policy_values(record):
    working_set, target = trace.halves(record.arg[1:2])
    released, tlbis = trace.halves(record.arg[4:5])
    frames = {f"{name}_kib": count * PAGE_KIB for name, count in (("working_set", working_set), ("target", target)) if count != trace.UNKNOWN}
    if record.arg[2] == NOT_MEASURED:
        return {**frames, "released_pages_count": released}
    return {**frames, "released_pages_count": released, "tlbis_count": tlbis, "el2_instructions": record.arg[2], "guest_instructions": record.arg[3]}


VALUES = {trace.SAMPLE_ZONE: ("zone", zone_values), trace.SAMPLE_ORDERS: ("zone", order_values), trace.SAMPLE_VM: ("vm", vm_values),
          trace.SAMPLE_EVENTS: ("vm", event_values), trace.SAMPLE_POLICY: ("vm", policy_values)}
LAST = trace.SAMPLE_POLICY
MARK, ZONE, VM = range(3)  # in this order within a sample


def rows_of(found, run="1", parameters=""):
    """Rows (dicts of COLUMNS) of a trace, in order of sample: marks set before it, zones, VMs. SampleError if there are none, or some were lost."""
    records = [r for r in trace.merged(found) if trace.SAMPLE_ZONE <= r.type <= LAST]
    if all(r.type == trace.SAMPLE_MARK for r in records):
        raise SampleError("the trace has no samples: give the scenario `/hypervisor { sample-ms = <n>; }`")
    if any(found.lost):
        raise SampleError(f"{sum(found.lost)} trace records were lost: say hypervisor/trace-records={1 << (max(found.written) - 1).bit_length()}, or a longer sample-ms")
    names, rows, start = {}, defaultdict(dict), records[0].time
    for place, record in enumerate(records):
        at = {"run": run, "parameters": parameters, "sample": sample_of(record), "time_us": round((record.time - start) * 1e6 / found.counter_hz)}
        if record.type == trace.SAMPLE_MARK:
            rows[sample_of(record), MARK, place] = {**at, "scope": trace.MARKS[about(record)], "name": trace.vm_name(record.arg)}
            continue
        if record.type == trace.SAMPLE_NAME:
            names[about(record)] = trace.vm_name(record.arg)
            continue
        scope, values = VALUES[record.type]
        name = names.get(about(record), str(about(record))) if scope == "vm" else str(about(record))
        row = rows[sample_of(record), ZONE if scope == "zone" else VM, about(record)]
        row.update({**at, **row, "scope": scope, "name": name, **values(record)})
    return [rows[key] for key in sorted(rows)]


def to_csv(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def from_csv(text):
    """Rows again, numbers as numbers."""
    words = {"run", "parameters", "scope", "name"}
    rows = [{k: v if k in words else int(v) for k, v in row.items() if v != "" or k in words} for row in csv.DictReader(io.StringIO(text))]
    if rows and set(COLUMNS) - set(csv.DictReader(io.StringIO(text)).fieldnames):
        raise SampleError("not a CSV of samples: columns are missing")
    return rows


# ---- What a report counts ----

def by_name(rows, scope):
    """Rows of each VM, or each zone, in order of time."""
    found = defaultdict(list)
    for row in rows:
        if row["scope"] == scope:
            found[row["name"]].append(row)
    return dict(found)


def footprint_mib_s(rows, column="resident_kib"):
    """The integral of a VM's memory over time, in MiB-seconds; each value stands until the next sample, or is the last before the VM was destroyed."""
    pairs = [(a, b) for a, b in zip(rows, rows[1:]) if b["sample"] == a["sample"] + 1]
    return sum(a[column] * (b["time_us"] - a["time_us"]) for a, b in pairs) / 1024 / 1e6


def runs_of(rows):
    """{run: its rows}, in the order of the file."""
    found = defaultdict(list)
    for row in rows:
        found[row["run"]].append(row)
    return dict(found)


def marks(rows, scope):
    """[(time in us, name)] of the steps of the timeline, or of the maps of memory."""
    return [(row["time_us"], row["name"]) for row in rows if row["scope"] == scope]
