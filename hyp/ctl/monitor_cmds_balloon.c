/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Balloons: `balloon VM MIB` asks a guest to keep so much, `balloon VM` shows how far it is and, if it does not get on, why; `balloon VM
 * wait [MS]` waits until the target is met and fails with that reason, `balloon VM stats` asks the guest for its statistics and waits for
 * the answer. `balloon VM check MIB [MS]` fails unless no more than MIB back it, or will within MS.
 *
 * Everything that a guest says of itself is shown as its word. VMs are looked up anew in each step.
 */
#include "abi/scenario.h"
#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/dev/virtio/balloon.h"
#include "hyp/mem/balloon_target.h"

#define WAIT_MS 10000u
#define STATS_MS 1000u
#define MIB_FRAMES (SZ_1M / PAGE_SIZE)
#define REASON_MAX 72u

typedef unsigned long long ull;

static void say_stand(const struct balloon_report *r, char *to) {
  static const char *const words[] = {
      [BALLOON_DONE] = "done",
      [BALLOON_STOPPED] = "the VM does not run",
      [BALLOON_NO_DRIVER] = "no driver",
      [BALLOON_NEEDS_RESET] = "the driver broke the rules and has not reset the device",
      [BALLOON_MOVES] = "under way",
      [BALLOON_SAYS_NO_MORE] = "guest answers, but nothing has moved",
      [BALLOON_SILENT] = "guest has not answered",
  };
  if (r->stand < BALLOON_SAYS_NO_MORE)
    format(to, REASON_MAX, "%s", words[r->stand]);
  else
    format(to, REASON_MAX, "%s for %llu ms", words[r->stand], (ull)r->waiting_ms);
}

static void print_features(const struct vm *vm, const char *what, uint64_t features) {
  static const char *const words[] = SCENARIO_BALLOON_FEATURES;
  char line[80];
  size_t used = 0;
  line[0] = '\0';
  for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
    if (features & virtio_balloon_features(BIT(i)))
      used += (size_t)format(line + used, sizeof(line) - used, " %s", words[i]);
  hyp_printf("balloon %s: %s:%s\n", vm->config.name, what, used ? line : " none");
}

static void print_stats(const struct vm *vm, const struct balloon_report *r) {
  static const char *const names[BALLOON_S_TAGS] = {"swap-in", "swap-out",  "major-faults", "minor-faults", "free",
                                                    "total",   "available", "caches",       "huge-ok",      "huge-failed"};
  static const uint32_t in_bytes = 1u << BALLOON_S_SWAP_IN | 1u << BALLOON_S_SWAP_OUT | 1u << BALLOON_S_MEMFREE | 1u << BALLOON_S_MEMTOT |
                                   1u << BALLOON_S_AVAIL | 1u << BALLOON_S_CACHES;
  char line[240];
  size_t used = 0;
  for (unsigned i = 0; i < BALLOON_S_TAGS; i++) {
    bool bytes = in_bytes >> i & 1;
    if (r->stats_known >> i & 1 && used < sizeof(line))
      used += (size_t)format(line + used, sizeof(line) - used, " %s %llu%s", names[i], (ull)(bytes ? r->stats[i] / SZ_1K : r->stats[i]),
                             bytes ? " KiB" : "");
  }
  if (used)
    hyp_printf("balloon %s: the guest says:%s\n", vm->config.name, line);
}

static void print_sum(const struct vm *vm, const char *what, const struct reclaim_sum *sum) {
  hyp_printf("balloon %s: %s: %llu frames released, %llu were not backed, %llu kept, %llu no RAM\n", vm->config.name, what,
             (ull)sum->released, (ull)sum->absent, (ull)sum->kept, (ull)sum->outside);
}

static enum work_result show(const struct vm *vm, const struct balloon_state *state, const struct balloon_report *r) {
  char stand[REASON_MAX];
  say_stand(r, stand);
  hyp_printf("balloon %s: keep %llu MiB of %llu; %llu of %u frames are in the balloon: %s\n", vm->config.name,
             (ull)(state->keep / MIB_FRAMES), (ull)(vm->config.memory_bytes / SZ_1M), (ull)state->actual, r->target, stand);
  hyp_printf("balloon %s: the guest says %u frames; %llu chains served; resident %llu KiB\n", vm->config.name, r->said, (ull)r->chains,
             (ull)(vm->s2.populated_frames * PAGE_SIZE / SZ_1K));
  print_features(vm, "features", r->features);
  if (r->features != 0 && r->offered != (r->features & virtio_balloon_features(~(uint64_t)0)))
    print_features(vm, "offered to the next driver", r->offered);
  print_sum(vm, "inflated", &r->inflated);
  print_sum(vm, "reported", &r->reported);
  if (r->declines_reports)
    hyp_printf("sluice: balloon %s: reporting is off: %llu reported frames left alone\n", vm->config.name, (ull)r->ignored_reports);
  else if (r->ignored_reports)
    hyp_printf("balloon %s: %llu reported frames left alone: the guest fills free pages with %#x\n", vm->config.name,
               (ull)r->ignored_reports, r->poison);
  print_stats(vm, r);
  return WORK_DONE;
}

static enum work_result set_target(struct session *s, struct vm *vm) {
  uint64_t mib;
  if (!session_number(s, 2, &mib))
    return WORK_DONE;
  if (mib > vm->config.memory_bytes / SZ_1M)
    return session_fail_done(s, "%s has %llu MiB", vm->config.name, (ull)(vm->config.memory_bytes / SZ_1M));
  (void)balloon_set_target(vm, mib * MIB_FRAMES);
  return WORK_DONE;
}

static enum work_result wait_done(struct session *s, const struct vm *vm, const struct balloon_state *state,
                                  const struct balloon_report *r) {
  char stand[REASON_MAX];
  uint64_t ms = WAIT_MS;
  if (s->argc > 3 && !session_number(s, 3, &ms))
    return WORK_DONE;
  if (s->deadline == ~(uint64_t)0)
    session_wait_at_most(s, ms);
  if (r->stand == BALLOON_DONE) {
    hyp_printf("sluice: balloon %s: keeps %llu MiB, %llu frames are in the balloon\n", vm->config.name, (ull)(state->keep / MIB_FRAMES),
               (ull)r->target);
    return WORK_DONE;
  }
  if (session_may_wait(s))
    return WORK_WAIT;
  say_stand(r, stand);
  return session_fail_done(s, "%llu of %u frames: %s", (ull)state->actual, r->target, stand);
}

/* state[0]: when the question was put */
static enum work_result ask(struct session *s, struct vm *vm, const struct balloon_state *state, const struct balloon_report *r) {
  if (s->phase == 0) {
    if (!balloon_ask_stats(vm))
      return session_fail_done(s, "the guest offers no statistics");
    s->phase = 1;
    s->state[0] = time_now();
    session_wait_at_most(s, STATS_MS);
    return session_wait_ms(s, 1);
  }
  if (state->stats_at >= s->state[0]) {
    print_stats(vm, r);
    return WORK_DONE;
  }
  return session_may_wait(s) ? WORK_WAIT : session_fail_done(s, "no answer");
}

/* balloon VM check MIB [MS]: now, or within MS. */
static enum work_result check(struct session *s, const struct vm *vm) {
  uint64_t mib, ms = 0, frames = vm->s2.populated_frames;
  if (s->argc < 4)
    return session_fail_done(s, "how many MiB?");
  if (!session_number(s, 3, &mib) || (s->argc > 4 && !session_number(s, 4, &ms)))
    return WORK_DONE;
  if (s->deadline == ~(uint64_t)0)
    session_wait_at_most(s, ms);
  if (frames > mib * MIB_FRAMES) {
    if (session_may_wait(s))
      return WORK_WAIT;
    return session_fail_done(s, "%s has %llu KiB", vm->config.name, (ull)(frames * PAGE_SIZE / SZ_1K));
  }
  hyp_printf("sluice: balloon %s: has %llu KiB, no more than %llu MiB\n", vm->config.name, (ull)(frames * PAGE_SIZE / SZ_1K), (ull)mib);
  return WORK_DONE;
}

/* balloon VM reporting on|off */
static enum work_result set_reporting(struct session *s, struct vm *vm) {
  bool on = s->argc == 4 && strcmp(s->argv[3], "on") == 0;
  if (!on && (s->argc != 4 || strcmp(s->argv[3], "off") != 0))
    return session_fail_done(s, "on or off?");
  (void)virtio_balloon_take_reports(vm, on);
  return WORK_DONE;
}

/* balloon VM features WORD... */
static enum work_result set_features(struct session *s, struct vm *vm) {
  static const char *const words[] = SCENARIO_BALLOON_FEATURES;
  uint64_t mask = 0;
  if (s->argc < 4)
    return session_fail_done(s, "which, or none?");
  for (unsigned i = 3; i < s->argc; i++) {
    int word = scenario_word_index(words, ARRAY_SIZE(words), s->argv[i]);
    if (word < 0)
      return session_fail_done(s, "`%s` is no feature of a balloon", s->argv[i]);
    mask |= BIT(word);
  }
  (void)virtio_balloon_offer(vm, mask);
  return WORK_DONE;
}

static enum work_result cmd_balloon(struct session *s) {
  struct vm *vm = session_vm(s, 1);
  struct balloon_state state;
  struct balloon_report report;
  if (!vm)
    return WORK_DONE;
  balloon_read(vm, &state);
  if (!virtio_balloon_report(vm, &report))
    return session_fail_done(s, "%s has no balloon", vm->config.name);
  if (s->argc == 2)
    return show(vm, &state, &report);
  if (strcmp(s->argv[2], "wait") == 0)
    return wait_done(s, vm, &state, &report);
  if (strcmp(s->argv[2], "check") == 0)
    return check(s, vm);
  if (strcmp(s->argv[2], "reporting") == 0)
    return set_reporting(s, vm);
  if (strcmp(s->argv[2], "features") == 0)
    return set_features(s, vm);
  return strcmp(s->argv[2], "stats") == 0 ? ask(s, vm, &state, &report) : set_target(s, vm);
}

const struct command monitor_balloon_commands[] = {
    {"balloon", "VM [MIB | wait [MS] | stats | check MIB [MS] | reporting on/off | features WORD...]", "keep MIB; how far it is",
     cmd_balloon, 1, 9},
    {0},
};
