# SPDX-License-Identifier: BSD-2-Clause
"""gdb commands for a machine with three worlds: the hypervisor at EL2, guest kernels at EL1, their programs at EL0."""

import os

import gdb

BUILD = os.environ.get("BUILD", "build")


def load(path, *options):
    if os.path.exists(path):
        gdb.execute(f"add-symbol-file {path} {' '.join(options)}", to_string=True)
        print(f"symbols: {path}")


class Symbols(gdb.Command):
    """sluice-symbols: add the symbols of the guest kernel to the hypervisor's.

    Every guest runs the same kernel image at the same EL1 addresses, so one copy serves them all once their MMU is on."""

    def __init__(self):
        super().__init__("sluice-symbols", gdb.COMMAND_FILES)

    def invoke(self, argument, from_tty):
        load(f"{BUILD}/guest/guest.elf")


class User(gdb.Command):
    """sluice-user PROGRAM: add the symbols of a program of the initramfs."""

    def __init__(self):
        super().__init__("sluice-user", gdb.COMMAND_FILES)

    def invoke(self, argument, from_tty):
        load(f"{BUILD}/user/{argument.strip()}")


def register(frame, name):
    """A system register that QEMU shows, or None."""
    try:
        return int(frame.read_register(name)) & (1 << 64) - 1
    except (ValueError, gdb.error):
        return None


class Where(gdb.Command):
    """sluice-where: one line per CPU: exception level, VMID, PC and the symbol there."""

    def __init__(self):
        super().__init__("sluice-where", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        chosen = gdb.selected_thread()
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda t: t.num):
            thread.switch()
            frame = gdb.newest_frame()
            level = (register(frame, "cpsr") >> 2) & 3
            vttbr = register(frame, "VTTBR_EL2")
            vmid = f"VMID {vttbr >> 48}" if vttbr else "no VMID"
            pc = register(frame, "pc")
            symbol = gdb.execute(f"info symbol {pc:#x}", to_string=True).strip() if level else "(user program)"
            print(f"CPU {thread.num - 1}  EL{level}  {vmid:<8}  {pc:#018x}  {symbol}")
        chosen.switch()


Symbols()
User()
Where()
