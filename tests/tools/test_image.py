# SPDX-License-Identifier: BSD-2-Clause
"""The hypervisor's image: how much memory it takes, and the two tables that the build packs into it, read back another way."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from machine import build_dir

BUDGET = 317_000  # text + rodata + data; lower it when the image has shrunk
LINKED_AT = 0x40200000
NM = shutil.which("aarch64-linux-gnu-nm") or "nm"
READELF = shutil.which("aarch64-linux-gnu-readelf") or "readelf"


def lines_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture(scope="module")
def elf():
    return build_dir() / "hyp/sluice.elf"


@pytest.fixture(scope="module")
def image():
    return (build_dir() / "hyp/sluice.img").read_bytes()


@pytest.fixture(scope="module")
def symbols(elf):
    """{name: (address, type)}; of a name that several files have, one; debug information may have marks without a name."""
    rows = (line.split() for line in lines_of(NM, elf))
    return {row[2]: (int(row[0], 16), row[1]) for row in rows if len(row) == 3}


def between(image, symbols, first, last):
    return image[symbols[first][0] - LINKED_AT:symbols[last][0] - LINKED_AT]


def bytes_in_memory(elf):
    total = 0
    for line in lines_of(READELF, "-SW", elf):
        fields = line.split("]", 1)[-1].split()
        if len(fields) > 6 and fields[1] != "NOBITS" and "A" in fields[6]:
            total += int(fields[4], 16)
    return total


def test_it_keeps_to_its_budget(elf):
    total = bytes_in_memory(elf)
    assert 50_000 < total <= BUDGET, f"text, rodata and data are {total} bytes"


def test_the_account_of_its_bytes_is_complete(elf):
    rows = [line.split() for line in lines_of("tools/image-size", elf)]
    folders = rows[:rows.index([])][1:]
    sizes = {" ".join(row[:-4]): int(row[-1].replace(",", "")) for row in folders}
    assert sizes.pop("total") == sum(sizes.values()) == bytes_in_memory(elf)
    assert all(sizes[folder] > 1000 for folder in ("mm", "hyp/ctl", "hyp/core", "hyp/dev", "hyp/mem", "(libfdt)"))


def test_every_table_follows_the_image(elf, image, symbols):
    """The relocations name each word of 8 bytes that the compiler's and the linker's own records say is an address."""
    got, code = set(), between(image, symbols, "relr_start", "relr_end")
    where = None
    for word, in struct.iter_unpack("<Q", code):
        if not word & 1:
            got.add(word)
            where = word + 8
        else:
            got |= {where + i * 8 for i in range(63) if word >> (i + 1) & 1}
            where += 63 * 8
    rows = (line.split() for line in lines_of(READELF, "-rW", elf) if "R_AARCH64_ABS64" in line)
    wanted = {int(row[0], 16) for row in rows if LINKED_AT <= int(row[0], 16) and row[4] != "image_bytes"}
    debug = {at for at in wanted if not LINKED_AT <= at < symbols["image_end"][0]}
    assert wanted - debug <= got
    for at in got:
        target, = struct.unpack_from("<Q", image, at - LINKED_AT)
        assert LINKED_AT <= target <= symbols["image_end"][0], f"{at:#x} holds {target:#x}, which is no address of the image"
    assert len(got) > 100


def name_in(codes, pairs):
    return "".join(chr(c) if c < 128 else name_in(pairs[c - 128], pairs) for c in codes)


def test_functions_keep_their_names(image, symbols):
    """What report.c will print for the first instruction of each function is what nm prints."""
    table = between(image, symbols, "symbol_table", "symbol_table_end")
    pairs = [image[at:at + 2] for at in range(symbols["symbol_pairs"][0] - LINKED_AT, len(image) - 1, 2)]
    names, at, offset = {}, 0, 0
    while at < len(table):
        value = shift = 0
        while True:
            value, shift, at = value | (table[at] & 0x7f) << shift, shift + 7, at + 1
            if not table[at - 1] & 0x80:
                break
        end = table.index(0, at)
        offset += value * 4
        names[LINKED_AT + offset] = name_in(table[at:end], pairs)
        at = end + 1
    missing = [name for name, (address, kind) in symbols.items()
               if kind == "T" and "." not in name and names.get(address) is None and address < symbols["text_end"][0] and name != "image_start"]
    assert missing == []
    for name in ("hyp_main", "sched_run", "symbol_describe", "vgic_lr_fill", "image_head"):
        assert names[symbols[name][0]] == name


def test_it_says_its_size(image, symbols):
    assert struct.unpack_from("<Q", image, 16)[0] == symbols["image_end"][0] - LINKED_AT
