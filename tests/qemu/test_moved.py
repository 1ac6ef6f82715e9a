# SPDX-License-Identifier: BSD-2-Clause
"""The hypervisor runs where it is loaded, not only where it is linked."""

import struct

import pytest
from machine import build_dir

TEXT_OFFSET = 8  # in the Image header: how far behind RAM's base the loader must put the image


def moved_image(to, offset):
    image = bytearray((build_dir() / "hyp/sluice.img").read_bytes())
    struct.pack_into("<Q", image, TEXT_OFFSET, offset)
    to.write_bytes(image)
    return to


@pytest.mark.parametrize("offset", [0x800000, 0x4000000])
def test_loaded_elsewhere(boot, tmp_path, offset):
    boot("two-guests", trace=False, image=moved_image(tmp_path / "moved.img", offset))
