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
    """sluice-symbols: load the symbols of the hypervisor and of the guest kernel.

    Every guest runs the same kernel image at the same EL1 addresses, so one copy serves them all once their MMU is on."""

    def __init__(self):
        super().__init__("sluice-symbols", gdb.COMMAND_FILES)

    def invoke(self, argument, from_tty):
        gdb.execute(f"symbol-file {BUILD}/hyp/sluice.elf", to_string=True)
        print(f"symbols: {BUILD}/hyp/sluice.elf")
        load(f"{BUILD}/guest/guest.elf")


class User(gdb.Command):
    """sluice-user PROGRAM: add the symbols of a program of the initramfs."""

    def __init__(self):
        super().__init__("sluice-user", gdb.COMMAND_FILES)

    def invoke(self, argument, from_tty):
        load(f"{BUILD}/user/{argument.strip()}")


class Where(gdb.Command):
    """sluice-where: one line per CPU: exception level, PC and the symbol there."""

    def __init__(self):
        super().__init__("sluice-where", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        chosen = gdb.selected_thread()
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda t: t.num):
            thread.switch()
            frame = gdb.newest_frame()
            level = (int(frame.read_register("cpsr")) >> 2) & 3
            pc = int(frame.read_register("pc")) & (1 << 64) - 1
            symbol = gdb.execute(f"info symbol {pc:#x}", to_string=True).strip() if level else "(user program)"
            print(f"CPU {thread.num - 1}  EL{level}  {pc:#018x}  {symbol}")
        chosen.switch()


Symbols()
User()
Where()
