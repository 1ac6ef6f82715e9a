/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_FILES_H
#define GUEST_KERNEL_FILES_H

/* What a process has open beyond the console: descriptors FILES_FIRST to FILES_FIRST + FILES_MAX - 1. */

#include "core/types.h"

#define FILES_FIRST 3
#define FILES_MAX 4

struct task;
struct vm_file;

/* The current process's open file `fd`, or NULL. It holds a reference. */
struct vm_file *file_of(int64_t fd);
/* `child` gets what the current process has open. */
void files_fork(struct task *child);
/* Close everything. `t` is current or was never run. */
void files_exit(struct task *t);

#endif
