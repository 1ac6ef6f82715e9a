# SPDX-License-Identifier: BSD-2-Clause
"""The launcher's own reading: sizes, verdicts, the trace in a file of RAM."""

import struct

import machine
import pytest


@pytest.mark.parametrize("text, mib", [("512", 512), ("512M", 512), ("2G", 2048), ("1GiB", 1024)])
def test_memory_size(text, mib):
    assert machine.memory_mib(text) == mib


@pytest.mark.parametrize("text", ["", "lots", "-1", "1T"])
def test_bad_memory_size(text):
    with pytest.raises(machine.MachineError):
        machine.memory_mib(text)


@pytest.mark.parametrize("console, timed_out, status", [
    ("x\nsluice: verdict: PASS\n", False, machine.PASS),
    ("sluice: verdict: FAIL (beta: no verdict)\n", False, machine.FAIL),
    ("sluice: verdict: PASS\nsluice: verdict: FAIL (late)\n", False, machine.FAIL),
    ("alpha| sluice: verdict: PASS\n", False, machine.NO_VERDICT),
    ("", True, machine.TIMEOUT),
    ("panic\n", False, machine.NO_VERDICT),
])
def test_verdict(console, timed_out, status):
    assert machine.outcome_of(console, timed_out, 1.0, 60).status == status


def trace_area(rings=2, per_ring=4):
    head = struct.pack("<8sIIIIQ", machine.TRACE_MAGIC, 1, 64, rings, per_ring, per_ring * 64)
    return head.ljust(machine.PAGE, b"\0") + bytes(range(64)) * rings * per_ring


def test_trace_is_found_in_ram(tmp_path):
    ram, out = tmp_path / "ram", tmp_path / "trace.bin"
    area = trace_area()
    with open(ram, "wb") as f:
        f.write(machine.TRACE_MAGIC.ljust(machine.PAGE, b"\0"))  # the magic alone, as in the image's rodata, is no trace
        f.seek(64 * machine.PAGE)
        f.write(area)
        f.truncate(1 << 20)
    assert machine.extract_trace(ram, out)
    assert out.read_bytes() == area


def test_no_trace_in_ram(tmp_path):
    ram = tmp_path / "ram"
    with open(ram, "wb") as f:
        f.truncate(1 << 20)
    assert not machine.extract_trace(ram, tmp_path / "trace.bin")


def test_nodes_have_their_memory_cpus_and_distances():
    args = machine.Machine(cpus=4, memory=96, nodes=[32, 64], ram_file="/x/ram").command()
    assert "memory-backend-file,id=ram1,share=on,mem-path=/x/ram.1,size=64M" in args
    assert "node,nodeid=0,memdev=ram0,cpus=0,cpus=1" in args and "node,nodeid=1,memdev=ram1,cpus=2,cpus=3" in args
    assert args.count("dist,src=0,dst=1,val=20") == args.count("dist,src=1,dst=0,val=20") == 1


def test_memory_is_split_evenly_or_not_at_all():
    assert machine.split_memory(512, 4) == [128] * 4
    for mib, count in ((512, 3), (512, 9), (6, 2)):
        with pytest.raises(machine.MachineError):
            machine.split_memory(mib, count)


def test_trace_of_another_node(tmp_path):
    for name, content in (("ram", b"\0" * machine.PAGE), ("ram.1", trace_area())):
        (tmp_path / name).write_bytes(content)
    assert machine.extract_trace(tmp_path / "ram", tmp_path / "trace.bin")
    machine.drop_ram(tmp_path / "ram")
    assert [path.name for path in tmp_path.iterdir()] == ["trace.bin"]
