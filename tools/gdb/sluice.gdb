# SPDX-License-Identifier: BSD-2-Clause
# What `make gdb` runs once gdb is connected to the stopped machine.

set pagination off
set confirm off
set print pretty on

# QEMU's loader puts the hypervisor where it is linked; the guests run at EL1 addresses of their own, so all symbols live side by side.
source tools/gdb/sluice.py
sluice-symbols

# From QEMU's little boot loader to the hypervisor's first instruction.
thbreak *image_head
continue
printf "\nStopped at the hypervisor's entry: x0 = device tree. Symbols: EL2 by name, the guests' beside them.\n"
printf "  sluice-where      exception level, VMID and symbol of every CPU\n"
printf "  sluice-user PROG  symbols of a user program (EL0)\n"
