/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Commands about who may have how much: quotas of VMs, what is left of memory, and who waits for some. `reserve check` and `reserve wait`
 * are for timelines: they fail unless EL2 has kept its reserve, and so many vCPUs wait. `policy wait` is for them, too: it is the policy that
 * tells when it has come to rest, not a time that suits one machine.
 */

#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/dev/virtio/balloon.h"
#include "hyp/mem/age.h"
#include "hyp/mem/balloon_target.h"
#include "hyp/mem/exhaust.h"
#include "hyp/mem/policyd.h"
#include "hyp/mem/quota.h"
#include "mm/page_alloc.h"

#define WAIT_MS 20000u
#define REST_MS 10000u
#define REST_TICKS 10u /* periods without a new target after which a policy is at rest */
#define FRAMES_PER_MIB (SZ_1M >> PAGE_SHIFT)

typedef unsigned long long ull;

/* ---- quota ---- */

static void print_quota(const struct vm *vm) {
  const struct vm_quota *q = &vm->quota;
  hyp_printf(
      "sluice: quota: %s: min %llu, low %llu, high %llu, max %llu MiB, weight %u; has %llu KiB of %llu MiB; passed high %llu times\n",
      vm->config.name, (ull)(q->min / FRAMES_PER_MIB), (ull)(q->low / FRAMES_PER_MIB), (ull)(q->high / FRAMES_PER_MIB),
      (ull)(q->max / FRAMES_PER_MIB), vm->config.memory_weight, (ull)(vm->s2.populated_frames * PAGE_SIZE / SZ_1K),
      (ull)(vm->config.memory_bytes / SZ_1M), (ull)vm->quota_passed);
}

static uint64_t *mark_named(struct vm_quota *q, const char *name) {
  static const char *const names[] = {"min", "low", "high", "max"};
  uint64_t *marks[] = {&q->min, &q->low, &q->high, &q->max};
  int i = scenario_word_index(names, ARRAY_SIZE(names), name);
  return i < 0 ? NULL : marks[i];
}

/* One pair: a mark and its MiB, or `weight` and a number. False after session_fail(). */
static bool read_pair(struct session *s, unsigned i, struct vm_quota *q, uint32_t *weight) {
  uint64_t number, *mark = mark_named(q, s->argv[i]);
  bool is_weight = strcmp(s->argv[i], "weight") == 0;
  if (!mark && !is_weight)
    session_fail(s, "`%s`: min, low, high, max or weight?", s->argv[i]);
  if ((!mark && !is_weight) || !session_number(s, i + 1, &number))
    return false;
  if (is_weight && (number < 1 || number > 1000)) {
    session_fail(s, "a weight is 1 to 1000");
    return false;
  }
  if (is_weight)
    *weight = (uint32_t)number;
  else
    *mark = min_u64(number, UINT32_MAX) * FRAMES_PER_MIB;
  return true;
}

static bool read_pairs(struct session *s, struct vm_quota *q, uint32_t *weight) {
  for (unsigned i = 2; i + 1 < s->argc; i += 2)
    if (!read_pair(s, i, q, weight))
      return false;
  return true;
}

static enum work_result cmd_quota(struct session *s) {
  struct vm *vm = session_vm(s, 1);
  if (!vm)
    return WORK_DONE;
  struct vm_quota q = vm->quota;
  uint32_t weight = vm->config.memory_weight;
  if (s->argc % 2)
    return session_fail_done(s, "how much?");
  if (!read_pairs(s, &q, &weight))
    return WORK_DONE;
  if (s->argc > 2 && quota_set(vm, &q) != ERR_OK)
    return session_fail_done(s, "not so: min <= low <= high <= max <= %llu, and 2 or more for high",
                             (ull)(vm->config.memory_bytes / SZ_1M));
  vm->config.memory_weight = weight;
  print_quota(vm);
  return WORK_DONE;
}

/* ---- working sets. state[0]: the last VM that was printed; state[1]: passes that are waited for ---- */

static void print_working_set(const struct vm *vm) {
  uint64_t frames;
  if (age_working_set(vm, &frames))
    hyp_printf("sluice: wss: %s: %llu KiB of %llu resident were accessed within %u ms\n", vm->config.name,
               (ull)(frames * PAGE_SIZE / SZ_1K), (ull)(vm->s2.populated_frames * PAGE_SIZE / SZ_1K), age_period_ms());
  else
    hyp_printf("sluice: wss: %s: not known\n", vm->config.name);
}

/* One VM in a step. */
static enum work_result print_working_sets(struct session *s) {
  const struct vm *vm = vm_by_id((unsigned)++s->state[0]);
  if (vm)
    print_working_set(vm);
  return s->state[0] < VMS_MAX ? WORK_MORE : WORK_DONE;
}

/* wss check VM LEAST MOST, in KiB */
static enum work_result check_working_set(struct session *s) {
  const struct vm *vm = session_vm(s, 2);
  uint64_t least, most, frames;
  if (!vm || !session_number(s, 3, &least) || !session_number(s, 4, &most))
    return WORK_DONE;
  if (!age_working_set(vm, &frames))
    return session_fail_done(s, "%s: not known", vm->config.name);
  uint64_t kib = frames * PAGE_SIZE / SZ_1K;
  if (kib < least || kib > most)
    return session_fail_done(s, "%s: %llu KiB, not %llu to %llu", vm->config.name, (ull)kib, (ull)least, (ull)most);
  print_working_set(vm);
  return WORK_DONE;
}

static enum work_result cmd_wss(struct session *s) {
  uint64_t ms;
  if (s->argc == 1)
    return print_working_sets(s);
  if (strcmp(s->argv[1], "check") == 0)
    return s->argc == 5 ? check_working_set(s) : session_fail_done(s, "check VM LEAST MOST, in KiB");
  if (s->argc > 2)
    return session_fail_done(s, "one word is enough");
  if (strcmp(s->argv[1], "off") == 0) {
    age_off();
    return WORK_DONE;
  }
  if (!session_number(s, 1, &ms))
    return WORK_DONE;
  if (ms < 1 || ms > 60000)
    return session_fail_done(s, "1 to 60000 ms");
  age_on((uint32_t)ms);
  return WORK_DONE;
}

/* ---- policy. state[0]: the last VM that was printed ---- */

static void print_policy(void) {
  struct policyd_stats p;
  policyd_read(&p);
  hyp_printf("sluice: policy: %s: %s\n", p.policy->name, p.policy->what);
  if (p.policy->tick)
    hyp_printf("policy: every %u ms; %llu ticks so far, the last took %llu us, and %llu us to ask\n", p.period_ms, (ull)p.ticks,
               (ull)time_to_us(p.decide_ticks), (ull)time_to_us(p.apply_ticks));
  hyp_printf("policy: %llu times under pressure; %llu targets set, %llu refused\n", (ull)p.pressures, (ull)p.changes, (ull)p.refused);
}

static ull mib(uint64_t frames) {
  return frames / FRAMES_PER_MIB;
}

/* What it last wanted of a VM, and when that last made a difference. */
static void print_decision(const struct vm *vm) {
  const struct policy_state *s = &vm->policy;
  struct balloon_state b;
  balloon_read(vm, &b);
  if (!b.present || !s->why) {
    hyp_printf("policy: %s: %s\n", vm->config.name, b.present ? "nothing was asked of it" : "no balloon: nothing can be asked of it");
    return;
  }
  char last[80] = "";
  if (s->changes)
    format(last, sizeof(last), "; set %llu times, last from %llu to %llu, %llu ms ago", (ull)s->changes, mib(s->before), mib(s->goal),
           (ull)(time_to_us(time_now() - s->decided_at) / 1000));
  hyp_printf("sluice: policy: %s: keep %llu of %llu MiB: %s; holds %llu, resident %llu%s\n", vm->config.name, mib(s->last_target),
             (ull)(vm->config.memory_bytes / SZ_1M), s->why, mib((vm->config.memory_bytes >> PAGE_SHIFT) - b.actual),
             mib(vm->s2.populated_frames), last);
}

static enum work_result print_decisions(struct session *s) {
  if (s->state[0] == 0)
    print_policy();
  const struct vm *vm = vm_by_id((unsigned)++s->state[0]);
  if (vm)
    print_decision(vm);
  return s->state[0] < VMS_MAX ? WORK_MORE : WORK_DONE;
}

static bool a_balloon_moves(void) {
  struct vm *vm;
  struct balloon_report b;
  for_each_vm(vm) if (virtio_balloon_report(vm, &b) && b.stand == BALLOON_MOVES) return true;
  return false;
}

/* policy wait [MS]. state: targets that were set until now, and the tick at which the last of them was seen */
static enum work_result wait_for_rest(struct session *s) {
  struct policyd_stats p;
  uint64_t ms = REST_MS;
  if (s->argc > 2 && !session_number(s, 2, &ms))
    return WORK_DONE;
  policyd_read(&p);
  bool first = s->phase++ == 0;
  if (first)
    session_wait_at_most(s, ms);
  if (first || p.changes != s->state[0] || a_balloon_moves()) {
    s->state[0] = p.changes;
    s->state[1] = p.ticks;
  }
  if (p.policy->tick && p.ticks - s->state[1] < REST_TICKS) {
    if (session_may_wait(s))
      return WORK_WAIT;
    return session_fail_done(s, "%s is not at rest: %llu targets set", p.policy->name, (ull)p.changes);
  }
  hyp_printf("sluice: policy: %s is at rest\n", p.policy->name);
  return WORK_DONE;
}

static void list_policies(struct session *s) {
  const struct policy *p;
  for (unsigned i = 0; (p = policy_number(i)) != NULL; i++)
    hyp_printf("  %-14s %s\n", p->name, p->what);
  session_fail(s, "there is no policy `%s`", s->argv[1]);
}

static enum work_result cmd_policy(struct session *s) {
  uint64_t ms = 0;
  if (s->argc == 1)
    return print_decisions(s);
  if (strcmp(s->argv[1], "wait") == 0)
    return wait_for_rest(s);
  const struct policy *p = policy_find(s->argv[1]);
  if (!p) {
    list_policies(s);
    return WORK_DONE;
  }
  if (s->argc > 2 && !session_number(s, 2, &ms))
    return WORK_DONE;
  if (s->argc > 2 && (ms < 1 || ms > 60000 || !p->tick))
    return session_fail_done(s, p->tick ? "1 to 60000 ms" : "it has no period");
  policyd_set(p, (uint32_t)ms);
  print_policy();
  return WORK_DONE;
}

/* ---- reserve ---- */

static struct memory_waiters all_waiters(void) {
  struct memory_waiters sum = {0};
  struct vm *vm;
  for_each_vm(vm) {
    struct memory_waiters w = exhaust_waiters(vm);
    sum.memory += w.memory;
    sum.quota += w.quota;
  }
  return sum;
}

static void print_reserve(void) {
  struct memory_waiters w = all_waiters();
  struct zoneinfo z;
  struct buddyinfo b;
  for (unsigned i = 0; page_zoneinfo(i, &z) && page_buddyinfo(i, &b); i++)
    hyp_printf("reserve: zone %u: %llu frames free, min %llu\n", i, (ull)b.free_frames, (ull)z.min);
  hyp_printf("sluice: reserve: %llu frames to spare; waiting: %u vCPUs for memory, %u for quota\n", (ull)page_spare_frames(), w.memory,
             w.quota);
}

/* What guests make EL2 take of the reserve ends at half of it. */
static bool reserve_is_kept(struct session *s) {
  struct zoneinfo z;
  struct buddyinfo b;
  for (unsigned i = 0; page_zoneinfo(i, &z) && page_buddyinfo(i, &b); i++)
    if (b.free_frames + b.cached_frames < z.min / 2) {
      session_fail(s, "zone %u has %llu frames left, half of its reserve is %llu", i, (ull)b.free_frames, (ull)(z.min / 2));
      return false;
    }
  return true;
}

/* WAITING vCPUs: now (check), or within WAIT_MS. */
static enum work_result want_waiting(struct session *s, bool may_wait) {
  uint64_t want;
  struct memory_waiters w = all_waiters();
  if (!session_number(s, 2, &want))
    return WORK_DONE;
  if (s->phase++ == 0)
    session_wait_at_most(s, may_wait ? WAIT_MS : 0);
  if (w.memory + w.quota != want) {
    if (session_may_wait(s))
      return WORK_WAIT;
    return session_fail_done(s, "%u vCPUs wait for memory and %u for quota, not %llu", w.memory, w.quota, (ull)want);
  }
  if (reserve_is_kept(s))
    print_reserve();
  return WORK_DONE;
}

static enum work_result cmd_reserve(struct session *s) {
  if (s->argc == 1)
    print_reserve();
  else if (s->argc == 3 && strcmp(s->argv[1], "wait") == 0)
    return want_waiting(s, true);
  else if (s->argc == 3 && strcmp(s->argv[1], "check") == 0)
    return want_waiting(s, false);
  else
    session_fail(s, "check or wait, and how many vCPUs?");
  return WORK_DONE;
}

const struct command monitor_policy_commands[] = {
    {"quota", "VM [min|low|high|max MIB | weight N]...", "how much memory it may have, and its part of what all want", cmd_quota, 1, 11},
    {"wss", "[MS|off|check VM LEAST MOST]", "working sets; find them every MS", cmd_wss, 0, 4},
    {"policy", "[NAME [MS] | wait [MS]]", "who should have how much: what was decided and why; another policy", cmd_policy, 0, 2},
    {"reserve", "[check|wait WAITING]", "what is left of memory, and who waits for some", cmd_reserve, 0, 2},
    {0},
};
