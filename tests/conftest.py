# SPDX-License-Identifier: BSD-2-Clause
"""What every Python test here shares: where things are, the launcher's modules, and that long tests do not come last."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools/pylib"))
sys.path.insert(0, str(ROOT / "tests/qemu"))
sys.path.insert(0, str(ROOT / "tests/tools"))
sys.dont_write_bytecode = True

# What takes longest is started first: at the end, when one worker has nothing left to do, only short ones are to be waited for.
LONG = ("test_everything_at_once", "test_other_builds_have_no_warnings", "lifecycle", "test_overcommit.py", "managed-icount=False", "[fp]", "[contig]", "test_compact_layouts",
        "fuzz_mm", "[live]", "compact_all_regions")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: next((rank for rank, words in enumerate(LONG) if words in item.nodeid), len(LONG)))
