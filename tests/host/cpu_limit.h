/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOST_CPU_LIMIT_H
#define HOST_CPU_LIMIT_H

#include <stddef.h>
#include <sys/time.h>

/* A call that never ends is a failure, too: SIGPROF after so many seconds of CPU time, however busy the host is; 0: no limit any more. */
static inline void limit_cpu_seconds(long seconds) {
  (void)setitimer(ITIMER_PROF, &(const struct itimerval){.it_value.tv_sec = seconds}, NULL);
}

#endif
