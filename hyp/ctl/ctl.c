/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Where boot and exits meet the control side: start it, tell it what happened to a VM, end the machine.
 *
 * The end comes once: whoever closes the console first has given the verdict, and any other CPU that comes later parks until the
 * power goes. The verdict line is the last thing on the console, since nobody can print after console_close().
 */

#include "hyp/ctl/ctl.h"

#include "core/format.h"
#include "core/string.h"
#include "hyp/arch/psci.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/ctl/scenario.h"
#include "hyp/ctl/timeline.h"

void ctl_start(const struct scenario *s, bool interactive) {
  console_set_quiet(s->options.console_quiet);
  if (s->description)
    hyp_note("sluice: scenario: %s\n", s->description);
  monitor_start(s, interactive);
  timeline_start(s, interactive);
}

static void tell_verdict(const struct vm *vm) {
  hyp_note("sluice: %s: verdict %s (%llu)\n", vm->config.name, vm->verdict == VERDICT_PASSED ? "passed" : "failed",
           (unsigned long long)vm->verdict_value);
}

void ctl_vm_event(struct vm *vm, const char *what) {
  if (strcmp(what, "verdict") == 0)
    tell_verdict(vm);
  else
    hyp_note("sluice: %s: %s\n", vm->config.name, what);
  if (strcmp(what, "destroyed") == 0) {
    console_guest_gone(vm->id);
    report_forget(vm);
  }
  timeline_poke();
  monitor_poke();
}

NORETURN static void power_off(bool first) {
  if (first)
    psci_system_off();
  for (;;)
    wfi();
}

void ctl_finish(int status) {
  if (status != 0)
    ctl_fail("status %d", status);
  power_off(console_close("sluice: verdict: PASS\n"));
}

void ctl_fail(const char *fmt, ...) {
  char reason[192];
  va_list args;
  va_start(args, fmt);
  format_v(reason, sizeof reason, fmt, args);
  va_end(args);
  power_off(console_close("sluice: verdict: FAIL (%s)\n", reason));
}

void ctl_boot_error(const char *fmt, ...) {
  char text[256];
  va_list args;
  va_start(args, fmt);
  format_v(text, sizeof text, fmt, args);
  va_end(args);
  hyp_printf("sluice: error: %s\n", text);
  ctl_fail("could not start");
}
