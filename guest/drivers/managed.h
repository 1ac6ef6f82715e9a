/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_MANAGED_H
#define GUEST_DRIVERS_MANAGED_H

/* Ranges that several guests map at once ("sluice,managed" in the device tree), as files that a process can map: /dev/managed/NAME. */

struct machine;
struct vm_file;

/* Take over what the device tree names. Once, at boot. Ranges that meet RAM are left out. */
void managed_init(const struct machine *m);

/* By its path. NULL: none. It exists for good; its count of references does nothing. */
struct vm_file *managed_find(const char *path);

#endif
