# SPDX-License-Identifier: BSD-2-Clause
"""The build itself: both compilers, and what is said when something is wrong."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def without_make():
    """The environment, as if no make had started us: of its flags only the variables."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "GNUMAKEFLAGS", "MAKELEVEL")}
    variables = [word for word in os.environ.get("MAKEFLAGS", "").split() if "=" in word and not word.startswith("-")]
    return {**kept, "MAKEFLAGS": "-- " + " ".join(variables)} if variables else kept


def make(*words, timeout=600):
    return subprocess.run(["make", *words], cwd=ROOT, env=without_make(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout)


@pytest.mark.parametrize("build, options", [("build/clang", ["COMPILER=clang"]), ("build/debug", ["DEBUG=1"])])
def test_other_builds_have_no_warnings(build, options):
    done = make("-j2", f"BUILD={build}", *options, "images")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "warning" not in done.stdout


def test_nothing_is_built_twice():
    make("-j2", "all", "host-tests")
    done = make("all", "host-tests")
    assert (done.returncode, done.stdout) == (0, "")


def test_setup_is_silent_the_second_time():
    done = subprocess.run(["tools/setup", "run"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def setup_with_path(*folders):
    """tools/setup on a machine whose commands are only those in `folders`."""
    return subprocess.run(["/bin/sh", "tools/setup", "run"], cwd=ROOT, capture_output=True, text=True, timeout=60,
                          env={"PATH": ":".join(str(folder) for folder in folders)})


def test_an_old_qemu_is_one_line(tmp_path):
    qemu = tmp_path / "qemu-system-aarch64"
    qemu.write_text("#!/bin/sh\necho QEMU emulator version 5.2.0\n")
    qemu.chmod(0o755)
    done = setup_with_path(tmp_path, "/usr/bin", "/bin")
    assert done.returncode == 1
    assert (done.stdout, done.stderr) == ("", "setup: QEMU 5.2 is too old: at least 7.2 is needed\n")


def test_a_missing_tool_without_apt_is_one_line(tmp_path):
    for tool in ("dirname", "uname", "id"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = setup_with_path(tmp_path)
    assert done.returncode == 1
    assert done.stderr == "setup: qemu-system-aarch64 is missing, and this is no Debian: install it, then try again\n"


@pytest.mark.parametrize("target", ["run", "experiment", "gdb"])
def test_an_unknown_scenario_is_one_line(target):
    done = make(target, "SCENARIO=no-such", timeout=60)
    assert done.returncode != 0
    assert "no scenario 'no-such': there are " in done.stdout and "two-guests" in done.stdout


@pytest.mark.parametrize("words, said", [
    (["run", "CPUS=0"], "CPUS='0': say a number from 1"),
    (["experiment", "MEM=much"], "MEM='much': say 512M or 2G"),
    (["sweep", "OVER=memory"], "'memory': say node/property=value"),
    (["run", "SCENARO=smp"], "no variable SCENARO: there are SCENARIO "),
    (["all", "DEBUG=yes"], "DEBUG=yes: say 0 or 1"),
    (["mutants", "MUTANT=no-such"], "no mutant 'no-such'"),
])
def test_what_makes_no_sense_is_one_line_before_anything_is_built(words, said):
    done = make(*words, timeout=60)
    assert done.returncode != 0
    lines = [line for line in done.stdout.splitlines() if not re.match(r"make(\[\d+\])?: \*\*\*", line)]
    assert len(lines) == 1 and said in lines[0], done.stdout


def targets_of_makefiles():
    text = "".join(path.read_text() for path in [ROOT / "Makefile", *(ROOT / "tools/make").glob("*.mk")])
    return re.findall(r"^([a-z-]+):.*?## (\w+): (.+)$", text, re.MULTILINE)


def test_help_names_every_entry_point_and_every_variable():
    shown = make("help", timeout=60).stdout
    targets = targets_of_makefiles()
    assert {"all", "run", "experiment", "sweep", "test", "bench", "gdb", "check", "format", "clean", "help"} <= {name for name, _, _ in targets}
    for name, group, what in targets:
        assert f"\n{group}\n" in shown and f"\n  {name:<15} {what}" in shown, name
        for variable in re.findall(r"[A-Z_]+", what[what.rfind("["):] if what.endswith("]") else ""):
            assert f"\n  {variable} " in shown, variable
