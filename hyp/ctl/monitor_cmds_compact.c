/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Commands that move memory: compact, collapse, move, contig.
 *
 * Each works in steps of a few pages, with interrupts looked at in between, while the VMs run. There is one compaction run and one
 * contiguous range at a time: who comes second is told so. A command that is broken off (Ctrl-C) stops its run, which puts back what it has
 * set aside in steps of its own (`closer`); what has been moved stays moved.
 */

#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/mem/collapse.h"
#include "hyp/mem/move.h"
#include "mm/compact.h"
#include "mm/page_alloc.h"

#define FREED_PER_STEP ((uint64_t)64 << MAX_ORDER)
#define STEP_PAGES 24u /* one page takes up to 1,500 instructions, one step of work at most 50,000 */

static struct {
  const void *user; /* a session, or `closer`; NULL: nobody */
  struct compact_request request;
  struct compact_run run;
  struct collapse collapse;
} engine;

static struct contig_run contig;
static bool contig_held;      /* `contig.start` is EL2's until `contig free` */
static uint64_t contig_freed; /* frames of it, so far */

static bool claim(struct session *s) {
  if (engine.user) {
    session_fail(s, "another command is moving memory");
    return false;
  }
  engine.user = s;
  s->holds = true;
  return true;
}

static enum work_result done(struct session *s) {
  engine.user = NULL;
  s->holds = false;
  return WORK_DONE;
}

/* --- runs whose command was broken off --- */

static enum work_result close_compact(struct work *w) {
  (void)w;
  if (compact_step(&engine.run, STEP_PAGES) == ERR_AGAIN)
    return WORK_MORE;
  compact_end(&engine.run);
  engine.user = NULL;
  return WORK_DONE;
}

static enum work_result close_contig(struct work *w) {
  (void)w;
  if (contig_step(&contig, STEP_PAGES) == ERR_AGAIN)
    return WORK_MORE;
  engine.user = NULL;
  return WORK_DONE;
}

static struct work closer;

/* The engine stays claimed till `step` is done. */
static enum work_result close_later(struct session *s, enum work_result (*step)(struct work *w)) {
  closer.step = step;
  engine.user = &closer;
  s->holds = false;
  work_wake(&closer);
  return WORK_DONE;
}

/* --- reasons --- */

static void print_failures(const char *who, const uint64_t failed[MOVE_RESULTS]) {
  char text[128];
  size_t at = 0;
  text[0] = '\0';
  for (unsigned i = MOVE_DONE + 1; i < MOVE_RESULTS; i++)
    if (failed[i] && at < sizeof text)
      at += (size_t)format(text + at, sizeof text - at, " %s %llu", move_result_name((enum move_result)i), (unsigned long long)failed[i]);
  if (at)
    hyp_printf("%s: not moved:%s\n", who, text);
}

/* --- collapse: state[1] offset of the next 2 MiB, state[2] leaves made, state[3] a range is under way --- */

static enum work_result stop_collapse(struct session *s) {
  if (s->state[3])
    collapse_cancel(&engine.collapse);
  return done(s);
}

static enum work_result collapse_next(struct session *s, struct vm *vm) {
  err_t err = collapse_begin(&engine.collapse, vm, ipa(VM_RAM_BASE + s->state[1]));
  s->state[1] += SZ_2M;
  s->state[2] += err == ERR_EXIST;
  s->state[3] = err == ERR_OK;
  if (err == ERR_NOMEM) {
    hyp_printf("collapse: %s: no free block of 2 MiB is left\n", vm->config.name);
    s->state[1] = vm->config.memory_bytes;
  }
  return WORK_MORE;
}

static enum work_result collapse_go_on(struct session *s) {
  err_t err = collapse_step(&engine.collapse, STEP_PAGES);
  s->state[3] = err == ERR_AGAIN;
  s->state[2] += err == ERR_OK;
  return WORK_MORE;
}

static enum work_result cmd_collapse(struct session *s) {
  if (s->stopping)
    return stop_collapse(s);
  if (!s->holds && !claim(s))
    return WORK_DONE;
  if (s->state[3])
    return collapse_go_on(s);
  struct vm *vm = session_vm(s, 1);
  if (!vm)
    return done(s);
  if (s->state[1] < vm->config.memory_bytes)
    return collapse_next(s, vm);
  hyp_printf("sluice: collapse: %s: %llu leaves of 2 MiB made\n", s->argv[1], (unsigned long long)s->state[2]);
  return done(s);
}

/* --- compact: state[0] the next zone, state[1] all zones --- */

enum {
  COMPACT_PARSE = 0,
  COMPACT_FIRST_ZONE,
  COMPACT_RUNNING,
  COMPACT_NEXT_ZONE
};

static enum work_result stop_compact(struct session *s) {
  if (s->phase != COMPACT_RUNNING)
    return done(s);
  compact_stop(&engine.run);
  return close_later(s, close_compact);
}

static bool find_zone(const char *name, unsigned *zone) {
  struct buddyinfo info;
  for (unsigned z = 0; page_buddyinfo(z, &info); z++) {
    if (strcmp(info.zone_name, name) == 0) {
      *zone = z;
      return true;
    }
  }
  return false;
}

#define ALL_ZONES (~0u)

/* VM, zone or policy: each word can be only one of them. */
static bool take_word(struct session *s, const char *word) {
  const struct compact_policy *policy = compact_policy_by_name(word);
  const struct vm *vm = vm_by_name(word);
  unsigned zone;
  if (policy)
    engine.request.policy = policy;
  else if (vm)
    engine.request.owner = vm->id;
  else if (find_zone(word, &zone))
    engine.request.zone = zone;
  else
    session_fail(s, "`%s` is no VM, zone or policy (occupancy, classic)", word);
  return !s->failed;
}

static bool compact_parse(struct session *s) {
  engine.request = (struct compact_request){
      .policy = &compact_occupancy, .mode = COMPACT_SYNC, .zone = ALL_ZONES, .order = PAGEBLOCK_ORDER, .owner = COMPACT_ANY_OWNER};
  for (unsigned i = 1; i < s->argc; i++)
    if (!take_word(s, s->argv[i]))
      return false;
  return true;
}

static void print_run(const struct buddyinfo *zone) {
  const struct compact_report *r = &engine.run.report;
  hyp_printf("sluice: compact: %s: %s: %llu frames moved, %llu blocks of 2 MiB won, %llu before; unusable for 2 MiB now %u %%\n",
             zone->zone_name, compact_policy_name(engine.request.policy), (unsigned long long)r->moved_frames,
             (unsigned long long)r->pageblocks_freed, (unsigned long long)r->pageblocks_before, compact_score(engine.request.zone));
  print_failures("compact", r->failed_blocks);
}

static enum work_result compact_next_zone(struct session *s) {
  struct buddyinfo info;
  bool all = s->state[1] != 0;
  if (!page_buddyinfo((unsigned)s->state[0], &info) || (!all && s->phase == COMPACT_NEXT_ZONE))
    return done(s);
  engine.request.zone = (unsigned)s->state[0];
  err_t err = compact_begin(&engine.run, &engine.request);
  if (err == ERR_BUSY) /* the background compactor is at it */
    return session_wait_ms(s, 1);
  s->state[0]++;
  if (err == ERR_OK) {
    s->phase = COMPACT_RUNNING;
    return WORK_MORE;
  }
  s->phase = COMPACT_NEXT_ZONE;
  if (err != ERR_NOENT) {
    session_fail(s, "%s: %s", info.zone_name, err_name(err));
    return done(s);
  }
  hyp_printf("sluice: compact: %s: nothing to win\n", info.zone_name);
  return WORK_MORE;
}

static enum work_result compact_go_on(struct session *s) {
  struct buddyinfo info;
  err_t err = compact_step(&engine.run, STEP_PAGES);
  if (err == ERR_AGAIN)
    return WORK_MORE;
  compact_end(&engine.run);
  if (page_buddyinfo(engine.request.zone, &info))
    print_run(&info);
  s->phase = COMPACT_NEXT_ZONE;
  return WORK_MORE;
}

static enum work_result cmd_compact(struct session *s) {
  if (s->stopping)
    return stop_compact(s);
  if (s->phase == COMPACT_PARSE) {
    if (!claim(s))
      return WORK_DONE;
    if (!compact_parse(s))
      return done(s);
    s->state[1] = engine.request.zone == ALL_ZONES;
    s->state[0] = s->state[1] ? 0 : engine.request.zone;
    s->phase = COMPACT_FIRST_ZONE;
  }
  return s->phase == COMPACT_RUNNING ? compact_go_on(s) : compact_next_zone(s);
}

/* --- move: state[0] pages done, state[1] moved, state[2] ticks in the moves --- */

/* Ticks are those of CNTPCT: of 16 instructions each under icount, on one CPU. */
static enum work_result move_end(struct session *s, uint64_t wanted) {
  hyp_printf("sluice: move: %s: %llu of %llu pages moved in %llu ticks\n", s->argv[1], (unsigned long long)s->state[1],
             (unsigned long long)wanted, (unsigned long long)s->state[2]);
  return WORK_DONE;
}

/* COUNT pages from IPA on, ROUNDS times over. */
static enum work_result cmd_move(struct session *s) {
  struct vm *vm = session_vm(s, 1);
  uint64_t at, count, rounds = 1;
  if (!vm || !session_number(s, 2, &at) || !session_number(s, 3, &count) || (s->argc > 4 && !session_number(s, 4, &rounds)))
    return WORK_DONE;
  if (!is_aligned(at, PAGE_SIZE) || count == 0 || at < VM_RAM_BASE || count > vm->config.memory_bytes / PAGE_SIZE ||
      at - VM_RAM_BASE > vm->config.memory_bytes - count * PAGE_SIZE)
    return session_fail_done(s, "%llu pages from %#llx are not RAM of %s", (unsigned long long)count, (unsigned long long)at, s->argv[1]);
  if (rounds > UINT64_MAX / count)
    return session_fail_done(s, "too many rounds");
  uint64_t left = count * rounds - s->state[0], begun = time_now();
  if (left == 0)
    return move_end(s, count * rounds);
  for (uint64_t end = s->state[0] + min_u64(left, STEP_PAGES); s->state[0] < end; s->state[0]++)
    s->state[1] += move_page(&vm->s2, ipa(at + s->state[0] % count * PAGE_SIZE)) == MOVE_DONE;
  s->state[2] += time_now() - begun;
  return WORK_MORE;
}

/* --- contig: state[0] bytes, state[1] alignment; phase 1: under way --- */

static enum work_result stop_contig(struct session *s) {
  if (s->phase != 1)
    return done(s);
  contig_stop(&contig);
  return close_later(s, close_contig);
}

/* 512M, 1G, 0x200000: bytes. */
static bool parse_size(struct session *s, unsigned n, uint64_t *out) {
  char digits[24];
  size_t length = strlcpy(digits, s->argv[n], sizeof digits);
  unsigned shift = 0;
  if (length > 0 && length < sizeof digits) {
    char unit = digits[length - 1];
    shift = unit == 'K' ? 10 : unit == 'M' ? 20 : unit == 'G' ? 30 : 0;
    if (shift)
      digits[length - 1] = '\0';
  }
  if (length < sizeof digits && parse_u64(digits, out) && *out << shift >> shift == *out) {
    *out <<= shift;
    return true;
  }
  session_fail(s, "`%s` is no size (64M, 1G, 0x200000)", s->argv[n]);
  return false;
}

static enum work_result contig_give_back(struct session *s) {
  if (!contig_held)
    return session_fail_done(s, "no range is held");
  uint64_t beyond = (contig.start.v + contig_freed) & ((1u << MAX_ORDER) - 1); /* pieces end where no block goes on */
  uint64_t some = min_u64(contig.frames - contig_freed, FREED_PER_STEP - beyond);
  contig_free(pfn_add(contig.start, contig_freed), some);
  contig_freed += some;
  if (contig_freed < contig.frames)
    return WORK_MORE;
  contig_held = false;
  hyp_printf("sluice: contig: %llu MiB at %#llx given back\n", (unsigned long long)(contig.frames * PAGE_SIZE / SZ_1M),
             (unsigned long long)pfn_pa(contig.start).v);
  return WORK_DONE;
}

static enum work_result contig_start(struct session *s) {
  uint64_t bytes, align = SZ_2M;
  if (contig_held)
    return session_fail_done(s, "one range is held already; `contig free` gives it back");
  if (!parse_size(s, 1, &bytes) || (s->argc > 2 && !parse_size(s, 2, &align)))
    return WORK_DONE;
  if (!s->holds && !claim(s))
    return WORK_DONE;
  err_t err = contig_begin(&contig, bytes >> PAGE_SHIFT, align >> PAGE_SHIFT, pfn(0), pfn(~(uint64_t)0 >> PAGE_SHIFT));
  if (err == ERR_BUSY) /* the background compactor is at it */
    return session_wait_ms(s, 1);
  if (err == ERR_INVAL)
    session_fail(s, "size and alignment are multiples of 2 MiB, the alignment a power of two");
  else if (err != ERR_OK)
    session_fail(s, "no such range without unmovable memory: %s", err_name(err));
  s->phase = 1;
  return err == ERR_OK ? WORK_MORE : done(s);
}

static enum work_result contig_go_on(struct session *s) {
  err_t err = contig_step(&contig, STEP_PAGES);
  if (err == ERR_AGAIN)
    return WORK_MORE;
  contig_held = err == ERR_OK;
  contig_freed = 0;
  print_failures("contig", contig.failed_blocks);
  if (contig_held)
    hyp_printf("sluice: contig: %llu MiB at %#llx, %llu frames moved\n", (unsigned long long)(contig.frames * PAGE_SIZE / SZ_1M),
               (unsigned long long)pfn_pa(contig.start).v, (unsigned long long)contig.moved_frames);
  else
    session_fail(s, "not to be had: %s", err_name(err));
  return done(s);
}

static enum work_result cmd_contig(struct session *s) {
  if (s->stopping)
    return stop_contig(s);
  if (s->phase == 1)
    return contig_go_on(s);
  return strcmp(s->argv[1], "free") == 0 ? contig_give_back(s) : contig_start(s);
}

const struct command monitor_compact_commands[] = {
    {"compact", "[VM|ZONE] [POLICY]", "free blocks of 2 MiB, by moving what lies between", cmd_compact, 0, 2},
    {"collapse", "VM", "its pages become leaves of 2 MiB again", cmd_collapse, 1, 1},
    {"move", "VM IPA COUNT [ROUNDS]", "give pages other frames", cmd_move, 3, 4},
    {"contig", "SIZE [ALIGN] | free", "take a contiguous range from under the VMs, or give it back", cmd_contig, 1, 2},
    {0},
};
