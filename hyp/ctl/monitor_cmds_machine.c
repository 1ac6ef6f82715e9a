/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Commands about the machine and the hypervisor itself: trace groups, statistics per CPU, the bound on masked time, fair shares,
 * shutdown. `masked` and `shares` fail when their bound is broken, so that a timeline can judge by them.
 */

#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/arch/features.h"
#include "hyp/core/cost.h"
#include "hyp/core/cpu.h"
#include "hyp/core/masked.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/ctl/trace.h"
#include "hyp/mem/vmid.h"
#include "mm/page_alloc.h"

/* --- trace --- */

static const char *const group_names[] = TRACE_GROUP_NAMES;

static void print_trace(void) {
  char text[96];
  size_t at = 0;
  text[0] = '\0';
  for (unsigned i = 0; i < TRACE_GROUPS; i++)
    if (trace_mask & BIT(i) && at < sizeof text)
      at += (size_t)format(text + at, sizeof text - at, " %s", group_names[i]);
  hyp_printf("trace: on:%s; %llu records written, %llu lost\n", at ? text : " nothing", (unsigned long long)trace_written(),
             (unsigned long long)trace_lost());
}

static bool groups_of(struct session *s, uint64_t *mask) {
  *mask = 0;
  for (unsigned i = 2; i < s->argc; i++) {
    int group = scenario_word_index(group_names, TRACE_GROUPS, s->argv[i]);
    if (strcmp(s->argv[i], "all") == 0) {
      *mask |= GENMASK(TRACE_GROUPS - 1, 0);
    } else if (group < 0) {
      session_fail(s, "no group `%s`", s->argv[i]);
      return false;
    } else {
      *mask |= BIT(group);
    }
  }
  if (s->argc == 2)
    *mask = GENMASK(TRACE_GROUPS - 1, 0);
  return true;
}

static enum work_result cmd_trace(struct session *s) {
  uint64_t mask;
  if (s->argc > 1) {
    bool on = strcmp(s->argv[1], "on") == 0;
    if (!on && strcmp(s->argv[1], "off") != 0)
      return session_fail_done(s, "on or off?");
    if (!groups_of(s, &mask))
      return WORK_DONE;
    if (trace_set_mask((on ? trace_mask | mask : trace_mask & ~mask) & TRACE_GROUP_MASK) != ERR_OK)
      return session_fail_done(s, "there are no rings: the scenario has no `trace`");
  }
  print_trace();
  return WORK_DONE;
}

/* --- statistics --- */

static enum work_result cmd_stats(struct session *s) {
  unsigned id = (unsigned)s->state[0]++;
  if (id >= cpu_count) {
    hyp_printf("VMIDs: generation %llu is in use\n", (unsigned long long)vmid_generation());
    return WORK_DONE;
  }
  const struct cpu *c = &cpus[id];
  const struct vcpu *v = c->current;
  hyp_printf("cpu %u: idle %llu us, masked at most %llu us%s, has %s vcpu %u\n", id, (unsigned long long)time_to_us(c->idle_ticks),
             (unsigned long long)time_to_us(c->masked_max), masked_is_measured() ? "" : " (not measured)", v ? v->vm->config.name : "no",
             v ? v->id : 0);
  return WORK_MORE;
}

/*
 * 100,000 instructions are 100 us under icount shift=0, but on one CPU only: with several, QEMU runs them in turn on one count, which goes
 * on for a CPU that stands still in the middle of EL2. There, and where nothing is counted, the figure is shown and held against nothing.
 */
static const char *why_masked_is_no_measure(void) {
  if (cpu_count > 1)
    return "on a count that several CPUs share: no measure, run it on one";
  return session_time_is_counted() ? NULL : "of real time: no measure, run it with instructions counted (make experiment)";
}

static enum work_result masked_anew(void) {
  for (unsigned i = 0; i < cpu_count; i++)
    cpus[i].masked_max = 0;
  return WORK_DONE;
}

static enum work_result cmd_masked(struct session *s) {
  uint64_t bound, worst = 0;
  if (!masked_is_measured())
    return session_fail_done(s, "not measured: the scenario lacks `measure-masked`");
  if (strcmp(s->argv[1], "begin") == 0)
    return masked_anew();
  if (!session_number(s, 1, &bound))
    return WORK_DONE;
  for (unsigned i = 0; i < cpu_count; i++)
    worst = max_u64(worst, time_to_us(cpus[i].masked_max) + 1); /* upwards */
  const char *no_measure = why_masked_is_no_measure();
  if (no_measure) {
    hyp_printf("sluice: masked: at most %llu us %s\n", (unsigned long long)worst, no_measure);
    return WORK_DONE;
  }
  if (worst > bound)
    return session_fail_done(s, "masked for %llu us, more than %llu", (unsigned long long)worst, (unsigned long long)bound);
  hyp_printf("sluice: masked: at most %llu us on any CPU\n", (unsigned long long)worst);
  return WORK_DONE;
}

/* --- cost: what a VM has cost so far, for tools --- */

typedef unsigned long long ull;

/* What zeroing takes, so that it can be told apart: it is most of what a fault costs. */
static void print_zeroing(void) {
  static uint64_t page, block; /* the same each time */
  pfn_t f;
  if (block == 0 && page_alloc(PAGEBLOCK_ORDER, ALLOC_MOVABLE | ALLOC_RETURN_CORE, &f) == ERR_OK) {
    page = cost_of_zeroing(f, 0);
    block = cost_of_zeroing(f, PAGEBLOCK_ORDER);
    page_free(f, PAGEBLOCK_ORDER);
  }
  hyp_printf("cost: zeroing takes %llu instructions for 4 KiB, %llu for 2 MiB\n", (ull)page, (ull)block);
}

static enum work_result cmd_cost(struct session *s) {
  const struct vm *vm = session_vm(s, 1);
  uint64_t exits = 0;
  if (!vm)
    return WORK_DONE;
  if (!cost_is_measured())
    return session_fail_done(s, "not measured: the scenario lacks `measure-el2`");
  for (unsigned i = 0; i < vm->vcpu_count; i++)
    exits += vm->vcpus[i]->exits;
  print_zeroing();
  hyp_printf("cost %s: el2 %llu guest %llu exits %llu tlbis %llu populated-4k %llu populated-2m %llu moved %llu released %llu\n",
             vm->config.name, (ull)vm->cost.el2, (ull)vm->cost.guest, (ull)exits, (ull)vm->cost.tlbis, (ull)vm->s2.faults_4k,
             (ull)vm->s2.faults_2m, (ull)vm->s2.moved_frames, (ull)vm->s2.released_frames);
  return WORK_DONE;
}

/* --- shares: how evenly CPU time was divided since `shares begin` --- */

static uint64_t share_begin[VMS_MAX + 1][VCPUS_MAX];

static uint64_t vcpu_ticks(const struct vcpu *v) {
  return v->run_ticks + (v->state == VCPU_RUNNING ? time_now() - v->run_since : 0);
}

static void shares_begin(void) {
  struct vm *vm;
  for_each_vm(vm) {
    for (unsigned i = 0; i < vm->vcpu_count; i++)
      share_begin[vm->id][i] = vcpu_ticks(vm->vcpus[i]);
  }
}

struct share_sum {
  uint64_t least, most, total;
  unsigned count;
};

/* Time since the beginning, scaled to the default weight of 100. */
static uint64_t share_of(const struct vm *vm, unsigned i) {
  return (vcpu_ticks(vm->vcpus[i]) - share_begin[vm->id][i]) * 100 / vm->config.weight;
}

static void shares_sum(struct share_sum *sum) {
  struct vm *vm;
  *sum = (struct share_sum){.least = ~(uint64_t)0};
  for_each_vm(vm) {
    for (unsigned i = 0; vm->state == VM_RUNNING && i < vm->vcpu_count; i++) {
      uint64_t share = share_of(vm, i);
      if (vm->vcpus[i]->state == VCPU_OFF)
        continue;
      sum->least = min_u64(sum->least, share);
      sum->most = max_u64(sum->most, share);
      sum->total += share;
      sum->count++;
    }
  }
}

static enum work_result shares_check(struct session *s) {
  struct share_sum sum;
  uint64_t percent;
  if (!session_number(s, 2, &percent))
    return WORK_DONE;
  shares_sum(&sum);
  if (sum.count == 0 || sum.total == 0)
    return session_fail_done(s, "no vCPU has run");
  uint64_t mean = sum.total / sum.count, slack = mean * percent / 100;
  hyp_printf("sluice: shares: %u vCPUs, mean %llu us, least %llu, most %llu\n", sum.count, (unsigned long long)time_to_us(mean),
             (unsigned long long)time_to_us(sum.least), (unsigned long long)time_to_us(sum.most));
  if (sum.least + slack < mean || sum.most > mean + slack)
    return session_fail_done(s, "a share is more than %llu %% off the mean", (unsigned long long)percent);
  hyp_printf("sluice: shares: fair within %llu %%\n", (unsigned long long)percent);
  return WORK_DONE;
}

static enum work_result cmd_shares(struct session *s) {
  if (strcmp(s->argv[1], "begin") == 0 && s->argc == 2) {
    shares_begin();
    return WORK_DONE;
  }
  if (strcmp(s->argv[1], "check") == 0 && s->argc == 3)
    return shares_check(s);
  return session_fail_done(s, "shares begin, later shares check PERCENT");
}

static enum work_result cmd_features(struct session *s) {
  static const char *const names[] = SCENARIO_FEATURES;
  char text[96];
  size_t at = 0;
  (void)s;
  text[0] = '\0';
  for (unsigned i = 0; i < ARRAY_SIZE(names) && at < sizeof text; i++)
    if (feature_on(1u << i))
      at += (size_t)format(text + at, sizeof text - at, " %s", names[i]);
  hyp_printf("features in use:%s\n", at ? text : " none");
  return WORK_DONE;
}

static enum work_result cmd_shutdown(struct session *s) {
  (void)s;
  ctl_finish(0);
}

const struct command monitor_machine_commands[] = {
    {"trace", "[on|off [GROUP...]]", "what is recorded", cmd_trace, 0, SESSION_ARGS_MAX - 1},
    {"stats", "", "each CPU's idle and masked time, VMIDs", cmd_stats, 0, 0},
    {"masked", "begin | US", "measure anew; fail if EL2 masked interrupts longer", cmd_masked, 1, 1},
    {"cost", "VM", "instructions, exits and TLBIs that a VM has taken", cmd_cost, 1, 1},
    {"shares", "begin|check PERCENT", "is CPU time divided fairly?", cmd_shares, 1, 2},
    {"features", "", "optional CPU features in use", cmd_features, 0, 0},
    {"shutdown", "", "end the machine", cmd_shutdown, 0, 0},
    {0},
};
