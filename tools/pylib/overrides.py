# SPDX-License-Identifier: BSD-2-Clause
"""Properties of a compiled scenario changed from the command line: vms/alpha/memory-mib=128, hypervisor/policy=wss.

Names, forms and limits are those of the scenario language itself, read from the tables that the hypervisor is built from (include/abi/scenario.h,
hyp/ctl/scenario_rules.c)."""

import difflib
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TABLES = {"": "root_rules", "hypervisor": "hypervisor_rules", "vms": "vm_rules", "timeline": "step_rules"}


class OverrideError(Exception):
    """What the user wrote cannot be; one line."""


def read_rules():
    """{section: {property: form}}; a section is the first part of a node's path."""
    names = dict(re.findall(r'^#define (SCN_\w+) "([^"]+)"', (ROOT / "include/abi/scenario.h").read_text(), re.MULTILINE))
    source = (ROOT / "hyp/ctl/scenario_rules.c").read_text()
    rules = {}
    for section, table in TABLES.items():
        body = re.search(rf"struct rule {table}\[\] = {{(.*?)\n}};", source, re.DOTALL)[1]
        rules[section] = {names[macro]: form for macro, form in re.findall(r"{(SCN_\w+), FORM_(\w+),", body)}
    return rules


def fdt(tool, *args):
    return subprocess.run([tool, *map(str, args)], capture_output=True, text=True)


def children(blob, node):
    done = fdt("fdtget", "-l", blob, node)
    return done.stdout.split() if done.returncode == 0 else []


def near(word, known):
    found = difflib.get_close_matches(word, known, 1)
    return f" (did you mean `{found[0]}`?)" if found else f": there are {', '.join(sorted(known))}" if known else ""


def parse(text):
    """node/.../property=value -> ('/node/...', property, value)"""
    path, equals, value = text.partition("=")
    *nodes, name = path.strip("/").split("/")
    if not equals or not name:
        raise OverrideError(f"`{text}`: say NODE/PROPERTY=VALUE, for instance vms/alpha/memory-mib=128")
    return "/" + "/".join(nodes), name, value


def check_node(blob, text, node):
    at = "/"
    for part in filter(None, node.split("/")):
        if part == "hypervisor" and at == "/":
            return
        known = children(blob, at)
        if part not in known:
            raise OverrideError(f"`{text}`: the scenario has no node `{part}` in {at}{near(part, known)}")
        at = at.rstrip("/") + "/" + part


def arguments(text, form, value):
    """What fdtput wants: type and words."""
    if form == "NUMBER":
        if not re.fullmatch(r"\d+|0x[0-9a-fA-F]+", value):
            raise OverrideError(f"`{text}`: a number is wanted, not `{value}`")
        return ["-t", "u"], [str(int(value, 0))]
    if form == "CELLS":
        if not re.fullmatch(r"\d+( \d+)*", value):
            raise OverrideError(f"`{text}`: numbers are wanted, with blanks between them")
        return ["-t", "u"], value.split()
    if form in ("STRING", "STRINGS"):
        words = value.split("+") if form == "STRINGS" else [value]
        if not all(words):
            raise OverrideError(f"`{text}`: an empty string")
        return ["-t", "s"], words
    if form == "FLAG" and value in ("on", "off"):
        return (["-t", "x"], []) if value == "on" else (None, None)
    raise OverrideError(f"`{text}`: a flag is on or off" if form == "FLAG" else f"`{text}`: this cannot be changed here")


def apply(blob, text, rules=None):
    """Change the blob in place. OverrideError if there is no such node or property, or the value has another form."""
    node, name, value = parse(text)
    section = node.strip("/").split("/")[0]
    known = (rules or read_rules()).get(section)
    check_node(blob, text, node)
    if known is None:
        raise OverrideError(f"`{text}`: properties of /{section} cannot be changed here")
    if name not in known:
        raise OverrideError(f"`{text}`: {node} has no property `{name}`{near(name, list(known))}")
    kind, words = arguments(text, known[name], value)
    if kind is None:
        done = fdt("fdtput", "-d", blob, node, name)
        failed = done.returncode != 0 and "FDT_ERR_NOTFOUND" not in done.stderr
    else:
        done = fdt("fdtput", "-p", *kind, blob, node, name, *words)
        failed = done.returncode != 0
    if failed:
        raise OverrideError(f"`{text}`: {done.stderr.strip()}")


def combinations(over):
    """['a=1,2', 'b=x'] -> [['a=1', 'b=x'], ['a=2', 'b=x']]; the last varies fastest."""
    runs, names = [[]], set()
    for text in over:
        name, equals, values = text.partition("=")
        if not equals or not all(values.split(",")):
            raise OverrideError(f"`{text}`: say NODE/PROPERTY=VALUE,VALUE,...")
        if name in names or len(set(values.split(","))) < len(values.split(",")):
            raise OverrideError(f"`{text}`: " + ("varied already" if name in names else "a value stands there twice"))
        names.add(name)
        runs = [run + [f"{name}={value}"] for run in runs for value in values.split(",")]
    return runs
