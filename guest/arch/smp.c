/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Secondary CPUs by PSCI CPU_ON, one at a time. What a starting CPU reads with its MMU off is cleaned to the point of coherency first.
 * A CPU that does not come is reported and left out; its block is not freed, since it may still come.
 */
#include "guest/arch/cpu.h"

#include "arch/sysreg.h"
#include "core/atomic.h"
#include "core/format.h"
#include "guest/arch/machine.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/gic.h"
#include "guest/drivers/psci.h"
#include "guest/drivers/timer.h"
#include "guest/kernel/console.h"
#include "guest/kernel/panic.h"
#include "guest/kernel/sched.h"

struct secondary_boot {
  uint64_t task; /* virtual */
  uint64_t ttbr1, tcr;
};

_Static_assert(offsetof(struct secondary_boot, task) == SECONDARY_TASK, "layout.h");
_Static_assert(offsetof(struct secondary_boot, ttbr1) == SECONDARY_TTBR1, "layout.h");
_Static_assert(offsetof(struct secondary_boot, tcr) == SECONDARY_TCR, "layout.h");

void secondary_entry(void);

#define START_TIMEOUT_S 10u

void smp_kick_others(void) {
  for (unsigned i = 0; i < cpu_count; i++) {
    if (i != current_cpu_id() && atomic_load_acquire(&cpus[i].online))
      gic_send_sgi(i, SGI_RESCHED);
  }
}

static err_t prepare(unsigned id, uint64_t mpidr, struct task **out) {
  err_t e = task_alloc(true, out);
  if (e != ERR_OK)
    return e;
  struct task *idle = *out;
  idle->cpu = id;
  format(idle->name, sizeof idle->name, "idle/%u", id);
  cpus[id] = (struct cpu){.id = id, .mpidr = mpidr, .idle_task = idle};
  return ERR_OK;
}

static bool wait_online(const struct cpu *cpu) {
  uint64_t deadline = timer_now() + START_TIMEOUT_S * timer_hz;
  while (!atomic_load_acquire(&cpu->online)) {
    if (timer_now() > deadline)
      return false;
    cpu_relax();
  }
  return true;
}

static err_t start(unsigned id, uint64_t mpidr) {
  static struct secondary_boot boot ALIGNED(128);
  struct task *idle;
  err_t e = prepare(id, mpidr, &idle);
  if (e != ERR_OK)
    return e;
  boot = (struct secondary_boot){(uint64_t)idle, mmu_kernel_ttbr(), sysreg_read(tcr_el1)};
  cache_clean_poc(&boot, sizeof boot);
  e = psci_cpu_on(mpidr, image_pa((const void *)secondary_entry), image_pa(&boot).v);
  if (e == ERR_OK && !wait_online(&cpus[id]))
    e = ERR_IO;
  return e;
}

void smp_boot(const struct machine *m) {
  for (unsigned i = 0; i < m->cpu_count; i++) {
    if (m->cpu_mpidr[i] == cpus[0].mpidr)
      continue;
    err_t e = start(cpu_count, m->cpu_mpidr[i]);
    if (e != ERR_OK) {
      kprintf("CPU %lx did not start: %s\n", m->cpu_mpidr[i], err_name(e));
      return;
    }
    cpu_count++;
  }
}

void secondary_main(void) {
  struct cpu *cpu = this_cpu();
  cpu_setup_el0();
  if (gic_cpu_init() != ERR_OK)
    panic("CPU %u has no redistributor", cpu->id);
  timer_cpu_init(machine.vtimer_intid);
  sched_cpu_init(current_task());
  atomic_store_release(&cpu->online, 1u);
  sched_idle();
}
