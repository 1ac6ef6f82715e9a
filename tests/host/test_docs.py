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
        known.update(re.findall(r'^    \{"(\w+)", "([^"]*)", "', source.read_text(), re.MULTILINE))
    told = names_in(table_cells(read("docs/monitor.md")))
    assert {usage.split()[0] for usage in told} == set(known)


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
