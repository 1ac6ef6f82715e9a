/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_PROBE_H
#define GUEST_KERNEL_PROBE_H

/*
 * Bootarg `probe`: two accesses of EL1's own that only a hypervisor or the bus can answer, each reported in a line "guest: probe: ...".
 * An unbacked address must be a synchronous external abort; a stage-1 table in memory nobody has touched must be walked as if it were all
 * zeroes, which is a stage-2 fault on a stage-1 walk (S1PTW). A wrong answer is a panic. Runs once, before init.
 */
void probe_run(void);

#endif
