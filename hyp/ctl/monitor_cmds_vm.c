/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Commands about VMs: list them, and walk them through their life. A VM is made from what the scenario says of its name; one that
 * was destroyed can be created again. Destruction and loading run as work of their own: `destroy` and `restart` wait for them, so that
 * the next command finds the outcome. No lock is held between steps, hence VMs are looked up anew in each.
 */

#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/cpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/catch.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/mem/exhaust.h"
#include "mm/page_alloc.h"
#include "mm/slab.h"

#define POLL_MS 1u
#define VMS_PER_STEP 4u
#define LOOK_MS 100u /* at sums that do not add up */
#define CYCLE_VERDICT_MS 30000u

static const char *vm_state_name(const struct vm *vm) {
  static const char *const names[] = {"paused", "running", "off", "dying"};
  return (unsigned)vm->state < ARRAY_SIZE(names) ? names[vm->state] : "?";
}

static const char *verdict_name(const struct vm *vm) {
  return vm->verdict == VERDICT_PASSED ? "passed" : vm->verdict == VERDICT_FAILED ? "failed" : "-";
}

static const char *vcpu_state_name(const struct vcpu *v) {
  static const char *const names[] = {"off", "ready", "running", "blocked", "paused", "mem-wait"};
  if (v->state == VCPU_MEMWAIT && v->wait_reason == WAIT_QUOTA)
    return "quota";
  if (v->state == VCPU_MEMWAIT && v->wait_reason == WAIT_THROTTLE)
    return "throttled";
  return (unsigned)v->state < ARRAY_SIZE(names) ? names[v->state] : "?";
}

/* What EL2 keeps for it: frames that are its own but no memory of it, tables above all, and objects. */
static uint64_t held_bytes(const struct vm *vm) {
  struct ledger l;
  ledger_read_owner(vm->id, &l);
  return (l.frames[FRAME_TABLE] + l.frames[FRAME_CORE]) * PAGE_SIZE + slab_charged_bytes(vm->id);
}

/* What stands behind a VM's line when some of its vCPUs wait for memory. */
static const char *waiting_text(const struct vm *vm, char *to, size_t cap) {
  struct memory_waiters w = exhaust_waiters(vm);
  to[0] = '\0';
  if (w.memory + w.quota != 0)
    format(to, cap, ", %u vCPU%s waiting for %s", w.memory + w.quota, w.memory + w.quota == 1 ? "" : "s", w.memory ? "memory" : "quota");
  return to;
}

static void print_vm(const struct vm *vm) {
  char waiting[40];
  hyp_printf("%2u %-12s %-8s %5llu %9llu %6llu %5u %5u  %s%s\n", vm->id, vm->config.name, vm_state_name(vm),
             (unsigned long long)(vm->config.memory_bytes / SZ_1M), (unsigned long long)(vm->s2.populated_frames * PAGE_SIZE / SZ_1K),
             (unsigned long long)(held_bytes(vm) / SZ_1K), vm->vcpu_count, vmid_value(&vm->s2.vmid), verdict_name(vm),
             waiting_text(vm, waiting, sizeof waiting));
}

static enum work_result cmd_vms(struct session *s) {
  if (s->state[0] == 0)
    hyp_printf("id name         state      MiB  touched/K  EL2/K vcpus  vmid  verdict\n");
  for (unsigned i = 0; i < VMS_PER_STEP; i++) {
    if (s->state[0]++ == VMS_MAX)
      return WORK_DONE;
    const struct vm *vm = vm_by_id((unsigned)s->state[0]);
    if (vm)
      print_vm(vm);
  }
  return WORK_MORE;
}

static uint64_t vcpu_run_us(const struct vcpu *v) {
  return time_to_us(v->run_ticks + (v->state == VCPU_RUNNING ? time_now() - v->run_since : 0));
}

/* What has been tried for one that waits for a frame. */
static const char *tried_text(const struct vcpu *v, char *to, size_t cap) {
  struct memory_tried t = exhaust_tried(v->vm);
  to[0] = '\0';
  if (v->state == VCPU_MEMWAIT && v->wait_reason == WAIT_MEMORY)
    format(to, cap, "  no frame for %llu us; others asked for %llu KiB, %llu KiB came back",
           (unsigned long long)time_to_us(time_now() - v->wait_at), (unsigned long long)(t.asked * PAGE_SIZE / SZ_1K),
           (unsigned long long)(t.back * PAGE_SIZE / SZ_1K));
  return to;
}

static void print_vcpu(const struct vcpu *v) {
  char tried[96];
  hyp_printf("%-12s %4u %-8s %3u %12llu %9llu %8llu %8llu%s\n", v->vm->config.name, v->id, vcpu_state_name(v), v->cpu ? v->cpu->id : 0,
             (unsigned long long)vcpu_run_us(v), (unsigned long long)v->exits, (unsigned long long)v->s2_faults,
             (unsigned long long)v->s1_faults, tried_text(v, tried, sizeof tried));
}

static enum work_result cmd_vcpus(struct session *s) {
  if (s->state[0] == 0)
    hyp_printf("vm           vcpu state    cpu       run/us     exits s2faults s1faults\n");
  if (s->state[0]++ == VMS_MAX)
    return WORK_DONE;
  const struct vm *vm = vm_by_id((unsigned)s->state[0]);
  for (unsigned i = 0; vm && i < vm->vcpu_count; i++)
    print_vcpu(vm->vcpus[i]);
  return WORK_MORE;
}

static void print_faults(const struct vm *vm) {
  uint64_t s1 = 0, exits = 0;
  for (unsigned i = 0; i < vm->vcpu_count; i++) {
    s1 += vm->vcpus[i]->s1_faults;
    exits += vm->vcpus[i]->exits;
  }
  hyp_printf(
      "%s: %llu stage-2 faults served, %llu of them by 2 MiB; %llu pages of managed memory mapped; %llu stage-1 faults seen; %llu exits\n",
      vm->config.name, (unsigned long long)stage2_faults(&vm->s2), (unsigned long long)vm->s2.faults_2m,
      (unsigned long long)vm->s2.managed_faults, (unsigned long long)s1, (unsigned long long)exits);
}

/*
 * Every frame of a VM came by a fault or by loading (which populates as a fault does) and has not been given up; the ledger must know all
 * of them. A frame on its way into a VM that runs is in the ledger first: such a sum is looked at again.
 */
static enum work_result faults_add_up(struct session *s, const struct vm *vm) {
  struct ledger l;
  uint64_t frames = stage2_faults(&vm->s2) - vm->s2.faults_2m + vm->s2.faults_2m * PAGEBLOCK_FRAMES - vm->s2.released_frames;
  ledger_read_owner(vm->id, &l);
  uint64_t owned = l.frames[FRAME_OWNED] + l.frames[FRAME_SHARED] + l.frames[FRAME_LENT];
  if (frames != vm->s2.populated_frames || owned != frames) {
    if (s->phase++ == 0)
      session_wait_at_most(s, LOOK_MS);
    if (vm->state == VM_RUNNING && session_may_wait(s))
      return WORK_WAIT;
    return session_fail_done(s, "%s: faults gave %llu frames, stage 2 has %llu, the ledger %llu", vm->config.name,
                             (unsigned long long)frames, (unsigned long long)vm->s2.populated_frames, (unsigned long long)owned);
  }
  s->phase = 0;
  hyp_printf("sluice: faults: %s: %llu stage-2 faults, %llu of them 2 MiB blocks, account for all %llu frames\n", vm->config.name,
             (unsigned long long)stage2_faults(&vm->s2), (unsigned long long)vm->s2.faults_2m, (unsigned long long)owned);
  return WORK_MORE;
}

/* state[0]: ids that are done. */
static enum work_result check_faults(struct session *s) {
  if (s->state[0] == VMS_MAX)
    return WORK_DONE;
  const struct vm *vm = vm_by_id((unsigned)s->state[0] + 1);
  enum work_result result = vm ? faults_add_up(s, vm) : WORK_MORE;
  if (result == WORK_MORE)
    s->state[0]++;
  return result;
}

/* state[0]: next id. Of one VM, of all, or checked. */
static enum work_result cmd_faults(struct session *s) {
  const struct vm *vm;
  if (s->argc == 2 && strcmp(s->argv[1], "check") == 0)
    return check_faults(s);
  if (s->argc == 2) {
    if ((vm = session_vm(s, 1)) != NULL)
      print_faults(vm);
    return WORK_DONE;
  }
  for (unsigned i = 0; i < VMS_PER_STEP; i++) {
    if (s->state[0]++ == VMS_MAX)
      return WORK_DONE;
    if ((vm = vm_by_id((unsigned)s->state[0])) != NULL)
      print_faults(vm);
  }
  return WORK_MORE;
}

/* --- life --- */

/* False after session_fail(). */
static bool create(struct session *s) {
  struct vm *vm;
  int index = scenario_find_vm(s->scenario, s->argv[1], strlen(s->argv[1]));
  if (index < 0) {
    session_fail(s, "the scenario has no VM `%s`", s->argv[1]);
    return false;
  }
  err_t e = vm_create(scenario_vm(s->scenario, (unsigned)index), &vm);
  if (e != ERR_OK)
    session_fail(s, "%s: %s", s->argv[1], err_name(e));
  return e == ERR_OK;
}

static enum work_result cmd_create(struct session *s) {
  (void)create(s);
  return WORK_DONE;
}

static enum work_result result(struct session *s, err_t e) {
  if (e != ERR_OK)
    session_fail(s, "%s: %s", s->argv[1], err_name(e));
  return WORK_DONE;
}

/* phase 0: ask; then wait until that is done. state[0]: the id. Out of memory or a bad image shows as an event of the VM. */
static enum work_result change(struct session *s, err_t (*ask)(struct vm *vm)) {
  struct vm *vm = s->phase == 0 ? session_vm(s, 1) : vm_by_id((unsigned)s->state[0]);
  if (!vm)
    return WORK_DONE;
  if (s->phase++ == 0) {
    s->state[0] = vm->id;
    err_t e = ask(vm);
    if (e != ERR_OK)
      return result(s, e);
  }
  return vm->goal == GOAL_NONE ? WORK_DONE : session_wait_ms(s, POLL_MS);
}

/* A VM of the scenario that does not exist yet is created first. */
static enum work_result cmd_start(struct session *s) {
  if (s->phase == 0 && !vm_by_name(s->argv[1]) && !create(s))
    return WORK_DONE;
  return change(s, vm_start);
}

static enum work_result cmd_resume(struct session *s) {
  return change(s, vm_start);
}

static enum work_result cmd_catch(struct session *s) {
  if (scenario_find_vm(s->scenario, s->argv[1], strlen(s->argv[1])) < 0)
    return session_fail_done(s, "the scenario has no VM `%s`", s->argv[1]);
  return result(s, catch_set(s->argv[1], s->argv[2], s->argc == 4 ? s->argv[3] : NULL));
}

static enum work_result cmd_pause(struct session *s) {
  return change(s, vm_pause);
}

static enum work_result cmd_restart(struct session *s) {
  return change(s, vm_restart);
}

/* phase 0: begin; then wait until the id is free. state[0]: the id. False after session_fail(). */
static bool begin_destroy(struct session *s) {
  struct vm *vm = session_vm(s, 1);
  if (!vm)
    return false;
  s->state[0] = vm->id;
  err_t e = vm_destroy(vm);
  if (e != ERR_OK)
    session_fail(s, "%s: %s", s->argv[1], err_name(e));
  return e == ERR_OK;
}

static enum work_result cmd_destroy(struct session *s) {
  if (s->phase++ == 0 && !begin_destroy(s))
    return WORK_DONE;
  return vm_by_id((unsigned)s->state[0]) ? session_wait_ms(s, POLL_MS) : WORK_DONE;
}

/* --- taking memory back from a VM. state[0]: bytes done --- */

/* What one step takes: at most 256 leaves to unmap and free. */
#define RELEASE_STEP_BYTES SZ_1M

static enum work_result cmd_release(struct session *s) {
  struct vm *vm = session_vm(s, 1);
  uint64_t start, bytes;
  if (!vm || !session_number(s, 2, &start) || !session_number(s, 3, &bytes))
    return WORK_DONE;
  err_t e = stage2_release(&vm->s2, ipa(start + s->state[0]), min_u64(bytes - s->state[0], RELEASE_STEP_BYTES));
  if (e != ERR_OK)
    return result(s, e);
  s->state[0] += RELEASE_STEP_BYTES;
  if (s->state[0] < bytes)
    return WORK_MORE;
  hyp_printf("sluice: release: %s: %llu KiB from %#llx\n", s->argv[1], (unsigned long long)(bytes / SZ_1K), (unsigned long long)start);
  return WORK_DONE;
}

/* --- cycle: create, start, wait for the verdict, destroy, N times. state: id, rounds wanted, rounds done --- */

enum {
  CYCLE_BEGIN = 0,
  CYCLE_CREATE,
  CYCLE_VERDICT,
  CYCLE_GONE
};

static enum work_result cycle_begin(struct session *s) {
  if (!session_number(s, 2, &s->state[1]))
    return WORK_DONE;
  s->phase = CYCLE_CREATE;
  if (vm_by_name(s->argv[1])) {
    s->phase = CYCLE_GONE;
    s->state[2]--; /* the one that is there does not count */
    return begin_destroy(s) ? WORK_MORE : WORK_DONE;
  }
  return WORK_MORE;
}

static enum work_result cycle_create(struct session *s) {
  if (s->state[2] == s->state[1]) {
    hyp_printf("sluice: cycle: %s: %llu times, VMID generation %llu\n", s->argv[1], (unsigned long long)s->state[1],
               (unsigned long long)vmid_generation());
    return WORK_DONE;
  }
  if (!create(s))
    return WORK_DONE;
  s->phase = CYCLE_VERDICT;
  session_wait_at_most(s, CYCLE_VERDICT_MS);
  err_t e = vm_start(vm_by_name(s->argv[1]));
  return e == ERR_OK ? WORK_MORE : result(s, e);
}

static enum work_result cycle_verdict(struct session *s) {
  const struct vm *vm = vm_by_name(s->argv[1]);
  unsigned round = (unsigned)s->state[2] + 1;
  if (!vm)
    return session_fail_done(s, "round %u: %s is gone", round, s->argv[1]);
  if (vm->verdict == VERDICT_FAILED || (vm->verdict == VERDICT_NONE && vm->state == VM_OFF))
    return session_fail_done(s, "round %u: %s failed", round, s->argv[1]);
  if (vm->verdict == VERDICT_PASSED) {
    s->phase = CYCLE_GONE;
    return begin_destroy(s) ? WORK_MORE : WORK_DONE;
  }
  if (session_may_wait(s))
    return WORK_WAIT;
  return session_fail_done(s, "round %u: %s gave no verdict", round, s->argv[1]);
}

static enum work_result cycle_gone(struct session *s) {
  if (vm_by_id((unsigned)s->state[0]))
    return session_wait_ms(s, POLL_MS);
  s->state[2]++;
  s->phase = CYCLE_CREATE;
  return WORK_MORE;
}

static enum work_result cmd_cycle(struct session *s) {
  switch (s->phase) {
  case CYCLE_BEGIN:
    return cycle_begin(s);
  case CYCLE_CREATE:
    return cycle_create(s);
  case CYCLE_VERDICT:
    return cycle_verdict(s);
  default:
    return cycle_gone(s);
  }
}

const struct command monitor_vm_commands[] = {
    {"vms", "", "the virtual machines", cmd_vms, 0, 0},
    {"vcpus", "", "their vCPUs: state, place, time", cmd_vcpus, 0, 0},
    {"faults", "[VM|check]", "counts of faults and exits; do they add up?", cmd_faults, 0, 1},
    {"create", "VM", "make it as the scenario says, paused", cmd_create, 1, 1},
    {"start", "VM", "let it run, created if need be", cmd_start, 1, 1},
    {"pause", "VM", "stop its vCPUs", cmd_pause, 1, 1},
    {"resume", "VM", "let a paused one run on", cmd_resume, 1, 1},
    {"catch", "VM TEXT [NAME]", "pause it when it says so; $NAME is the number", cmd_catch, 2, 3},
    {"restart", "VM", "memory and images anew", cmd_restart, 1, 1},
    {"destroy", "VM", "give every frame back", cmd_destroy, 1, 1},
    {"release", "VM IPA BYTES", "take memory back: its contents are lost", cmd_release, 3, 3},
    {"cycle", "VM N", "create, run to its verdict, destroy", cmd_cycle, 2, 2},
    {0},
};
