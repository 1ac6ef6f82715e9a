# SPDX-License-Identifier: BSD-2-Clause
"""`make gdb` stops where it says, with the symbols it says."""

import subprocess

from machine import ROOT


def gdb(*commands):
    words = [word for command in commands for word in ("--batch", command)]
    done = subprocess.run(["tools/sluice", "gdb", "two-guests", *words], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_stops_at_the_hypervisors_entry():
    said = gdb("printf \"at %d\\n\", $pc == (unsigned long)&image_start", "sluice-where")
    assert "at 1" in said
    assert "CPU 0  EL2  no VMID" in said


def test_symbols_of_the_guests_are_at_their_addresses():
    """A breakpoint by a guest function's name is hit at EL1, under the VMID of a guest."""
    said = gdb("thbreak handle_mm_fault", "continue", "sluice-where")
    assert "EL1  VMID" in said and "handle_mm_fault in section .text" in said
