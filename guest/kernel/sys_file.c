/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is read and written: descriptors 0, 1 and 2 are the console; what files.c opens answers neither. User memory is copied through a
 * small buffer, so that no lock is held while a page of it is faulted in.
 */
#include "abi/handover_dev.h"
#include "abi/linux.h"
#include "core/bits.h"
#include "guest/drivers/handover.h"
#include "guest/kernel/console.h"
#include "guest/kernel/files.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/uaccess.h"

#define CHUNK_BYTES 256u
#define IOV_MAX 1024u

static bool is_console(int64_t fd) {
  return (uint64_t)(uint32_t)fd <= 2;
}

/* For a descriptor that is no console. */
static int64_t no_stream(int64_t fd) {
  return file_of(fd) != NULL ? -LINUX_EINVAL : -LINUX_EBADF;
}

int64_t sys_write(int64_t fd, uint64_t buf, uint64_t bytes) {
  char chunk[CHUNK_BYTES];
  uint64_t done = 0;
  if (!is_console(fd))
    return no_stream(fd);
  bytes = min_u64(bytes, INT32_MAX & PAGE_MASK);
  while (done < bytes) {
    uint64_t n = min_u64(bytes - done, sizeof chunk);
    if (copy_from_user(chunk, buf + done, n) != ERR_OK)
      return done > 0 ? (int64_t)done : -LINUX_EFAULT;
    console_write(chunk, n);
    done += n;
  }
  return (int64_t)done;
}

int64_t sys_writev(int64_t fd, uint64_t iov, uint64_t count) {
  int64_t total = 0;
  if (!is_console(fd))
    return no_stream(fd);
  if (count > IOV_MAX)
    return -LINUX_EINVAL;
  for (uint64_t i = 0; i < count; i++) {
    struct linux_iovec v;
    if (copy_from_user(&v, iov + i * sizeof v, sizeof v) != ERR_OK)
      return total > 0 ? total : -LINUX_EFAULT;
    int64_t n = sys_write(fd, v.base, v.len);
    if (n < 0)
      return total > 0 ? total : n;
    total += n;
    if ((uint64_t)n < v.len)
      break;
  }
  return total;
}

static uint64_t wait_for_input(char *to, uint64_t cap) {
  uint64_t n = 0;
  vlock_acquire(&sched_lock);
  while ((n = console_read(to, cap)) == 0 && !(current_task()->work & TASK_WORK_KILL))
    sched_block(WAIT_CONSOLE);
  vlock_release(&sched_lock);
  return n;
}

/* Raw, without echo: what has come so far, at least one byte. A carriage return is a newline. */
int64_t sys_read(int64_t fd, uint64_t buf, uint64_t bytes) {
  char chunk[CHUNK_BYTES];
  if (!is_console(fd))
    return no_stream(fd);
  if (bytes == 0)
    return 0;
  uint64_t n = wait_for_input(chunk, min_u64(bytes, sizeof chunk));
  for (uint64_t i = 0; i < n; i++)
    if (chunk[i] == '\r')
      chunk[i] = '\n';
  return copy_to_user(buf, chunk, n) == ERR_OK ? (int64_t)n : -LINUX_EFAULT;
}

static bool is_handover(const struct vm_file *file) {
  return file != NULL && file == handover_find(HANDOVER_DEV_PATH);
}

/* Only /dev/handover has any, each with the same argument. */
int64_t sys_ioctl(int64_t fd, uint64_t request, uint64_t arg) {
  struct handover_dev call;
  if (!is_handover(file_of(fd)))
    return is_console(fd) || file_of(fd) != NULL ? -LINUX_ENOTTY : -LINUX_EBADF;
  if (copy_from_user(&call, arg, sizeof call) != ERR_OK)
    return -LINUX_EFAULT;
  int64_t result = handover_ioctl((uint32_t)request, &call);
  return result == 0 && copy_to_user(arg, &call, sizeof call) != ERR_OK ? -LINUX_EFAULT : result;
}

/* There are no links to read; /proc/self/exe is what C libraries ask for, and take no for an answer. */
int64_t sys_readlinkat(int64_t dir, uint64_t path, uint64_t buf, uint64_t bytes) {
  (void)dir, (void)path, (void)buf, (void)bytes;
  return -LINUX_ENOENT;
}
