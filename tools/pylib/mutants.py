# SPDX-License-Identifier: BSD-2-Clause
"""Mutants: the code broken in known ways, each of which a host test must notice.

A mutant is a file tests/host/mutants/NAME.mutant (format: tests/host/README.md). For each, a tree of links with the one changed
file stands under build/mutants/NAME; objects that depend on that file are compiled again, the others are taken from the host
test's own build, and the test must then fail. It ends at its first failed assertion: one is enough.
"""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from machine import ROOT, build_dir

MUTANTS = ROOT / "tests/host/mutants"
HANG_CPU_SECONDS = 60  # counted by its CPU time: a busy machine kills no mutant
HANG_SECONDS = 400  # it waits for what never comes

# What nobody looks at costs more than what is tried: the objects that are compiled again need no debug information, the test no symbols, and its
# last report no line numbers. cmocka goes on after a failure unless it is told not to.
QUICK_OBJECT = ["-g0", "-Wno-error", "-w"]  # the mutant may leave something unused: that is not what is tried here
QUICK_LINK = ["-s"]
QUICK_RUN = {"CMOCKA_TEST_ABORT": "1", "ASAN_OPTIONS": "symbolize=0", "UBSAN_OPTIONS": "symbolize=0"}


class MutantError(Exception):
    """The mutant itself is at fault."""


def paths(names=()):
    """The files of the mutants that are named, or of all."""
    found = {path.stem: path for path in sorted(MUTANTS.glob("**/*.mutant"))}
    missing = [name for name in names if name not in found]
    if missing:
        raise MutantError(f"not in {MUTANTS.relative_to(ROOT)}: {' '.join(missing)}")
    return [found[name] for name in names] if names else list(found.values())


def parse(path):
    """Header lines `key: value`, then one or more pairs of an `--- old` and a `+++ new` block."""
    fields, pairs, block = {}, [], None
    for line in path.read_text().splitlines(keepends=True):
        mark = line.rstrip("\n")
        if mark == "--- old":
            block = []
            pairs.append((block, []))
        elif mark == "+++ new" and pairs:
            block = pairs[-1][1]
        elif block is not None:
            block.append(line)
        elif mark.strip() and not mark.startswith("#"):
            key, _, value = mark.partition(":")
            fields[key.strip()] = value.strip()
    for key in ("file", "test"):
        if key not in fields:
            raise MutantError(f"no `{key}:` line")
    if not pairs:
        raise MutantError("no `--- old` block")
    return fields, [("".join(old), "".join(new)) for old, new in pairs]


def mutate(text, pairs):
    for old, new in pairs:
        found = text.count(old)
        if not old.strip() or found != 1:
            first = old.strip().splitlines()[0] if old.strip() else "(empty)"
            raise MutantError(f"old text found {found} times, not once: {first}")
        text = text.replace(old, new)
    return text


def link_tree(tree, changed):
    """A copy of the source tree by links, with real folders only along the way to the changed file."""
    subprocess.run(["rm", "-rf", str(tree)], check=True)
    tree.mkdir(parents=True)
    here, parts = Path(), Path(changed).parts
    for part in parts:
        for entry in (ROOT / here).iterdir():
            if entry.name != part and entry.name not in (".git", "build"):
                (tree / here / entry.name).symlink_to(entry)
        here = here / part
        if here != Path(changed):
            (tree / here).mkdir()


def host_test(name):
    """What the build says of a host test, in build/host/parts: compile and link commands, libraries, {source: object}."""
    info = {"objects": {}}
    try:
        text = (build_dir() / "host/parts" / name).read_text()
    except OSError:
        raise MutantError(f"no such host test, or it is not built: {name}") from None
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        if key == "source":
            source, obj = rest.split()
            info["objects"][source] = ROOT / obj
        else:
            info[key] = shlex.split(rest)
    return info


def depends_on(obj, source, changed):
    if source == changed:
        return True
    words = obj.with_suffix(".d").read_text().replace("\\\n", " ").split()
    return changed in (w.rstrip(":") for w in words)


def build(tree, changed, info):
    objects, touched = [], False
    for index, (source, obj) in enumerate(info["objects"].items()):
        if depends_on(obj, source, changed):
            touched = True
            obj = tree / f".{index}.o"
            done = subprocess.run([*info["compile"], *QUICK_OBJECT, "-c", source, "-o", str(obj)], cwd=tree, capture_output=True, text=True)
            if done.returncode:
                raise MutantError("does not build: " + (done.stderr.strip().splitlines() or ["?"])[0])
        objects.append(str(obj))
    if not touched:
        raise MutantError(f"{changed} is no part of the test")
    binary = tree / ".test"
    subprocess.run([*info["link"], *QUICK_LINK, *objects, *info["libs"], "-o", str(binary)], cwd=tree, check=True, capture_output=True)
    return binary


def run(binary, log):
    """Exit status of the test with the mutant in it, or "hang"."""
    with open(log, "w") as out:
        try:
            status = subprocess.run(["prlimit", f"--cpu={HANG_CPU_SECONDS}", str(binary)], cwd=binary.parent, env=os.environ | QUICK_RUN, stdout=out,
                                    stderr=out, stdin=subprocess.DEVNULL, timeout=HANG_SECONDS).returncode
        except subprocess.TimeoutExpired:
            return "hang"
    return "hang" if status in (-signal.SIGXCPU, -signal.SIGKILL) else status


def applied(path):
    """(fields, text of the changed file): the mutant fits the code as it stands."""
    fields, pairs = parse(path)
    for name, folder in (("file", ROOT), ("test", ROOT / "tests/host")):
        if not (folder / (fields[name] + (".c" if name == "test" else ""))).is_file():
            raise MutantError(f"there is no {fields[name]}")
    return fields, mutate((ROOT / fields["file"]).read_text(), pairs)


def misfits(chosen):
    """[(name, what is wrong)] of mutants that do not fit the code; nothing is built."""
    found = []
    for path in chosen:
        try:
            applied(path)
        except MutantError as error:
            found.append((path.stem, str(error)))
    return found


def try_mutant(path):
    """(name, verdict, detail): killed, SURVIVED or BROKEN."""
    name, started = path.stem, time.monotonic()
    try:
        fields, text = applied(path)
        changed, tree = fields["file"], build_dir() / "mutants" / name
        link_tree(tree, changed)
        (tree / changed).write_text(text)
        binary = build(tree, changed, host_test(fields["test"]))
        status = run(binary, tree / ".log")
        binary.unlink()
        detail = f"{fields['test']}, {time.monotonic() - started:.1f} s{', hangs' if status == 'hang' else ''}"
        return name, "killed" if status else "SURVIVED", detail + (f": {fields['what']}" if "what" in fields else "")
    except (MutantError, OSError, subprocess.CalledProcessError) as error:
        return name, "BROKEN", str(error)
