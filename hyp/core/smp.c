/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPUs. They come up one after another through PSCI CPU_ON (DEN 0022), each straight into its scheduler; struct cpu of each is
 * written before and never moves.
 */
#include "hyp/core/smp.h"
#include "arch/barrier.h"
#include "core/atomic.h"
#include "core/check.h"
#include "hyp/arch/gic.h"
#include "hyp/arch/mmu.h"
#include "hyp/arch/psci.h"
#include "hyp/arch/switch.h"
#include "hyp/arch/timer.h"
#include "hyp/arch/vttbr.h"
#include "hyp/core/kick.h"
#include "hyp/core/main.h"
#include "hyp/core/runqueue.h"
#include "hyp/core/sched.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/ctl/console.h"

#define COME_UP_MS 1000u
#define STOP_SPINS 100000u

struct cpu cpus[CPUS_MAX];
unsigned cpu_count = 1;

extern char secondary_start[];

void cpu_init(struct cpu *c, unsigned id, uint64_t mpidr, uint8_t *stack_top) {
  c->id = id;
  c->mpidr = mpidr;
  c->stack_top = stack_top;
  c->rq_least = RQ_EMPTY;
  c->timer_at = TIMER_NEVER;
  list_init(&c->rq);
  list_init(&c->sleepers);
}

static bool wait_online(const struct cpu *c) {
  uint64_t until = timer_now() + time_from_ms(COME_UP_MS);
  while (!atomic_load_acquire(&c->online)) {
    if (timer_now() > until)
      return false;
    cpu_relax();
  }
  return true;
}

static bool start_one(const struct machine *m, struct cpu *c, uint64_t mpidr) {
  cpu_init(c, cpu_count, mpidr, mmu_stack_top(cpu_count));
  err_t err = numa_set_cpu(m, cpu_count, mpidr);
  CHECK(err == ERR_OK); /* numa_settle() */
  dsb(ish);
  long result = psci_cpu_on(mpidr, (uint64_t)secondary_start, (uint64_t)c);
  if (result == PSCI_SUCCESS && wait_online(c))
    return true;
  hyp_printf("sluice: CPU %#lx does not come up (PSCI %ld): left out\n", mpidr, result);
  return false;
}

void smp_start_others(const struct machine *m) {
  for (unsigned i = 0; i < m->cpu_count; i++)
    if (m->cpu_mpidr[i] != cpus[0].mpidr && start_one(m, &cpus[cpu_count], m->cpu_mpidr[i]))
      cpu_count++;
}

void hyp_secondary_main(struct cpu *c) {
  sysreg_write(cptr_el2, CPTR_EL2_RES1 | CPTR_EL2_TFP);
  el2_setup_controls();
  cost_cpu_init();
  vttbr_park();
  if (gic_cpu_init(c) != ERR_OK)
    for (;;)
      wfi();
  vgic_cpu_setup();
  atomic_store_release(&c->online, true);
  sched_run(c);
}

void smp_kick_others(void) {
  for (unsigned i = 0; i < cpu_count; i++)
    if (&cpus[i] != this_cpu() && cpus[i].online)
      gic_send_sgi(&cpus[i], GIC_SGI_KICK);
}

void smp_stop_others(void) {
  for (unsigned i = 0; i < cpu_count; i++)
    if (&cpus[i] != this_cpu() && cpus[i].online)
      gic_send_sgi(&cpus[i], GIC_SGI_STOP);
  for (unsigned i = 0; i < STOP_SPINS && cpu_count > 1; i++)
    cpu_relax();
}
