/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ageing stage 2 (Linux: idle page tracking, the access bit of lru_gen). A pass takes the access flag off every leaf of every VM, and
 * counts those that had it:
 *
 *   asleep --period--> VM 1: ranges of 2 MiB, a few in a step ... VM 32 --> asleep
 *
 * What is touched afterwards gets its flag back, by the hardware (FEAT_HAFDBS) or by an access-flag fault, so the next pass finds what was
 * accessed in between: the working set. The first pass of a VM finds what was ever mapped, and says nothing. Leaves keep their frames;
 * nothing is unmapped.
 *
 * It is EL2 work on CPU 0, hence no lock for its own state; a range is aged under its VM's s2->lock, with one TLB flush. A step looks at
 * RANGES_PER_STEP ranges at most, and at one that has 4 KiB leaves, for these cost some ten thousand instructions.
 */
#include "hyp/mem/age.h"
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"

#define RANGES_PER_STEP 16u

static struct {
  struct work work;
  uint32_t period_ms; /* 0: off */
  unsigned vm_id;     /* whose turn it is; 0: asleep */
} ager;

static void count_young(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc) {
  struct vm *vm = ctx;
  (void)ia, (void)out, (void)desc;
  vm->age.young += (uint64_t)1 << (9 * (3 - level));
}

/* One range of 2 MiB. True if it had leaves of 4 KiB. */
static bool age_range(struct vm *vm, uint64_t offset) {
  struct stage2 *s2 = &vm->s2;
  bool pages = false;
  spin_lock(&s2->lock);
  if (s2->pt.root) { /* else it is being restarted */
    pages = pt_count_pages(&s2->pt, VM_RAM_BASE + offset) != 0;
    pt_age(&s2->pt, VM_RAM_BASE + offset, SZ_2M, count_young, vm);
  }
  spin_unlock(&s2->lock);
  return pages;
}

static void end_pass(struct vm *vm) {
  vm->age.working_set = vm->age.young;
  vm->age.passes++;
  vm->age.offset = vm->age.young = 0;
}

/* True if the VM's pass is over. */
static bool age_vm(struct vm *vm) {
  if (vm->config.trap_stage1_faults || vm->state == VM_DYING)
    return true;
  for (unsigned i = 0; i < RANGES_PER_STEP && vm->age.offset < vm->config.memory_bytes; i++) {
    bool pages = age_range(vm, vm->age.offset);
    vm->age.offset += SZ_2M;
    if (pages)
      break;
  }
  if (vm->age.offset < vm->config.memory_bytes)
    return false;
  end_pass(vm);
  return true;
}

static enum work_result sleep_a_while(struct work *w) {
  ager.vm_id = 0;
  w->wake_at = time_now() + time_from_ms(ager.period_ms);
  return WORK_WAIT;
}

static enum work_result step(struct work *w) {
  if (ager.period_ms == 0) {
    ager.vm_id = 0;
    return WORK_DONE;
  }
  if (ager.vm_id == 0)
    ager.vm_id = 1;
  struct vm *vm = vm_by_id(ager.vm_id);
  if (!vm || age_vm(vm))
    ager.vm_id++;
  return ager.vm_id > VMS_MAX ? sleep_a_while(w) : WORK_MORE;
}

void age_init(void) {
  ager.work.step = step;
  list_init(&ager.work.node);
}

void age_on(uint32_t period_ms) {
  ager.period_ms = period_ms;
  work_wake(&ager.work);
}

void age_off(void) {
  ager.period_ms = 0;
  work_wake(&ager.work);
}

uint32_t age_period_ms(void) {
  return ager.period_ms;
}

bool age_working_set(const struct vm *vm, uint64_t *frames) {
  *frames = vm->age.working_set;
  return vm->age.passes >= 2 && !vm->config.trap_stage1_faults;
}
