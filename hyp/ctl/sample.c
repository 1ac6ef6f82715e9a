/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sampler: EL2 work that writes down, every so many milliseconds, what each VM and each zone has. The values of one sample bear its
 * number, and are taken in a few steps next to each other: zones first, then VMs, a few at a time, so that no step is long. Between them
 * stand marks: steps of the timeline, maps of memory.
 *
 *   sample n:  ZONE  ORDERS 0..7  ORDERS 8..10  (each zone)   [NAME]  VM  EVENTS  POLICY  (each VM; its name once)
 *
 * Frames and counts go two to a word, of 32 bits each. Reads counts without their locks: each is right by itself, together they are a
 * glimpse. The moments are on a grid from the first on; one that is missed is left out. All state belongs to the work's own step.
 */
#include "hyp/ctl/sample.h"
#include "core/bits.h"
#include "core/string.h"
#include "hyp/core/cost.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/ctl/trace.h"
#include "hyp/mem/age.h"
#include "hyp/mem/balloon_target.h"
#include "hyp/mem/exhaust.h"
#include "mm/page_alloc.h"

#define VMS_PER_STEP 4u
#define ZONES_PER_STEP 4u
#define ORDERS_PER_RECORD 8u
#define UNKNOWN UINT32_MAX

static struct {
  struct work work;
  uint64_t period, due; /* CNTPCT */
  uint64_t number;
  unsigned next_zone;
  unsigned next_vm; /* id; 0: zones come first */
} sampler;

static uint64_t pair(uint64_t low, uint64_t high) {
  return (uint32_t)low | high << 32;
}

static void put(enum trace_type type, uint64_t what, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4) {
  trace(TRACE_GROUP_SAMPLE, type, 0, pair(what, sampler.number), a1, a2, a3, a4);
}

static uint64_t blocks(const struct buddyinfo *b, unsigned order) {
  return order <= MAX_ORDER ? b->free_blocks[order] : 0;
}

/* What was never opened is on no list: it will be blocks of 4 MiB. */
static bool sample_zone(unsigned zone) {
  struct buddyinfo b;
  if (!page_buddyinfo(zone, &b))
    return false;
  b.free_blocks[MAX_ORDER] += b.unopened_frames >> MAX_ORDER;
  put(TRACE_SAMPLE_ZONE, zone, pair(b.managed_frames, b.free_frames), pair(b.cached_frames, b.zeroed_frames),
      pair(b.min_frames, b.low_frames), b.node);
  for (unsigned o = 0; o <= MAX_ORDER; o += ORDERS_PER_RECORD)
    put(TRACE_SAMPLE_ORDERS, zone | o << 16, pair(blocks(&b, o), blocks(&b, o + 1)), pair(blocks(&b, o + 2), blocks(&b, o + 3)),
        pair(blocks(&b, o + 4), blocks(&b, o + 5)), pair(blocks(&b, o + 6), blocks(&b, o + 7)));
  return true;
}

static void sample_name(struct vm *vm) {
  uint64_t words[VM_NAME_MAX / 8];
  _Static_assert(sizeof(words) == sizeof(vm->config.name) && sizeof(words) == 4 * sizeof(uint64_t), "a name fills a record");
  memcpy(words, vm->config.name, sizeof(words));
  put(TRACE_SAMPLE_NAME, vm->id, words[0], words[1], words[2], words[3]);
  vm->sampled = true;
}

static void sample_vm(struct vm *vm) {
  const struct stage2 *s2 = &vm->s2;
  struct memory_waiters w = exhaust_waiters(vm);
  struct balloon_state balloon;
  struct ledger l;
  uint64_t stage1 = 0, waits = 0, exits = 0;
  for (unsigned i = 0; i < vm->vcpu_count; i++) {
    stage1 += vm->vcpus[i]->s1_faults;
    waits += vm->vcpus[i]->wait_count;
    exits += vm->vcpus[i]->exits;
  }
  balloon_read(vm, &balloon);
  ledger_read_owner(vm->id, &l);
  if (!vm->sampled)
    sample_name(vm);
  put(TRACE_SAMPLE_VM, vm->id, pair(vm->config.memory_bytes >> PAGE_SHIFT, s2->populated_frames), pair(balloon.actual, balloon.reported),
      pair(l.frames[FRAME_SHARED], l.frames[FRAME_LENT]), pair(vm->quota.max, w.memory + w.quota));
  put(TRACE_SAMPLE_EVENTS, vm->id, pair(s2->faults_4k, s2->faults_2m), pair(stage1, waits), pair(s2->moved_frames, l.frames[FRAME_TABLE]),
      exits);
  uint64_t working_set;
  if (!age_working_set(vm, &working_set))
    working_set = UNKNOWN;
  bool measured = cost_is_measured();
  put(TRACE_SAMPLE_POLICY, vm->id, pair(working_set, balloon.present ? balloon.keep : UNKNOWN), measured ? vm->cost.el2 : ~(uint64_t)0,
      measured ? vm->cost.guest : ~(uint64_t)0, pair(s2->released_frames, vm->cost.tlbis));
}

static enum work_result sample_over(struct work *w) {
  uint64_t now = time_now();
  sampler.number++;
  sampler.next_zone = sampler.next_vm = 0;
  while (sampler.due <= now)
    sampler.due += sampler.period;
  w->wake_at = sampler.due;
  return WORK_WAIT;
}

static enum work_result step(struct work *w) {
  if (sampler.next_vm == 0) {
    for (unsigned done = 0; done < ZONES_PER_STEP && sampler.next_vm == 0; done++)
      if (!sample_zone(sampler.next_zone++))
        sampler.next_vm = 1;
    return WORK_MORE;
  }
  for (unsigned done = 0; done < VMS_PER_STEP && sampler.next_vm <= VMS_MAX; sampler.next_vm++) {
    struct vm *vm = vm_by_id(sampler.next_vm);
    if (!vm)
      continue;
    sample_vm(vm);
    done++;
  }
  return sampler.next_vm <= VMS_MAX ? WORK_MORE : sample_over(w);
}

void sample_mark(enum trace_mark what, const char *name) {
  uint64_t words[4] = {0};
  memcpy(words, name, min_u64(strlen(name), sizeof(words)));
  put(TRACE_SAMPLE_MARK, what, words[0], words[1], words[2], words[3]);
}

void sample_start(uint32_t period_ms) {
  if (period_ms == 0)
    return;
  sampler.work.step = step;
  list_init(&sampler.work.node);
  sampler.period = time_from_ms(period_ms);
  sampler.due = time_now();
  work_wake(&sampler.work);
}
