# SPDX-License-Identifier: BSD-2-Clause
"""The layer check sees a wrong edge when there is one."""

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def layers(tmp_path, monkeypatch):
    loader = importlib.machinery.SourceFileLoader("layers", str(ROOT / "tools/layers"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("layers", loader))
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def write(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


@pytest.mark.parametrize("path, line, why", [
    ("mm/a.c", '#include "arch/x.h"', "mm must not see arch"),
    ("mm/a.c", '#include "hyp/x.h"', "mm must not see hyp"),
    ("guest/vm/a.c", '#include "abi/x.h"', "guest-vm must not see abi"),
    ("guest/kernel/a.c", '#include "hyp/x.h"', "guest must not see hyp"),
    ("hyp/core/a.c", '#include "guest/x.h"', "hyp must not see guest"),
    ("include/arch/a.h", '#include "abi/x.h"', "arch must not see abi"),
    ("mm/a.c", "#include <libfdt.h>", "mm must not see libfdt"),
    ("hyp/core/a.c", "#include <stdio.h>", "not a freestanding header"),
    ("hyp/core/a.c", '#include "../core/x.h"', "include from the root of the tree"),
    ("hyp/core/a.c", '#include "arch/x.h"', None),
    ("guest/kernel/a.c", '#include "guest/vm/x.h"', None),
    ("mm/a.c", '#include "port_impl.h"', None),
    ("hyp/core/a.c", "#include <libfdt.h>", None),
])
def test_edge(layers, tmp_path, path, line, why):
    write(tmp_path, {"include/arch/x.h": "", "include/abi/x.h": "", "hyp/x.h": "", "guest/x.h": "", "guest/vm/x.h": "", path: line + "\n"})
    [(_, kind, name)] = layers.edges(path)
    assert layers.fault(path, kind, name) == why


def test_ring_of_headers(layers, tmp_path):
    write(tmp_path, {"include/core/a.h": '#include "core/b.h"\n', "include/core/b.h": '#include "core/a.h"\n', "include/core/c.h": ""})
    assert layers.rings({"include/core/a.h", "include/core/b.h", "include/core/c.h"})
