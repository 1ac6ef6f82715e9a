/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Hand-over between VMs: `handover` lists what is under way, `handover self-test` walks all transitions of ownership, which a scenario can
 * also ask for at boot (`handover-self-test`): there no VM runs yet, so the ledger must be the same before and after, state by state.
 *
 * The walk's own state is too large for a session. One walk at a time: the monitor and the timeline share it, and who comes second is
 * refused.
 */

#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/mem/handover.h"
#include "hyp/mem/handover_selftest.h"

typedef unsigned long long ull;

static struct {
  struct handover_selftest test;
  struct session *by; /* NULL: nobody walks */
} walk;

/* ---- what is under way ---- */

static void show_region(const struct vm *vm, const struct handover *h) {
  static const char *const kinds[] = {"share", "loan", "donation"}, *const states[] = {"",     "gathering", "sending",
                                                                                       "open", "taken",     "returning"};
  static const char *const has[] = {"named", "mapping", "mapped", "unmapping", "wiping", "gone"};
  char borrowers[HANDOVER_BORROWERS_MAX * sizeof " vm 32 unmapping"] = "";
  for (unsigned i = 0, at = 0; i < h->borrowers; i++)
    at += (unsigned)format(borrowers + at, sizeof borrowers - at, " vm %u %s", h->borrower[i].vm, has[h->borrower[i].state]);
  hyp_printf("%-12s region %u: %s of %llu pages, %s:%s\n", vm->config.name, (unsigned)h->handle, kinds[h->kind], (ull)h->pages,
             states[h->state], borrowers);
}

/* A copy of the n-th region that a VM has under way; false: there are no more. */
static bool read_region(struct vm *vm, unsigned n, struct handover *out) {
  bool found = false;
  spin_lock(&vm->s2.lock);
  for (unsigned i = 0; vm->handover && i < HANDOVERS_MAX && !found; i++)
    if (vm->handover->slot[i].state != HANDOVER_NONE && n-- == 0) {
      *out = vm->handover->slot[i];
      found = true;
    }
  spin_unlock(&vm->s2.lock);
  return found;
}

/* One VM in a step: state[0] is how many regions were shown. */
static enum work_result show(struct session *s) {
  struct vm *vm = vm_by_id(s->phase);
  struct handover h;
  for (unsigned n = 0; vm && read_region(vm, n, &h); n++) {
    show_region(vm, &h);
    s->state[0]++;
  }
  if (++s->phase <= VMS_MAX)
    return WORK_MORE;
  hyp_printf("handover: %llu regions under way\n", (ull)s->state[0]);
  return WORK_DONE;
}

/* ---- the self-test ---- */

static void say_passed(const struct handover_selftest *t, const char *ledger) {
  hyp_printf(
      "sluice: handover: self-test: %u states, %u transitions over pages%s, %u legal, %u refused: both parties as they must be%s: PASS\n",
      t->states.count, t->transitions, t->blocks_skipped ? " (no free block)" : " and blocks", t->legal, t->transitions - t->legal, ledger);
}

static const char *reason(const struct handover_selftest *t, err_t err) {
  return t->what[0] ? t->what : err_name(err);
}

static enum work_result self_test(struct session *s) {
  if (s->stopping) {
    handover_selftest_stop(&walk.test);
    walk.by = NULL;
    return WORK_DONE;
  }
  if (walk.by != s) {
    if (walk.by)
      return session_fail_done(s, "it runs already");
    walk.by = s;
    s->holds = true;
    handover_selftest_begin(&walk.test);
  }
  err_t err = handover_selftest_step(&walk.test);
  if (err == ERR_AGAIN)
    return WORK_MORE;
  walk.by = NULL;
  s->holds = false;
  if (err != ERR_OK)
    return session_fail_done(s, "self-test: %s", reason(&walk.test, err));
  say_passed(&walk.test, "");
  return WORK_DONE;
}

/* What is neither free nor lies in the allocator's lists. */
static bool same_in_use(const struct ledger *a, const struct ledger *b) {
  for (unsigned s = 0; s < FRAME_STATES; s++)
    if (s != FRAME_FREE && s != FRAME_CACHED && s != FRAME_ZEROED && a->frames[s] != b->frames[s])
      return false;
  return true;
}

/* The ledger is read when the first transition is over: what EL2 keeps from then on (slabs) it has. */
void ctl_handover_self_test(void) {
  struct ledger before = {0}, after;
  bool read = false;
  err_t err;
  handover_selftest_begin(&walk.test);
  while ((err = handover_selftest_step(&walk.test)) == ERR_AGAIN)
    if (!read && walk.test.transitions == 1 && !walk.test.party[1]) {
      ledger_read(&before);
      read = true;
    }
  if (err != ERR_OK)
    ctl_boot_error("handover: self-test: %s", reason(&walk.test, err));
  ledger_read(&after);
  if (!same_in_use(&before, &after))
    ctl_boot_error("handover: self-test: the ledger is not what it was before");
  say_passed(&walk.test, ", ledger equal");
}

static enum work_result cmd_handover(struct session *s) {
  if (s->argc == 1)
    return show(s);
  return strcmp(s->argv[1], "self-test") == 0 ? self_test(s) : session_fail_done(s, "self-test?");
}

const struct command monitor_handover_commands[] = {
    {"handover", "[self-test]", "regions under way between VMs; try every transition of ownership", cmd_handover, 0, 1},
    {0},
};
