/* SPDX-License-Identifier: BSD-2-Clause */
/* How the guest ends: counts, verdict, power. */
#include "guest/kernel/poweroff.h"

#include "abi/hypercall.h"
#include "arch/barrier.h"
#include "guest/drivers/psci.h"
#include "guest/kernel/bootargs.h"
#include "guest/kernel/compactd.h"
#include "guest/kernel/console.h"
#include "guest/kernel/fault.h"
#include "guest/kernel/sched.h"

void report_verdict(uint64_t status) {
  if (sluice_present())
    smccc_call(SLUICE_HVC_VERDICT, status == 0 ? 0 : 1, status, 0);
}

void machine_finish(int32_t status) {
  uint64_t value = (status & 0x7f) != 0 ? 0x80 | ((uint64_t)status & 0x7f) : (uint64_t)status >> 8 & 0xff;
  kprintf("stage-1 faults handled: %lu\n", faults_handled());
  compactd_report();
  kprintf("init ended with status %lu\n", value);
  report_verdict(value);
  if (bootargs.poweroff)
    psci_system_off();
  sched_idle();
}
