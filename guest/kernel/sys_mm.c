/* SPDX-License-Identifier: BSD-2-Clause */
/* The memory system calls: arguments go to the VM layer as they are; it checks them. */
#include "abi/linux.h"
#include "guest/kernel/files.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/task.h"
#include "guest/vm/vm.h"

static struct mm_struct *current_mm(void) {
  return current_task()->mm;
}

int64_t sys_mmap(uint64_t addr, uint64_t len, uint64_t prot, uint64_t flags, int64_t fd, uint64_t offset) {
  uint64_t out;
  struct vm_file *file = flags & MAP_ANONYMOUS ? NULL : file_of(fd);
  if ((offset & ~PAGE_MASK) != 0)
    return -LINUX_EINVAL;
  if (!(flags & MAP_ANONYMOUS) && file == NULL)
    return -LINUX_EBADF;
  err_t e = do_mmap(current_mm(), addr, len, (unsigned)prot, (unsigned)flags, file, file != NULL ? offset >> PAGE_SHIFT : 0, &out);
  return e == ERR_OK ? (int64_t)out : errno_of(e);
}

int64_t sys_munmap(uint64_t addr, uint64_t len) {
  return errno_of(do_munmap(current_mm(), addr, len));
}

int64_t sys_mprotect(uint64_t addr, uint64_t len, uint64_t prot) {
  return errno_of(do_mprotect(current_mm(), addr, len, (unsigned)prot));
}

int64_t sys_madvise(uint64_t addr, uint64_t len, int64_t advice) {
  return errno_of(do_madvise(current_mm(), addr, len, (int)advice));
}

int64_t sys_brk(uint64_t brk) {
  return (int64_t)do_brk(current_mm(), brk);
}
