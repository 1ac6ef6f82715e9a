/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * `managed`: ranges of managed memory, what each member has of them and how it came there; their policy, changed while guests use them; the
 * check of everything that is believed about them; and `count`, by which a timeline holds a counter against limits.
 */

#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/mem/managed.h"

typedef unsigned long long ull;

/* One session at a time adds up; state[0]: block, state[1]: range, 1 + index, while all are shown. */
static struct managed_state sums;

static const char *member_name(const struct managed_range *range, unsigned location) {
  return location == LOCATION_NONE ? "none" : managed_config_of(range)->member[location - 1];
}

/* The location that a word names; 0 after session_fail(). */
static unsigned member_of(struct session *s, const struct managed_range *range, const char *name) {
  for (unsigned l = 1; l <= managed_config_of(range)->members; l++)
    if (strcmp(member_name(range, l), name) == 0)
      return l;
  session_fail(s, "`%s` is no member of %s", name, managed_config_of(range)->name);
  return 0;
}

/* ---- showing ---- */

static void print_range(const struct managed_range *range) {
  const struct managed_config *c = managed_config_of(range);
  const struct managed_policy *p = &sums.policy;
  char watchers[MANAGED_MEMBERS_MAX * (MANAGED_NAME_MAX + 1)] = " none";
  size_t at = 0;
  for (unsigned l = 1; l <= c->members; l++)
    if (p->accessed_by >> l & 1)
      at += (size_t)format(watchers + at, sizeof watchers - at, " %s", member_name(range, l));
  hyp_printf("managed: %s: %llu MiB, %s; prefer %s, accessed-by%s, read-dup %s, migrate %s; with no guest %llu pages, pinned %llu; %llu "
             "frames compacted\n",
             c->name, (ull)(c->bytes / SZ_1M), c->move ? "move" : "copy", member_name(range, p->preferred), watchers,
             p->read_dup ? "on" : "off", p->no_migrate ? "off" : "on", (ull)sums.home_pages, (ull)sums.pinned, (ull)sums.moved);
  hyp_printf(
      "managed: %s: prefetch above %u %%; thrashes after %u times, each within %u us; then %u naps of %u us, then pinned for %u ms\n",
      c->name, p->prefetch_percent, p->thrash_events, p->lapse_us, p->thrash_throttles, p->nap_us, p->pin_us / 1000);
}

static void print_member(const struct managed_range *range, unsigned location) {
  const struct managed_member_state *m = &sums.member[location];
  const struct managed_counts *c = &m->counts;
  hyp_printf("managed: %s: %s%s: resident %llu, duplicated %llu, mapped %llu, writable %llu pages; uses %llu of %llu frames\n",
             managed_config_of(range)->name, member_name(range, location), m->present ? "" : " (not there)", (ull)m->resident,
             (ull)m->duplicated, (ull)m->mapped, (ull)m->writable, (ull)m->used_frames, (ull)m->quota_frames);
  hyp_printf("managed: %s: %s: %u faults; pages: %u populated, %u migrated, %u duplicated, %u collapsed, %u prefetched, %u evicted, "
             "%u shed; %u throttled, %u pinned\n",
             managed_config_of(range)->name, member_name(range, location), c->faults, c->populated, c->migrated, c->duplicated,
             c->collapsed, c->prefetched, c->evicted, c->shed, c->throttled, c->pinned);
}

/* True when the sums of a range are complete. */
static bool add_up(struct session *s, struct managed_range *range) {
  uint32_t block = (uint32_t)s->state[0];
  if (block == 0)
    sums = (struct managed_state){0};
  bool done = managed_read_step(range, &block, &sums) == ERR_OK;
  s->state[0] = done ? 0 : block;
  return done;
}

static enum work_result show(struct session *s, struct managed_range *range) {
  if (!add_up(s, range))
    return WORK_MORE;
  print_range(range);
  for (unsigned l = 1; l <= managed_config_of(range)->members; l++)
    print_member(range, l);
  return WORK_DONE;
}

static enum work_result show_all(struct session *s) {
  struct managed_range *range = managed_nth((unsigned)s->state[1]);
  if (!range)
    return s->state[1] ? WORK_DONE : session_fail_done(s, "there is no managed memory");
  if (show(s, range) == WORK_DONE)
    s->state[1]++;
  return WORK_MORE;
}

/* ---- changing ---- */

static enum work_result set_prefer(struct session *s, struct managed_range *range) {
  struct managed_policy p = managed_policy_of(range);
  unsigned location = LOCATION_NONE;
  if (strcmp(s->argv[3], "none") != 0 && (location = member_of(s, range, s->argv[3])) == 0)
    return WORK_DONE;
  p.preferred = (uint8_t)location;
  managed_set_policy(range, &p);
  return WORK_DONE;
}

static enum work_result set_accessed_by(struct session *s, struct managed_range *range) {
  struct managed_policy p = managed_policy_of(range);
  p.accessed_by = 0;
  for (unsigned i = 3; i < s->argc && strcmp(s->argv[3], "none") != 0; i++) {
    unsigned location = member_of(s, range, s->argv[i]);
    if (location == 0)
      return WORK_DONE;
    p.accessed_by |= (uint8_t)BIT(location);
  }
  managed_set_policy(range, &p);
  return WORK_DONE;
}

/* Argument 3 is on or off; false after session_fail(). */
static bool read_switch(struct session *s, bool *on) {
  *on = strcmp(s->argv[3], "on") == 0;
  if (*on || strcmp(s->argv[3], "off") == 0)
    return true;
  session_fail(s, "on or off?");
  return false;
}

static enum work_result set_read_dup(struct session *s, struct managed_range *range) {
  struct managed_policy p = managed_policy_of(range);
  if (read_switch(s, &p.read_dup))
    managed_set_policy(range, &p);
  return WORK_DONE;
}

static enum work_result set_migrate(struct session *s, struct managed_range *range) {
  struct managed_policy p = managed_policy_of(range);
  bool on;
  if (!read_switch(s, &on))
    return WORK_DONE;
  p.no_migrate = !on;
  managed_set_policy(range, &p);
  return WORK_DONE;
}

static enum work_result set_quota(struct session *s, struct managed_range *range) {
  uint64_t mib;
  unsigned location = member_of(s, range, s->argv[3]);
  if (location == 0)
    return WORK_DONE;
  if (s->argc < 5)
    return session_fail_done(s, "how many MiB?");
  if (session_number(s, 4, &mib))
    managed_set_quota(range, location, min_u64(mib, managed_config_of(range)->bytes / SZ_1M) * (SZ_1M / PAGE_SIZE));
  return WORK_DONE;
}

/* ---- numbers, by their names in the scenario ---- */

enum number {
  PREFETCH,
  EVENTS,
  THROTTLES,
  LAPSE,
  NAP,
  PIN,
  NUMBERS
};
static const char *const number_names[NUMBERS] = {SCN_PREFETCH,     SCN_THRASH_EVENTS, SCN_THRASH_THROTTLES,
                                                  SCN_THRASH_LAPSE, SCN_THRASH_NAP,    SCN_PIN};

static void put_number(struct managed_policy *p, enum number which, uint32_t value) {
  switch (which) {
  case PREFETCH:
    p->prefetch_percent = (uint8_t)value;
    break;
  case EVENTS:
    p->thrash_events = (uint8_t)value;
    break;
  case THROTTLES:
    p->thrash_throttles = (uint8_t)value;
    break;
  case LAPSE:
    p->lapse_us = value;
    break;
  case NAP:
    p->nap_us = value;
    break;
  default:
    p->pin_us = value * 1000;
  }
}

/* Bounds are those of the scenario (scenario_rules.c). */
static enum work_result set_number(struct session *s, struct managed_range *range, enum number which) {
  static const struct { uint32_t least, most; } bounds[NUMBERS] = {{1, 100}, {0, 100}, {0, 100}, {1, 1000000}, {1, 100000}, {1, 600000}};
  struct managed_policy p = managed_policy_of(range);
  uint64_t value;
  if (!session_number(s, 3, &value))
    return WORK_DONE;
  if (value < bounds[which].least || value > bounds[which].most)
    return session_fail_done(s, "%s: %u to %u", s->argv[2], bounds[which].least, bounds[which].most);
  put_number(&p, which, (uint32_t)value);
  if (p.nap_us >= p.lapse_us)
    return session_fail_done(s, SCN_THRASH_NAP " would be %u, not less than " SCN_THRASH_LAPSE ", %u", p.nap_us, p.lapse_us);
  managed_set_policy(range, &p);
  return WORK_DONE;
}

/* ---- holding against ---- */

/* state[0]: page */
static enum work_result check(struct session *s, struct managed_range *range) {
  const char *what;
  err_t err = managed_check_step(range, &s->state[0], &what);
  if (err == ERR_AGAIN)
    return WORK_MORE;
  if (err != ERR_OK)
    return session_fail_done(s, "%s, offset 0x%llx: %s", s->argv[1], (ull)s->state[0] * PAGE_SIZE, what);
  hyp_printf("sluice: managed: %s: all %llu pages are what their blocks say\n", s->argv[1], (ull)s->state[0]);
  return WORK_DONE;
}

static bool find_count(const struct managed_member_state *m, const char *name, uint64_t *out) {
  static const char *const names[] = {"faults",    "populated", "migrated", "duplicated", "collapsed", "prefetched",
                                      "throttled", "pinned",    "evicted",  "shed",       "resident",  "mapped"};
  const struct managed_counts *c = &m->counts;
  const uint64_t values[] = {c->faults,    c->populated, c->migrated, c->duplicated, c->collapsed, c->prefetched,
                             c->throttled, c->pinned,    c->evicted,  c->shed,       m->resident,  m->mapped};
  int i = scenario_word_index(names, ARRAY_SIZE(names), name);
  if (i >= 0)
    *out = values[i];
  return i >= 0;
}

/* Of all members, or of one; `compacted` is counted of the range. False: there is no such count. */
static bool add_count(const struct managed_range *range, const char *name, unsigned location, uint64_t *sum) {
  uint64_t value = 0;
  *sum = sums.moved;
  if (location == 0 && strcmp(name, "compacted") == 0)
    return true;
  *sum = 0;
  for (unsigned l = 1; l <= managed_config_of(range)->members; l++) {
    if (!find_count(&sums.member[l], name, &value))
      return false;
    *sum += location == 0 || l == location ? value : 0;
  }
  return true;
}

/* managed NAME count WHAT VM LEAST MOST; VM may be `all`. */
static enum work_result hold_count(struct session *s, struct managed_range *range) {
  uint64_t least, most, sum;
  if (s->argc != 7)
    return session_fail_done(s, "count WHAT VM LEAST MOST");
  bool all = strcmp(s->argv[4], "all") == 0;
  unsigned location = all ? 0 : member_of(s, range, s->argv[4]);
  if ((!all && location == 0) || !session_number(s, 5, &least) || !session_number(s, 6, &most))
    return WORK_DONE;
  if (!add_up(s, range))
    return WORK_MORE;
  if (!add_count(range, s->argv[3], location, &sum))
    return session_fail_done(s, "nothing is counted as `%s`", s->argv[3]);
  if (sum < least || sum > most)
    return session_fail_done(s, "%s: %s: %s %llu, not %llu to %llu", s->argv[1], s->argv[4], s->argv[3], (ull)sum, (ull)least, (ull)most);
  hyp_printf("sluice: managed: %s: %s: %s %llu\n", s->argv[1], s->argv[4], s->argv[3], (ull)sum);
  return WORK_DONE;
}

/* What stands behind the range's name. */
static enum work_result with_range(struct session *s, struct managed_range *range) {
  static const char *const words[] = {"check", "count", "prefer", "accessed-by", "read-dup", "migrate", "quota"};
  int word = scenario_word_index(words, ARRAY_SIZE(words), s->argv[2]), number = scenario_word_index(number_names, NUMBERS, s->argv[2]);
  if (word != 0 && s->argc < 4)
    return session_fail_done(s, "%s what?", s->argv[2]);
  if (number >= 0)
    return set_number(s, range, (enum number)number);
  switch (word) {
  case 0:
    return check(s, range);
  case 1:
    return hold_count(s, range);
  case 2:
    return set_prefer(s, range);
  case 3:
    return set_accessed_by(s, range);
  case 4:
    return set_read_dup(s, range);
  case 5:
    return set_migrate(s, range);
  case 6:
    return set_quota(s, range);
  default:
    return session_fail_done(s, "`%s`: check, count, prefer, accessed-by, read-dup, migrate, quota, or a number's name?", s->argv[2]);
  }
}

static enum work_result cmd_managed(struct session *s) {
  if (s->argc == 1)
    return show_all(s);
  struct managed_range *range = managed_named(s->argv[1]);
  if (!range)
    return session_fail_done(s, "there is no range `%s`", s->argv[1]);
  return s->argc == 2 ? show(s, range) : with_range(s, range);
}

const struct command monitor_managed_commands[] = {
    {"managed", "[NAME [check|count|prefer|accessed-by|read-dup|migrate|quota|NUMBER ...]]", "memory that goes to who touches it",
     cmd_managed, 0, 7},
    {0},
};
