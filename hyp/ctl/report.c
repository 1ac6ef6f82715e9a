/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Reports: what EL2 says when something is wrong with itself, and when a guest did what deserves a line.
 *
 * A report about EL2 is the last thing that happens: it takes no lock (the CPU that failed may hold any of them), says what, where and in
 * whose service, and ends the machine with FAIL. The other CPUs stand still meanwhile; a fault while reporting ends it at once. A report
 * about a guest is one line at a limited rate, and for its first abort the walk of the address, so that no guest can fill the console or
 * slow EL2 with it.
 */

#include "arch/esr.h"
#include "arch/sysreg.h"
#include "core/check.h"
#include "core/format.h"
#include "hyp/arch/mmu.h"
#include "hyp/arch/psci.h"
#include "hyp/core/cpu.h"
#include "hyp/core/smp.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/ctl.h"

#define TRAPS_SHOWN_ALL 8u /* of a VM; afterwards those whose number is a power of two */
#define FRAMES_SHOWN 12u
#define FRAME_STEP_MAX 65536u

static uint64_t walked;    /* VMs, by id, whose first abort has been followed through both stages; atomic */
static uint32_t reporting; /* id + 1 of the CPU that has begun a report about EL2; atomic */

/* --- EL2's own failures --- */

/* One CPU reports, the others stand still. Who fails within its own report ends the machine. */
static void begin_fatal(void) {
  uint32_t none = 0, me = this_cpu()->id + 1;
  if (!atomic_cas(&reporting, &none, me)) {
    if (none == me)
      psci_system_off();
    for (;;)
      wfi();
  }
  smp_stop_others();
  console_emergency();
}

static void print_context(void) {
  const struct cpu *c = this_cpu();
  const struct vcpu *v = c->current;
  if (v)
    hyp_printf("  CPU %u in the service of %s, vCPU %u (%llu exits)\n", c->id, v->vm->config.name, v->id, (unsigned long long)v->exits);
  else
    hyp_printf("  CPU %u, no guest\n", c->id);
}

static void print_registers(const uint64_t *x) {
  for (unsigned i = 0; i < 30; i += 3)
    hyp_printf("  x%-2u %016llx  x%-2u %016llx  x%-2u %016llx\n", i, (unsigned long long)x[i], i + 1, (unsigned long long)x[i + 1], i + 2,
               (unsigned long long)x[i + 2]);
}

/* Frame records (AAPCS64 6.4.6): each holds the caller's frame and the return address. Followed upward, near, and aligned only. */
static void print_calls(uint64_t frame, uint64_t link) {
  char name[SYMBOL_TEXT_MAX];
  hyp_printf("  from %s\n", symbol_describe(link, name));
  for (unsigned i = 0; i < FRAMES_SHOWN && frame && frame % 16 == 0; i++) {
    const uint64_t *record = (const uint64_t *)frame;
    hyp_printf("  from %s\n", symbol_describe(record[1], name));
    if (record[0] <= frame || record[0] - frame > FRAME_STEP_MAX)
      return;
    frame = record[0];
  }
}

/* What EL2's own stage 1 says of `far`: AT asks the hardware (Arm ARM D17.2.103, PAR_EL1). */
static void print_el2_translation(uint64_t far) {
  __asm__ volatile("at s1e2r, %0\n\tisb" ::"r"(far) : "memory");
  uint64_t par = sysreg_read(par_el1);
  if (par & PAR_F)
    hyp_printf("  EL2 does not map 0x%llx: %s, level %llu\n", (unsigned long long)far,
               bits_get(par, 6, 1) < 0x10 ? "translation or permission" : "other fault", (unsigned long long)bits_get(par, 2, 1));
  else
    hyp_printf("  EL2 maps 0x%llx to pa 0x%llx\n", (unsigned long long)far,
               (unsigned long long)((par & GENMASK(47, 12)) | (far & ~PAGE_MASK)));
  report_frame(pa_pfn(pa(far))); /* RAM is mapped one to one: whose frame was it meant to be? */
}

static bool far_is_valid(uint64_t esr) {
  unsigned ec = esr_ec(esr);
  bool abort = ec == ESR_EC_DABT_SAME || ec == ESR_EC_IABT_SAME || ec == ESR_EC_PC_ALIGN;
  return abort && !(esr & ESR_FnV);
}

void report_el2_exception(const uint64_t *x, uint64_t esr, uint64_t elr, uint64_t far, uint64_t spsr, uint64_t sp) {
  char text[ESR_TEXT_MAX], name[SYMBOL_TEXT_MAX];
  begin_fatal();
  hyp_printf("sluice: panic: %s\n", esr_describe(esr, text));
  hyp_printf("  at %s, ESR_EL2 %08llx, FAR_EL2 %016llx, SPSR_EL2 %llx, SP %016llx\n", symbol_describe(elr, name), (unsigned long long)esr,
             (unsigned long long)far, (unsigned long long)spsr, (unsigned long long)sp);
  print_context();
  print_registers(x);
  hyp_printf("  x30 %016llx\n", (unsigned long long)x[30]);
  if (far_is_valid(esr))
    print_el2_translation(far);
  print_calls(esr_ec(esr) == ESR_EC_SP_ALIGN ? 0 : x[29], x[30]);
  ctl_fail("panic at EL2: %s at %s", text, name);
}

void check_failed(const char *expr, const char *file, int line) {
  uint64_t frame = (uint64_t)__builtin_frame_address(0), link = (uint64_t)__builtin_return_address(0);
  begin_fatal();
  hyp_printf("sluice: panic: CHECK(%s) at %s:%d\n", expr, file, line);
  print_context();
  if (this_cpu()->current)
    hyp_printf("  guest pc 0x%llx, pstate 0x%llx\n", (unsigned long long)vcpu_pc(), (unsigned long long)vcpu_pstate());
  print_calls(frame, link);
  ctl_fail("CHECK(%s) at %s:%d", expr, file, line);
}

/* --- guests --- */

/* How many of this VM's traps there have been with this one, or 0 if it is not worth a line. */
static uint32_t deserves_a_line(struct vm *vm) {
  uint32_t n = atomic_add_fetch(&vm->unknown_traps, 1);
  return n <= TRAPS_SHOWN_ALL || is_pow2(n) ? n : 0;
}

/* An abort whose FAR is where the guest went astray; not a walk's own, which is about a descriptor. */
static bool is_plain_abort(uint64_t esr) {
  unsigned ec = esr_ec(esr);
  return (ec == ESR_EC_DABT_LOWER || ec == ESR_EC_IABT_LOWER) && !(esr & (ESR_FnV | ESR_S1PTW));
}

void report_guest_trap(struct vcpu *v, const char *what, uint64_t esr, uint64_t far, uint64_t ipa) {
  char text[ESR_TEXT_MAX];
  uint32_t n = deserves_a_line(v->vm);
  if (n == 0)
    return;
  hyp_printf("sluice: %s/%u: %s: %s; pc 0x%llx far 0x%llx ipa 0x%llx%s\n", v->vm->config.name, v->id, what, esr_describe(esr, text),
             (unsigned long long)vcpu_pc(), (unsigned long long)far, (unsigned long long)ipa,
             n == TRAPS_SHOWN_ALL ? " (from here on few are shown)" : "");
  if (is_plain_abort(esr) && !(atomic_fetch_or(&walked, BIT(v->vm->id)) & BIT(v->vm->id)))
    report_walk_vcpu(v, va(far));
}

void report_forget(const struct vm *vm) {
  atomic_fetch_and(&walked, ~BIT(vm->id));
}
