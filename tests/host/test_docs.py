# SPDX-License-Identifier: BSD-2-Clause
"""The reference of scenarios, monitor and trace names exactly what the code knows."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def read(name):
    return (ROOT / name).read_text()


def table_cells(text):
    """The first cell of every table row, headings and rules left out."""
    rows = re.findall(r"^\| (.*?) \|", text.replace("\\|", "/"), re.MULTILINE)
    return [row for row in rows if "`" in row]


def names_in(cells):
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_scenario_properties():
    header = read("include/abi/scenario.h")
    known = set(re.findall(r'^#define SCN_\w+ "([^"]+)"', header, re.MULTILINE))
    sections = {"hypervisor", "images", "vms", "managed", "timeline"}
    told = names_in(table_cells(read("docs/scenario.md"))) | {"data", "phandle", "linux,phandle"}
    assert told == known - sections
    for section in sections:
        assert f"\n## `/{section}" in read("docs/scenario.md")


def test_words_of_scenarios():
    text = read("docs/scenario.md")
    for header, macro in (("include/abi/scenario.h", "SCENARIO_FEATURES"), ("include/abi/trace.h", "TRACE_GROUP_NAMES")):
        listed = re.search(rf"#define {macro}\s*\\?\s*{{(.*?)}}", read(header), re.DOTALL)[1]
        for word in re.findall(r'"([^"]+)"', listed):
            assert f"`{word}`" in text, word


def test_limits_of_scenarios():
    text, rules = read("docs/scenario.md"), read("hyp/ctl/scenario_rules.c")
    for name, macro in (("vmid-bits", "SCN_VMID_BITS"), ("slice-us", "SCN_SLICE_US"), ("weight", "SCN_WEIGHT")):
        low, high = re.search(rf"{{{macro}, FORM_NUMBER, \w+, AT\([\w.]+\), (\d+), (\d+)}}", rules).groups()
        assert re.search(rf"\| `{name}` \| number, {low}\.\.{high} \|", text), name


def test_monitor_commands():
    known = {}
    for source in sorted((ROOT / "hyp/ctl").glob("monitor_cmds_*.c")):
        known.update(re.findall(r'^    \{"(\w+)", "([^"]*)",', source.read_text(), re.MULTILINE))
    told = names_in(table_cells(read("docs/monitor.md")))
    assert {usage.split()[0] for usage in told} == set(known)


def groups_of_help():
    """[(heading, commands)] as `help` shows them."""
    table = {}
    for source in sorted((ROOT / "hyp/ctl").glob("monitor_cmds_*.c")):
        for name, body in re.findall(r"^const struct command (\w+)\[\] = {\n(.*?)^};", source.read_text(), re.MULTILINE | re.DOTALL):
            table[name] = re.findall(r'^    \{"(\w+)", ', body, re.MULTILINE)
    groups = []
    for heading, name in re.findall(r'{(NULL|"[^"]+"), (monitor_\w+_commands)}', read("hyp/ctl/session.c")):
        if heading != "NULL":
            groups.append((heading.strip('"'), set()))
        groups[-1][1].update(table.pop(name))
    assert not table, table
    return groups


def sections_of_monitor():
    """[(heading, text)] of the part that lists commands."""
    commands = re.search(r"^## Commands\n(.*?)^## ", read("docs/monitor.md"), re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"^### ([^\n]+)\n(.*?)(?=^### |\Z)", commands, re.MULTILINE | re.DOTALL)


def test_monitor_groups():
    assert [(heading, {usage.split()[0] for usage in names_in(table_cells(text))}) for heading, text in sections_of_monitor()] == groups_of_help()


def test_each_monitor_command_has_an_example_that_a_scenario_runs():
    """`focus` and `shutdown` are for a person: tests/qemu/test_monitor.py types them."""
    run = {command.replace('\\"', '"') for command in re.findall(r'"((?:[^"\\]|\\.)+)"', read("dts/tour.dts"))}
    tried = {"focus", "shutdown"}
    for _, text in sections_of_monitor():
        for example in re.findall(r"^sluice> (.+)$", text, re.MULTILINE):
            assert example in run or example.startswith("walk alpha 0x7f"), example
            tried.add(example.split()[0])
    assert tried == set().union(*(names for _, names in groups_of_help()))


def test_trace_groups():
    listed = re.search(r"#define TRACE_GROUP_NAMES\s*\\?\s*{(.*?)}", read("include/abi/trace.h"), re.DOTALL)[1]
    assert names_in(table_cells(read("docs/trace.md"))) == set(re.findall(r'"([^"]+)"', listed))


def test_trace_records():
    header = read("include/abi/trace.h")
    types = re.search(r"enum trace_type {(.*?)};", header, re.DOTALL)[1]
    text = read("docs/trace.md")
    for name in re.findall(r"^\s*TRACE_(\w+)\b", types, re.MULTILINE):
        if name not in ("NONE", "TYPES"):
            assert f"`{name}`" in text, name


def test_the_example_of_a_policy_is_the_one_that_is_tested():
    code = re.search(r"```c\n(.*?)```", read("docs/policy.md"), re.DOTALL)[1]
    assert read("tests/host/policy_equal.c").endswith(code)


def test_policies():
    known = {name for path in (ROOT / "hyp/mem").glob("policy_*.c") for name in re.findall(r'^POLICY\((\w+)\)', path.read_text(), re.MULTILINE)}
    told = re.findall(r"^\| (\w+) \| ", read("docs/policy.md"), re.MULTILINE)
    assert set(told) == known | {"policy"}


PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "tests/host/README.md", ROOT / "tests/qemu/README.md"]


def test_files_that_pages_name_are_there():
    for page in PAGES:
        text = page.read_text()
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for path in re.findall(r"`((?:mm|hyp|guest|include|tests|tools|dts|docs)/[\w./-]+)`", text):
            assert "NAME" in path or (ROOT / path).exists() or list(ROOT.glob(path + ".*")), f"{page.name}: {path}"


def test_scenarios_that_pages_name_are_there():
    for page in PAGES:
        for name in re.findall(r"SCENARIO=([a-z][\w-]*)", page.read_text()):
            assert (ROOT / f"dts/{name}.dts").exists() or name in ("x", "mine", "yours"), f"{page.name}: {name}"


def test_exercises_are_mutants():
    named = re.findall(r"\| `(\w+)`, `(test_\w+)` \|", read("docs/README.md"))
    assert len(named) >= 5
    for mutant, test in named:
        assert f"\ntest: {test}\n" in read(f"tests/host/mutants/{mutant}.mutant"), mutant
