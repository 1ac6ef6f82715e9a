/* SPDX-License-Identifier: BSD-2-Clause */
/* The one place where internal error codes become Linux's. */
#include "abi/linux.h"
#include "guest/kernel/syscall.h"

static const uint8_t errnos[ERR_COUNT] = {
    [ERR_OK] = 0,
    [ERR_NOMEM] = LINUX_ENOMEM,
    [ERR_INVAL] = LINUX_EINVAL,
    [ERR_RANGE] = LINUX_EOVERFLOW,
    [ERR_EXIST] = LINUX_EEXIST,
    [ERR_NOENT] = LINUX_ENOENT,
    [ERR_BUSY] = LINUX_EBUSY,
    [ERR_AGAIN] = LINUX_EAGAIN,
    [ERR_PERM] = LINUX_EPERM,
    [ERR_FAULT] = LINUX_EFAULT,
    [ERR_NOSPC] = LINUX_ENOSPC,
    [ERR_UNSUPPORTED] = LINUX_ENODEV,
    [ERR_IO] = LINUX_EIO,
};

int64_t errno_of_error(err_t e) {
  return -(int64_t)((unsigned)e < ERR_COUNT ? errnos[e] : LINUX_EIO);
}
