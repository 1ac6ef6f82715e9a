/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_BOOTARGS_H
#define GUEST_KERNEL_BOOTARGS_H

/*
 * The kernel command line, as Linux reads it: what the kernel knows it takes; "name=value" that it does not know goes to
 * init's environment, other words to init's arguments, and everything after "--" too. Double quotes keep blanks.
 *
 *   init=PATH       the first program; default /init, then /bin/init
 *   trace           tell Sluice the steps of every fault of a process (SLUICE_HVC_TRACE)
 *   probe           before init, try what only the hypervisor can answer (probe.h)
 *   poweroff=off    stay up when init has ended
 *   quiet           no banner, no line per process
 *   console=hvc0    output goes to the virtio console, if there is one, and no more to the UART; unless console=ttyAMA0 is there, too
 *   compact=MS      compact memory every so many milliseconds (compactd.h)
 *   reporting=MS    free memory is reported to the balloon's device so long after it came free; default 20, 0: never
 *   poison          fill freed frames and look at them when they are handed out: for tests
 *   shuffle=MS      move every user page there is to another frame, every so many milliseconds: for tests
 */

#include "core/types.h"

#define INIT_ARGS_MAX 16u
#define BOOTARG_MS_MAX 3600000u

struct bootargs {
  const char *init; /* NULL: the default */
  bool trace, probe, poweroff, quiet;
  bool console_hvc, console_uart;
  bool poison;
  unsigned compact_ms, shuffle_ms, reporting_ms; /* 0: never */
  const char *argv[INIT_ARGS_MAX];               /* without argv[0] */
  const char *envp[INIT_ARGS_MAX];
  unsigned argc, envc;
};

extern struct bootargs bootargs;

/* Cut `line` into words in place. Words beyond INIT_ARGS_MAX are dropped. */
void bootargs_parse(char *line);

#endif
