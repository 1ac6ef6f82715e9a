/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Commands about memory: the ledger and its comparison, the two-stage walk. (What the core looks like: monitor_cmds_mm.c.)
 *
 * `ledger compare` is how a scenario proves that nothing was lost: free, cached and zeroed frames are one class (what lies in a
 * per-CPU list is as free as what lies in the buddy), every other state must have exactly the count it had at `ledger save`. Both give
 * back first what EL2's slabs keep for later.
 * `walk` stops the VM while it looks, because a running vCPU's translation registers are in its CPU and not in memory.
 */

#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/mem/move.h"
#include "mm/frame.h"
#include "mm/slab.h"

#define WALK_STOP_MS 1000u

static struct ledger saved;
static uint64_t saved_charges; /* bytes of objects, of all owners */
static bool is_saved;

static bool is_available(unsigned state) {
  return state == FRAME_FREE || state == FRAME_CACHED || state == FRAME_ZEROED;
}

/*
 * The machine's ledger as the sum of what the home and the living VMs have: a fifth of the time of summing all possible owners, and a frame
 * that was left to a VM that is no more shows as missing from the sum.
 */
static void add_owner(struct ledger *sum, owner_t owner) {
  struct ledger one;
  ledger_read_owner(owner, &one);
  for (unsigned i = 0; i < FRAME_STATES; i++)
    sum->frames[i] += one.frames[i];
}

static void read_machine(struct ledger *sum) {
  struct vm *vm;
  ledger_read_owner(OWNER_CORE, sum);
  add_owner(sum, OWNER_FRAGMENTER);
  for_each_vm(vm) add_owner(sum, vm->id);
}

static uint64_t sum_of(const struct ledger *l) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < FRAME_STATES; i++)
    sum += l->frames[i];
  return sum;
}

static uint64_t available(const struct ledger *l) {
  return l->frames[FRAME_FREE] + l->frames[FRAME_CACHED] + l->frames[FRAME_ZEROED];
}

static uint64_t all_charges(void) {
  uint64_t sum = 0;
  for (unsigned owner = 0; owner < OWNERS_MAX; owner++)
    sum += slab_charged_bytes((owner_t)owner);
  return sum;
}

/* One line: the states that have frames, their sum, and the objects charged. */
static void print_ledger(const char *who, const struct ledger *l, uint64_t charges, uint64_t total) {
  char text[256];
  size_t at = 0;
  uint64_t sum = sum_of(l);
  text[0] = '\0';
  for (unsigned i = 0; i < FRAME_STATES; i++)
    if (l->frames[i] && at < sizeof text)
      at += (size_t)format(text + at, sizeof text - at, " %s %llu", frame_state_name(i), (unsigned long long)l->frames[i]);
  hyp_printf("ledger: %s:%s%s; sum %llu; %llu bytes of objects\n", who, text, at ? "" : " nothing", (unsigned long long)sum,
             (unsigned long long)charges);
  if (total)
    hyp_printf("ledger: of %llu frames%s\n", (unsigned long long)total, sum == total ? "" : "; the rest is on the move, or lost");
}

/*
 * Empty slabs go back first, a bounded piece in a step: until SHRINK_QUIET pieces in a row have freed nothing (one may only have emptied
 * magazines). state[0]: how many that is. True when it is done.
 */
#define SHRINK_QUIET 8u
static bool shrink_slabs(struct session *s) {
  s->state[0] = slab_shrink_some(~(uint64_t)0) ? 0 : s->state[0] + 1;
  return s->state[0] == SHRINK_QUIET;
}

static enum work_result compare_ledger(struct session *s) {
  struct ledger now;
  bool equal = true;
  if (!is_saved)
    return session_fail_done(s, "nothing is saved");
  if (!shrink_slabs(s))
    return WORK_MORE;
  read_machine(&now);
  if (sum_of(&now) != ledger_total())
    return session_fail_done(s, "the ledger sums to %llu, not %llu frames", (unsigned long long)sum_of(&now),
                             (unsigned long long)ledger_total());
  for (unsigned i = 0; i < FRAME_STATES; i++) {
    if (is_available(i) || now.frames[i] == saved.frames[i])
      continue;
    hyp_printf("ledger: %s: %llu saved, %llu now\n", frame_state_name(i), (unsigned long long)saved.frames[i],
               (unsigned long long)now.frames[i]);
    equal = false;
  }
  if (available(&now) != available(&saved)) {
    hyp_printf("ledger: available: %llu saved, %llu now\n", (unsigned long long)available(&saved), (unsigned long long)available(&now));
    equal = false;
  }
  uint64_t charges = all_charges();
  if (charges != saved_charges) {
    hyp_printf("ledger: objects: %llu saved, %llu now\n", (unsigned long long)saved_charges, (unsigned long long)charges);
    equal = false;
  }
  if (!equal)
    return session_fail_done(s, "the ledger differs");
  hyp_printf("sluice: ledger: equal, %llu frames available\n", (unsigned long long)available(&now));
  return WORK_DONE;
}

/* Home first, then the VMs one per step. state[0]: next id. */
static enum work_result show_ledger(struct session *s) {
  struct ledger l;
  if (s->state[0] == 0) {
    read_machine(&l);
    print_ledger("machine", &l, all_charges(), ledger_total());
  }
  if (s->state[0]++ == VMS_MAX)
    return WORK_DONE;
  const struct vm *vm = vm_by_id((unsigned)s->state[0]);
  if (vm) {
    ledger_read_owner(vm->id, &l);
    print_ledger(vm->config.name, &l, slab_charged_bytes(vm->id), 0);
  }
  return WORK_MORE;
}

static enum work_result cmd_ledger(struct session *s) {
  if (s->argc == 1)
    return show_ledger(s);
  if (strcmp(s->argv[1], "compare") == 0)
    return compare_ledger(s);
  if (strcmp(s->argv[1], "save") != 0)
    return session_fail_done(s, "save or compare?");
  if (!shrink_slabs(s))
    return WORK_MORE;
  read_machine(&saved);
  saved_charges = all_charges();
  is_saved = true;
  hyp_printf("sluice: ledger: saved, %llu frames available\n", (unsigned long long)available(&saved));
  return WORK_DONE;
}

/* --- walk --- */

enum {
  WALK_BEGIN = 0,
  WALK_STOPPING,
  WALK_STAGE1,
  WALK_STAGE2
};

static enum work_result walk_begin(struct session *s, struct vm *vm) {
  if (!parse_u64(s->argv[2], &s->state[0]))
    return session_fail_done(s, "`%s` is not an address", s->argv[2]);
  session_wait_at_most(s, WALK_STOP_MS);
  s->phase = WALK_STOPPING;
  s->state[1] = vm->state == VM_RUNNING && vm->goal == GOAL_NONE; /* else somebody else pauses it, and wants it paused */
  if (s->state[1] && vm_pause(vm) != ERR_OK)
    return session_fail_done(s, "cannot pause %s", s->argv[1]);
  return WORK_MORE;
}

/* PAUSED is reached when no CPU holds a vCPU's registers any more. */
static enum work_result walk_stopping(struct session *s, const struct vm *vm) {
  if (vm->state == VM_RUNNING && session_may_wait(s))
    return WORK_WAIT;
  s->phase = WALK_STAGE1;
  return WORK_MORE;
}

static enum work_result walk_end(struct session *s, struct vm *vm) {
  if (s->state[1] && vm->state == VM_PAUSED && vm_start(vm) != ERR_OK)
    return session_fail_done(s, "cannot resume %s", s->argv[1]);
  return WORK_DONE;
}

static enum work_result cmd_walk(struct session *s) {
  struct vm *vm = session_vm(s, 1);
  if (!vm)
    return WORK_DONE;
  switch (s->phase) {
  case WALK_BEGIN:
    return walk_begin(s, vm);
  case WALK_STOPPING:
    return walk_stopping(s, vm);
  case WALK_STAGE1:
    if (!report_walk_stage1(vm, va(s->state[0]), &s->state[2]))
      return walk_end(s, vm);
    s->phase = WALK_STAGE2;
    return WORK_MORE;
  default:
    report_walk_stage2(vm, ipa(s->state[2]));
    return walk_end(s, vm);
  }
}

const struct command monitor_memory_commands[] = {
    {"ledger", "[save|compare]", "who has how many frames", cmd_ledger, 0, 1},
    {"walk", "VM VA", "VA to IPA to PA, descriptor by descriptor", cmd_walk, 2, 2},
    {0},
};
