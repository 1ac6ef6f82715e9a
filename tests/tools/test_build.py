# SPDX-License-Identifier: BSD-2-Clause
"""The build itself: both compilers, and what is said when something is wrong."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def make(*words, timeout=600):
    return subprocess.run(["make", *words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout)


@pytest.mark.parametrize("build, options", [("build/clang", ["COMPILER=clang"]), ("build/debug", ["DEBUG=1"])])
def test_other_builds_have_no_warnings(build, options):
    done = make("-j2", f"BUILD={build}", *options, "images")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "warning" not in done.stdout


def test_nothing_is_built_twice():
    done = make("-n", "all", "host-tests")
    assert not [line for line in done.stdout.splitlines() if "'CC'" in line or "'LD'" in line or "'HOSTCC'" in line], done.stdout


def test_setup_is_silent_the_second_time():
    done = subprocess.run(["tools/setup", "run"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("target", ["run", "experiment", "gdb"])
def test_an_unknown_scenario_is_one_line(target):
    done = make(target, "SCENARIO=no-such", timeout=60)
    assert done.returncode != 0
    assert "no scenario 'no-such': there are " in done.stdout and "two-guests" in done.stdout


def test_help_names_every_entry_point():
    shown = make("help", timeout=60).stdout
    for target in "all run experiment test bench gdb check format clean help".split():
        assert f"\n  {target} " in shown
