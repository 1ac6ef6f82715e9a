/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Open files of a process: a small table in its task, which fork copies and exec keeps. What can be opened are the devices below /dev; they
 * can be mapped, not read or written, and are opened for both or not at all: a mapping is then as free as mmap(2) asks for. Lock: none,
 * only the task itself reaches its table. Refuses all flags but O_RDWR, O_SYNC and O_LARGEFILE.
 */
#include "guest/kernel/files.h"

#include "abi/linux.h"
#include "guest/drivers/handover.h"
#include "guest/drivers/managed.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/task.h"
#include "guest/kernel/uaccess.h"

#define PATH_MAX_BYTES 64u

static struct vm_file **slot_of(int64_t fd) {
  uint64_t n = (uint64_t)(uint32_t)fd - FILES_FIRST;
  return n < FILES_MAX ? &current_task()->files[n] : NULL;
}

struct vm_file *file_of(int64_t fd) {
  struct vm_file **slot = slot_of(fd);
  return slot != NULL ? *slot : NULL;
}

void files_fork(struct task *child) {
  for (unsigned i = 0; i < FILES_MAX; i++) {
    struct vm_file *file = current_task()->files[i];
    if (file != NULL)
      file->ops->get(file);
    child->files[i] = file;
  }
}

static void drop(struct vm_file **slot) {
  struct vm_file *file = *slot;
  *slot = NULL;
  if (file != NULL)
    file->ops->put(file);
}

void files_exit(struct task *t) {
  for (unsigned i = 0; i < FILES_MAX; i++)
    drop(&t->files[i]);
}

static int64_t install(struct vm_file *file) {
  for (int64_t fd = FILES_FIRST; fd < FILES_FIRST + FILES_MAX; fd++) {
    struct vm_file **slot = slot_of(fd);
    if (*slot != NULL)
      continue;
    file->ops->get(file);
    *slot = file;
    return fd;
  }
  return -LINUX_EMFILE;
}

/* Paths are absolute, so `dir` does not matter, as in Linux. */
int64_t sys_openat(int64_t dir, uint64_t path_user, uint64_t flags) {
  char path[PATH_MAX_BYTES];
  uint64_t length;
  (void)dir;
  err_t e = copy_string_from_user(path, path_user, sizeof path, &length);
  if (e != ERR_OK)
    return e == ERR_NOSPC ? -LINUX_ENOENT : errno_of(e);
  struct vm_file *file = managed_find(path);
  if (file == NULL)
    file = handover_find(path);
  if (file == NULL)
    return -LINUX_ENOENT;
  flags = (uint32_t)flags & ~(LINUX_O_SYNC | LINUX_O_LARGEFILE);
  if (flags != LINUX_O_RDWR)
    return flags <= LINUX_O_WRONLY ? -LINUX_EACCES : -LINUX_EINVAL;
  return install(file);
}

int64_t sys_close(int64_t fd) {
  struct vm_file **slot = slot_of(fd);
  if ((uint64_t)(uint32_t)fd < FILES_FIRST)
    return 0; /* the console stays */
  if (slot == NULL || *slot == NULL)
    return -LINUX_EBADF;
  drop(slot);
  return 0;
}
