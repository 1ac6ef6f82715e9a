# SPDX-License-Identifier: BSD-2-Clause
"""Nodes of memory: whose frames lie where, and what the reports of the memory core say of three zones, held against each other."""

import re

import pytest
from machine import PASS

MIB = 256  # frames
NODES = 3
ORDERS = range(11)


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    from harness import Boot
    return Boot(tmp_path_factory.mktemp("numa"))("numa", trace=False, expect=PASS).console


def shares(console, vm):
    line, = re.findall(rf"^numastat: {vm}:(.*)$", console, re.MULTILINE)
    return {int(node): int(frames) for node, frames in re.findall(r"node (\d+) (\d+)", line)}


def node_lines(console):
    return re.findall(r"^numastat: node (\d): (\d+) frames, (\d+) free; cpus (.*); distances (.*)$", console, re.MULTILINE)


def test_nodes_are_what_the_device_tree_says(console):
    first = node_lines(console)[:NODES]
    assert [line[3] for line in first] == ["0", "1", "2"]
    assert [line[4] for line in first] == ["10 20 30", "20 10 20", "30 20 10"]
    # all of nodes 1 and 2 is the core's; of node 0 image, scenario and frame table are not
    assert [int(line[1]) for line in first[1:]] == [64 * MIB] * 2
    assert 128 * MIB < int(first[0][1]) < 256 * MIB


def test_memory_is_taken_from_the_cpus_own_node(console):
    near = shares(console, "near")
    assert near[1] >= 2048 and near[2] == 0
    assert near[0] <= 4 * MIB  # what EL2 loaded, on whichever CPU: image, initramfs, device tree


def test_the_next_nearest_node_comes_when_it_is_full(console):
    far = shares(console, "far")
    assert far[2] >= 60 * MIB, "node 2 is used up, to its watermark and EL2's tables"
    assert far[1] >= 16 * MIB, "then node 1"
    assert far[0] <= 4 * MIB, "and never node 0, which has most"


# --- reports, of the moment when the fragmenter held memory -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reports(console):
    return console[console.index("fragment: "):]


def rows(text, pattern):
    """{zone: [numbers]} of lines `Node N, zone NAME...`, the first of each."""
    found = {}
    for zone, numbers in re.findall(rf"^Node +\d, zone +(\w+){pattern}((?: +-?[\d.]+)+)", text, re.MULTILINE):
        found.setdefault(zone, [float(n) if "." in n else int(n) for n in numbers.split()])
    return found


def section(text, start, end):
    return re.search(rf"^{start}.*?^(?={end})", text, re.MULTILINE | re.DOTALL)[0]


@pytest.fixture(scope="module")
def free_of_types(reports):
    """{type: {zone: blocks by order}}"""
    text = section(reports, "Free pages count", "Number of blocks")
    return {name: rows(text, rf", type +{re.escape(name)}") for name in ("Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate", "(unopened)")}


@pytest.fixture(scope="module")
def zones(reports):
    """{zone: {row: number}} of zoneinfo"""
    parts = re.split(r"^Node \d, zone +(\w+)$", section(reports, r"Node \d, zone +ram0$", "extfrag_index"), flags=re.MULTILINE)[1:]
    return {zone: {name.split(" ")[-1]: int(n) for name, n in re.findall(r"^ +(\S.*?):? +(\d+)$", text, re.MULTILINE)}
            for zone, text in zip(parts[::2], parts[1::2])}


def frames(blocks):
    return sum(count << order for order, count in enumerate(blocks))


def all_blocks(free_of_types, zone):
    """Free blocks by order, of all types, those never opened included."""
    return [sum(of_type[zone][order] for of_type in free_of_types.values()) for order in ORDERS]


def test_there_are_three_zones(zones):
    assert list(zones) == ["ram0", "ram1", "ram2"]
    assert zones["ram1"]["spanned"] == zones["ram1"]["managed"] == 64 * MIB


def test_free_blocks_of_all_types_are_the_free_frames(free_of_types, zones):
    for zone, info in zones.items():
        assert frames(free_of_types["(unopened)"][zone]) == info["nr_unopened"]
        assert frames(all_blocks(free_of_types, zone)) == info["free"] > 0


def test_buddyinfo_is_the_sum_over_types(reports, free_of_types, zones):
    for zone, blocks in rows(section(reports, "Node 0, zone", "Page block order"), "").items():
        assert blocks == [sum(rows_of[zone][o] for name, rows_of in free_of_types.items() if name != "(unopened)") for o in ORDERS]


def test_pageblocks_of_all_types_are_the_zone(reports, zones):
    for zone, counts in rows(section(reports, "Number of blocks", r"Node \d, zone +ram0$"), "").items():
        assert sum(counts) * 512 >= zones[zone]["managed"] > (sum(counts) - 8) * 512


def test_watermarks_are_ordered(zones):
    for info in zones.values():
        assert 0 < info["min"] <= info["low"] <= info["high"] < info["managed"]


def test_what_was_taken_and_given_back_is_what_is_not_there(zones):
    """Frames at the start, less those taken, and those given back."""
    for info in zones.values():
        assert info["managed"] - info["pgalloc"] + info["pgfree"] == info["free"]


def test_indexes_follow_from_the_blocks(reports, free_of_types, zones):
    tables = section(reports, "extfrag_index", r"(?:sluice: )?verify")
    index, unusable = (rows(part, "") for part in tables.split("unusable_index"))
    fragmented = 0
    for zone in zones:
        blocks = all_blocks(free_of_types, zone)
        free = frames(blocks)
        for order in ORDERS:
            usable = sum(count << o for o, count in enumerate(blocks) if o >= order)
            assert unusable[zone][order] == (free - usable) * 1000 // free / 1000
            wanted = -1000 if usable else 1000 - (1000 + (free * 1000 >> order)) // sum(blocks)
            assert round(index[zone][order] * 1000) == wanted
            fragmented += wanted > 500
    assert fragmented, "nothing was fragmented, so the index has not been seen"
