# SPDX-License-Identifier: BSD-2-Clause
"""The host tests, their mutants and the fuzzers, as test cases of the one runner that `make test` ends with."""

import os
import subprocess
from pathlib import Path

import mutants
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / os.environ.get("BUILD", "build")
HERE = ROOT / "tests/host"

TESTS = sorted(p.stem for p in HERE.glob("test_*.c"))
MUTANTS = mutants.paths()
FUZZERS = sorted(p.stem for p in (HERE / "fuzz").glob("fuzz_*.c"))

FUZZ_RUNS = 20000
FUZZ_RUNS_OF = {"fuzz_mm": 700}  # a world for each, audited
FUZZ_SECONDS = 300  # whoever takes as long hangs: what is tried must not depend on the machine


def run(command, timeout):
    done = subprocess.run([str(word) for word in command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=timeout)
    assert done.returncode == 0, "\n".join(done.stdout.splitlines()[-40:])


@pytest.mark.parametrize("name", TESTS)
def test_host(name):
    run([BUILD / "host" / name], timeout=300)


def test_every_mutant_fits_the_code():
    assert mutants.misfits(MUTANTS) == []


@pytest.mark.parametrize("path", MUTANTS, ids=lambda path: path.stem)
def test_mutant_is_killed(path):
    name, verdict, detail = mutants.try_mutant(path)
    assert verdict == "killed", f"{name}: {detail}"


@pytest.mark.parametrize("name", FUZZERS)
def test_fuzz(name, tmp_path):
    """A fixed number of inputs from a fixed seed; what it finds stands under build/fuzz/."""
    seeds = HERE / "fuzz/corpus" / name.removeprefix("fuzz_")
    found = BUILD / "fuzz"
    found.mkdir(parents=True, exist_ok=True)
    run([BUILD / "host" / name, "-seed=1", f"-runs={FUZZ_RUNS_OF.get(name, FUZZ_RUNS)}", f"-artifact_prefix={found}/{name}-", tmp_path,
         *([seeds] if seeds.is_dir() else [])], timeout=FUZZ_SECONDS)
