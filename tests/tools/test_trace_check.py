# SPDX-License-Identifier: BSD-2-Clause
"""tools/trace-check accepts what the architecture accepts and finds each way of getting it wrong."""

import subprocess

import pytest
import trace_records as tr
from machine import ROOT as TREE
from trace_check import Checker
from trace_maker import FRAME, PAGE_BITS, RAM, ROOT, TABLE, Maker, at, entry, page

BLOCK, BLOCK_IA, BLOCK_ENTRY = FRAME + 0x20_0000 | 0x7FD, RAM + 0x20_0000, TABLE + 8
READ_ONLY = PAGE_BITS & ~0x80


def errors_of(maker, **options):
    return Checker(maker.trace(), **options).run()


@pytest.fixture
def m():
    """A VM that runs on CPU 0."""
    maker = Maker()
    maker.build()
    maker.load(0, 1)
    return maker


def go_on(m, cpu=0):
    """The CPU does other things."""
    m.add(cpu, tr.EXIT, vm=1)
    m.add(cpu, tr.EXIT, vm=1)


# ---- Right ----

def test_nothing_wrong(m):
    m.unmap(0, 0)
    m.flush(0, RAM)
    m.frame(0, FRAME, "free")
    m.pte(0, entry(0), 0, page(7), at(0))
    go_on(m)
    assert errors_of(m) == []


@pytest.mark.parametrize("op", [tr.VMALLS12E1IS, tr.ALLE1IS])
def test_whole_flush_will_do(m, op):
    m.unmap(0, 0)
    m.flush_vmid(0, op=op)
    m.frame(0, FRAME, "free")
    go_on(m)
    assert errors_of(m) == []


def test_range_flush(m):
    m.unmap(0, 0)
    m.unmap(0, 1)
    m.flush(0, RAM, 0x2000, op=tr.RIPAS2E1IS)
    m.frame(0, FRAME, "free", order=1)
    go_on(m)
    assert errors_of(m) == []


def test_vm_that_never_ran_owes_no_flush():
    m = Maker()
    m.build(vmid=0)
    m.unmap(0, 0, vmid=0)
    m.frame(0, FRAME, "free")
    go_on(m)
    assert errors_of(m) == []


def test_stopped_vm_flushed_once(m):
    """Taking a VM down: its tables still say everything, but no TLB does and nobody walks them."""
    m.load(0, 0, 0x7000_0000)
    m.guarded(0, 1, ROOT, lambda: m.flush_vmid(0))
    for i in range(4):
        m.frame(0, FRAME + i * 0x1000, "free")
    m.pte(0, TABLE, TABLE + 0x1000 | 3, 0, RAM | 2)
    m.add(0, tr.TABLE_FREE, TABLE + 0x1000 >> 12, 0, 0, 0, 1 << 32)
    go_on(m)
    assert errors_of(m) == []


def test_flush_from_another_vm(m):
    m.build(ident=2, root=0xA000_0000, table=0xA001_0000, frame=0xB000_0000, vmid=2)
    m.load(0, 2, 0xA000_0000)
    m.unmap(0, 0)
    m.guarded(0, 1, ROOT, lambda: m.flush(0, RAM))
    m.frame(0, FRAME, "free")
    go_on(m)
    assert errors_of(m) == []


def test_permissions_change_in_place(m):
    m.pte(0, entry(0), page(0), FRAME | READ_ONLY, at(0))
    m.flush(0, RAM)
    m.pte(0, entry(0), FRAME | READ_ONLY, page(0), at(0))  # a gain: no flush is due
    go_on(m)
    assert errors_of(m) == []


def test_access_flag_off_is_not_cached(m):
    m.pte(0, entry(0), page(0), page(0) & ~(1 << 10), at(0))
    m.flush(0, RAM)
    m.pte(0, entry(0), page(0) & ~(1 << 10), 0, at(0))
    m.frame(0, FRAME, "free")
    go_on(m)
    assert errors_of(m) == []


def split(m, direct, flush=True, wrong=None):
    new = TABLE + 0x2000
    m.add(0, tr.TABLE_ALLOC, new >> 12, 3, BLOCK_IA, 0, 1 << 32)
    for i in range(512):
        desc = FRAME + 0x20_0000 + (i if i != wrong else i + 1) * 0x1000 | PAGE_BITS
        m.pte(0, new + 8 * i, 0, desc, BLOCK_IA + i * 0x1000 | 3)
    if direct:
        m.pte(0, BLOCK_ENTRY, BLOCK, new | 3, BLOCK_IA | 2)
    else:
        m.pte(0, BLOCK_ENTRY, BLOCK, 0, BLOCK_IA | 2)
        if flush:
            m.flush(0, BLOCK_IA, 0x20_0000, level=2)
        m.pte(0, BLOCK_ENTRY, 0, new | 3, BLOCK_IA | 2)
    if direct and flush:
        m.flush(0, BLOCK_IA, 0x20_0000)
    go_on(m)


def test_split(m):
    split(m, direct=False)
    assert errors_of(m, bbm2=False) == []


def test_split_with_bbm2(m):
    split(m, direct=True)
    assert errors_of(m) == []
    assert "change places" in errors_of(m, bbm2=False)[0]


def test_tables_of_two_cpus_in_their_own_order(m):
    """Equal times: the sequence numbers say who was first."""
    time = m.time + 5
    m.add(1, tr.PTE_WRITE, entry(0), page(0), 0, at(0), 1 << 32 | m.seq[1] + 1, vmid=1, time=time)
    m.add(0, tr.PTE_WRITE, entry(1), page(1), 0, at(1), 1 << 32 | m.seq[1] + 2, vmid=1, time=time)
    assert errors_of(m) == []


def test_rollover(m):
    m.load(0, 0, 0x7000_0000)
    m.flush_vmid(0, op=tr.ALLE1IS)
    m.load(0, 1, 0xA000_0000)
    assert errors_of(m) == []


# ---- Wrong ----

@pytest.mark.parametrize("skip, says", [
    ("dsb-ishst", "no DSB between"),
    ("ipa", "freed while a TLB may hold"),
    ("dsb-ipa", "no DSB ISH since the TLBI by IPA"),
    ("all", "freed while a TLB may hold"),
    ("dsb-all", "freed while a TLB may hold"),
    ("isb", "freed while a TLB may hold"),
])
def test_a_step_is_missing(m, skip, says):
    m.unmap(0, 0)
    m.flush(0, RAM, skip=[skip])
    m.frame(0, FRAME, "free")
    go_on(m)
    errors = errors_of(m)
    assert errors and says in errors[0]


def test_steps_of_another_cpu_do_not_count(m):
    m.load(1, 1)
    m.unmap(0, 0)
    m.dsb(1, "ishst")
    m.flush(1, RAM, skip=["dsb-ishst"])
    m.frame(0, FRAME, "free")
    assert "freed while a TLB may hold" in errors_of(m)[0]


def test_flush_before_the_write(m):
    m.flush(0, RAM)
    m.unmap(0, 0)
    m.frame(0, FRAME, "free")
    assert "freed while a TLB may hold" in errors_of(m)[0]


def test_never_flushed(m):
    m.unmap(0, 0)
    go_on(m)
    assert "never flushed" in errors_of(m)[0]


def test_permission_lost_and_never_flushed(m):
    m.pte(0, entry(0), page(0), FRAME | READ_ONLY, at(0))
    go_on(m)
    assert "never flushed" in errors_of(m)[0]


def test_another_address_flushed(m):
    m.unmap(0, 0)
    m.flush(0, RAM + 0x1000)
    m.frame(0, FRAME, "free")
    assert "freed while a TLB may hold" in errors_of(m)[0]


def test_range_too_short(m):
    m.unmap(0, 0)
    m.unmap(0, 1)
    m.flush(0, RAM, 0x1000, op=tr.RIPAS2E1IS)
    m.frame(0, FRAME, "free", order=1)
    assert "freed while a TLB may hold" in errors_of(m)[0]


def test_wrong_level_hint(m):
    m.unmap(0, 0)
    m.flush(0, RAM, level=2)
    m.frame(0, FRAME, "free")
    assert "freed while a TLB may hold" in errors_of(m)[0]


def test_level_hint_leaves_tables(m):
    """A detached table's pointer stays in walk caches when the TLBI hints at leaves."""
    m.pte(0, TABLE, TABLE + 0x1000 | 3, 0, RAM | 2)
    m.flush(0, RAM, 0x4000, level=3)
    m.add(0, tr.TABLE_FREE, TABLE + 0x1000 >> 12, 0, 0, 0, 1 << 32)
    assert "freed while a TLB may hold" in errors_of(m)[0]


def test_wrong_vmid(m):
    """The flush runs under the VM that happens to be on the CPU."""
    m.build(ident=2, root=0xA000_0000, table=0xA001_0000, frame=0xB000_0000, vmid=2)
    m.load(0, 2, 0xA000_0000)
    m.unmap(0, 0)
    m.flush(0, RAM)
    m.frame(0, FRAME, "free")
    assert "freed while a TLB may hold" in errors_of(m)[0]


def test_vttbr_holds_another_vmid(m):
    m.unmap(0, 0)
    m.flush(0, RAM, vmid=5)
    assert "VTTBR_EL2 holds VMID 1" in errors_of(m)[0]


def test_local_flush_does_not_do(m):
    m.unmap(0, 0)
    m.dsb(0, "ishst")
    m.tlbi(0, tr.VMALLE1)
    m.dsb(0)
    m.add(0, tr.ISB)
    m.frame(0, FRAME, "free")
    assert "freed while a TLB may hold" in errors_of(m)[0]


def test_no_break(m):
    m.pte(0, entry(0), page(0), page(9), at(0))
    assert "without break-before-make" in errors_of(m)[0]


def test_memory_type_without_break(m):
    m.pte(0, entry(0), page(0), page(0) & ~0x3C, at(0))
    assert "without break-before-make" in errors_of(m)[0]


def test_table_for_table(m):
    m.add(0, tr.TABLE_ALLOC, TABLE + 0x3000 >> 12, 3, RAM, 0, 1 << 32)
    m.pte(0, TABLE, TABLE + 0x1000 | 3, TABLE + 0x3000 | 3, RAM | 2)
    assert "one table replaces another" in errors_of(m)[0]


def test_made_before_flush(m):
    m.unmap(0, 0)
    m.pte(0, entry(0), 0, page(9), at(0))
    assert "made while a TLB may hold" in errors_of(m)[0]


def test_split_made_before_flush(m):
    split(m, direct=False, flush=False)
    assert "made while a TLB may hold" in errors_of(m)[0]


def test_split_with_bbm2_never_flushed(m):
    split(m, direct=True, flush=False)
    assert "never flushed" in errors_of(m)[0]


def test_split_with_bbm2_to_something_else(m):
    split(m, direct=True, wrong=17)
    assert "change places" in errors_of(m)[0]


def test_collapse_without_flush(m):
    m.pte(0, TABLE, TABLE + 0x1000 | 3, 0, RAM | 2)
    m.pte(0, TABLE, 0, FRAME | 0x7FD, RAM | 2)
    assert "made while a TLB may hold" in errors_of(m)[0]


def test_frame_freed_while_mapped(m):
    m.frame(0, FRAME + 0x1000, "free")
    assert "maps it at 0x40001000" in errors_of(m)[0]


def test_block_freed_while_a_page_of_it_is_mapped(m):
    m.frame(0, FRAME, "free", order=3)
    assert "maps it at" in errors_of(m)[0]


def test_part_of_a_mapped_block_freed(m):
    m.frame(0, FRAME + 0x20_5000, "free")
    assert "maps it at 0x40200000" in errors_of(m)[0]


def test_table_freed_in_use(m):
    m.add(0, tr.TABLE_FREE, TABLE + 0x1000 >> 12, 0, 0, 0, 1 << 32)
    assert "still in use" in errors_of(m)[0]


def test_table_freed_before_flush(m):
    m.pte(0, TABLE, TABLE + 0x1000 | 3, 0, RAM | 2)
    m.add(0, tr.TABLE_FREE, TABLE + 0x1000 >> 12, 0, 0, 0, 1 << 32)
    assert "freed while a TLB may hold" in errors_of(m)[0]


def test_destroyed_while_it_runs_elsewhere(m):
    """Flushed, but another CPU has the VM loaded and fills its TLB again."""
    m.load(1, 1)
    m.load(0, 0, 0x7000_0000)
    m.guarded(0, 1, ROOT, lambda: m.flush_vmid(0))
    m.frame(0, FRAME, "free")
    assert "maps it at" in errors_of(m)[0]


def test_vmid_given_again_too_soon(m):
    m.load(0, 1, 0xA000_0000)
    assert "VMID 1 still tags" in errors_of(m)[0]


def test_vmid_of_a_running_vm_given_away(m):
    m.load(1, 0, 0x7000_0000)
    m.flush_vmid(1, op=tr.ALLE1IS)
    m.load(1, 1, 0xA000_0000)
    assert "VMID 1 still tags" in errors_of(m)[0]


def test_el2_frees_what_it_maps():
    m = Maker()
    m.build(ident=0, vmid=0)
    m.pte(0, entry(0), page(0), 0, at(0), ident=0, vmid=0)
    m.pte(0, entry(0), 0, page(9), at(0), ident=0, vmid=0)
    assert "made while a TLB may hold" in errors_of(m)[0]


@pytest.mark.parametrize("op", [tr.VAE2IS, tr.ALLE2IS])
def test_el2_flush(op):
    m = Maker()
    m.build(ident=0, vmid=0)
    m.pte(0, entry(0), page(0), 0, at(0), ident=0, vmid=0)
    m.dsb(0, "ishst")
    m.tlbi(0, op, RAM, 0x1000)
    m.dsb(0)
    m.add(0, tr.ISB)
    m.pte(0, entry(0), 0, page(9), at(0), ident=0, vmid=0)
    go_on(m)
    assert errors_of(m) == []


def test_entry_changed_in_silence(m):
    m.pte(0, entry(0), page(3), 0, at(0))
    assert "changed without a record" in errors_of(m)[0]


def test_hardware_may_set_af_and_dirty(m):
    m.pte(0, entry(0), page(0), FRAME | READ_ONLY & ~0x400, at(0))
    m.flush(0, RAM)
    m.pte(0, entry(0), FRAME | READ_ONLY, 0, at(0))
    m.flush(0, RAM)
    go_on(m)
    assert errors_of(m) == []


def test_missing_descriptor_write(m):
    m.seq[1] += 1
    m.unmap(0, 0)
    assert "follows" in errors_of(m)[0]


def test_wrong_place(m):
    m.pte(0, entry(0), page(0), 0, at(1))
    assert "lies in a table for" in errors_of(m)[0]


# ---- Whole or not ----

def test_lost_records(m):
    assert "lost" in Checker(m.trace(lost=3)).run()[0]


def test_gap(m):
    del m.rings[0][3]
    errors = errors_of(m)
    assert any("follows record" in e for e in errors)


def run(path, *options):
    return subprocess.run([TREE / "tools/trace-check", path, *options], capture_output=True, text=True)


def test_command(m, tmp_path):
    path = tmp_path / "trace.bin"
    m.unmap(0, 0)
    m.flush(0, RAM)
    go_on(m)
    path.write_bytes(m.bytes())
    done = run(path)
    assert done.returncode == 0 and done.stdout.endswith("in order\n")
    m.frame(0, FRAME + 0x1000, "free")
    path.write_bytes(m.bytes())
    assert run(path).returncode == 1
    path.write_bytes(m.bytes(per_ring=16))
    done = run(path)
    assert done.returncode == 1 and "records lost" in done.stdout
    path.write_bytes(m.bytes(mask=1))
    assert run(path).returncode == 0
    assert run(path, "--require").returncode == 1
    path.write_bytes(b"no trace" * 1000)
    assert run(path).returncode == 2
