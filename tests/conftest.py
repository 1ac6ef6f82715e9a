# SPDX-License-Identifier: BSD-2-Clause
"""What every Python test here shares: where things are, and the launcher's modules."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools/pylib"))
sys.path.insert(0, str(ROOT / "tests/qemu"))
sys.path.insert(0, str(ROOT / "tests/tools"))
sys.dont_write_bytecode = True
