/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hand-over: every state that three VMs and two pages can be in, and every call in each of them, legal or not. The oracle is a handful of
 * fields for each page: whose it is, where, to whom it was given and how, and whether that one has it. After each call every VM is looked
 * at through its own tables: what it must reach it reaches, with the right contents and permission, and nothing else; frames say the same.
 *
 * A state is reached again by replaying the calls that led to it, from VMs made anew, so each also ends by handover_leave() in that state:
 * after it no frame is missing.
 */
// sources: hyp/mem/handover.c hyp/mem/handover_giver.c hyp/mem/handover_borrower.c hyp/mem/handover_leave.c hyp/mem/handover_frames.c hyp/mem/given.c
// sources: tests/host/handover_world.c tests/host/mm_world.c tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "mm/port.h"
#include "tests/host/handover_world.h"
#include <stdlib.h>
#include <string.h>

/* ---- the oracle ---- */

enum {
  FREE_OF = 0,
  SHARED_TO,
  LENT_TO,
  DONATED_TO
};

struct thing {
  uint8_t owner, in_window; /* where the owner has it */
  uint8_t how, to, taken;
};
struct model {
  struct thing thing[THINGS];
};
static const struct model first = {{{1, 0, 0, 0, 0}, {2, 0, 0, 0, 0}}};
static uint64_t handles[THINGS];

static bool owner_reaches(const struct thing *t) {
  return t->how == FREE_OF || t->how == SHARED_TO;
}

static void check_place(unsigned id, uint64_t ia, unsigned t, bool reaches) {
  uint64_t *at = hw_contents(&vms[id], ia);
  assert_int_equal(at != NULL, reaches);
  if (at)
    assert_int_equal(*at, TAG(t));
}

static void check_frame(const struct thing *t, unsigned n) {
  static const enum frame_state states[] = {FRAME_OWNED, FRAME_SHARED, FRAME_LENT, FRAME_LENT};
  unsigned looker = t->taken ? t->to : t->owner;
  uint64_t ia = t->taken || t->in_window ? hw_slot(n) : hw_home(n);
  uint64_t *at = hw_contents(&vms[looker], ia);
  if (!at)
    return; /* lent, and not taken yet: nobody maps it */
  const struct frame *f = frame_of(port_ptr_frame(at));
  assert_int_equal(f->state, states[t->how]);
  assert_int_equal(f->owner, t->owner);
  assert_int_equal(f->pins, t->how != FREE_OF);
  assert_int_equal(f->refs, t->taken);
  assert_int_equal(f->rmap, t->in_window ? hw_slot(n) : hw_home(n));
}

static void check_ledger(const struct model *m) {
  for (unsigned id = 1; id <= VMS; id++) {
    uint64_t owned = 0, shared = 0, lent = 0;
    struct ledger l;
    for (unsigned t = 0; t < THINGS; t++) {
      owned += m->thing[t].owner == id && m->thing[t].how == FREE_OF;
      shared += m->thing[t].owner == id && m->thing[t].how == SHARED_TO;
      lent += m->thing[t].owner == id && m->thing[t].how >= LENT_TO;
    }
    ledger_read_owner((owner_t)id, &l);
    assert_int_equal(l.frames[FRAME_OWNED], owned);
    assert_int_equal(l.frames[FRAME_SHARED], shared);
    assert_int_equal(l.frames[FRAME_LENT], lent);
    assert_int_equal(vms[id].s2.populated_frames + vms[id].s2.window_frames, owned + shared + lent);
  }
}

static void check(const struct model *m) {
  for (unsigned n = 0; n < THINGS; n++) {
    const struct thing *t = &m->thing[n];
    for (unsigned id = 1; id <= VMS; id++) {
      check_place(id, hw_home(n), n, t->owner == id && !t->in_window && owner_reaches(t));
      check_place(id, hw_slot(n), n, (t->owner == id && t->in_window && owner_reaches(t)) || (t->taken && t->to == id));
      bool first_owner = id == n + 1; /* its RAM is handed over unless it has it, or shares it */
      assert_int_equal(stage2_is_given(&vms[id].s2, hw_home(n), 1), first_owner && (t->owner != id || t->in_window || t->how >= LENT_TO));
    }
    check_frame(t, n);
  }
  check_ledger(m);
}

/* ---- calls ---- */

struct call {
  enum {
    GIVE,
    RETRIEVE,
    RELINQUISH,
    RECLAIM
  } what;
  uint8_t by, thing, how, to;
};
#define CALLS_MAX 128u
static struct call calls[CALLS_MAX];
static unsigned call_count;

static err_t give(const struct call *c, uint64_t at) {
  struct handover t = {.kind = (uint8_t)(c->how - SHARED_TO), .borrowers = 1, .borrower = {{.vm = c->to, .writable = true}}};
  struct handover_range left = {at, 1};
  uint64_t handle;
  err_t err = handover_begin(&vms[c->by], &t, &handle);
  if (err != ERR_OK)
    return err;
  while ((err = handover_claim(&vms[c->by], handle, &left)) == ERR_AGAIN)
    ;
  if (err != ERR_OK) {
    assert_int_equal(hw_finish(handover_cancel, &vms[c->by], handle), ERR_OK);
    return err;
  }
  handles[c->thing] = handle;
  return hw_finish(handover_send, &vms[c->by], handle);
}

static err_t retrieve(const struct call *c) {
  struct vm *vm = &vms[c->by];
  err_t err = handover_retrieve(vm, handles[c->thing], hw_slot(c->thing), PT_R | PT_W, false);
  if (err != ERR_OK)
    return err;
  err = hw_finish(handover_map, vm, handles[c->thing]);
  struct handover_info info;
  if (err == ERR_OK && handover_inquire(vm, handles[c->thing], &info) == ERR_NOENT)
    err = hw_finish(handover_transfer, vm, handles[c->thing]);
  return err;
}

static err_t relinquish(const struct call *c) {
  err_t err = handover_relinquish(&vms[c->by], handles[c->thing], false);
  return err == ERR_OK ? hw_finish(handover_unmap, &vms[c->by], handles[c->thing]) : err;
}

static err_t reclaim(const struct call *c) {
  err_t err = handover_reclaim(&vms[c->by], handles[c->thing], false);
  return err == ERR_OK ? hw_finish(handover_return, &vms[c->by], handles[c->thing]) : err;
}

/* Where a VM that has not got the thing would look for it: where it was once, else in its window. */
static uint64_t place(const struct model *m, const struct call *c) {
  const struct thing *t = &m->thing[c->thing];
  bool at_home = t->owner == c->by ? !t->in_window : c->by == c->thing + 1 && !(t->taken && t->to == c->by);
  return at_home ? hw_home(c->thing) : hw_slot(c->thing);
}

static err_t carry_out(const struct model *m, const struct call *c) {
  switch (c->what) {
  case GIVE:
    return give(c, place(m, c));
  case RETRIEVE:
    return retrieve(c);
  case RELINQUISH:
    return relinquish(c);
  default:
    return reclaim(c);
  }
}

/* What must become of the model, and what the call must say. */
static err_t judge(struct model *m, const struct call *c) {
  struct thing *t = &m->thing[c->thing];
  bool named = t->how != FREE_OF && t->to == c->by;
  switch (c->what) {
  case GIVE:
    if (c->by == c->to)
      return ERR_INVAL;
    if (t->owner != c->by || t->how != FREE_OF)
      return ERR_PERM;
    t->how = c->how;
    t->to = c->to;
    return ERR_OK;
  case RETRIEVE:
    if (!named || t->taken)
      return named ? ERR_EXIST : ERR_NOENT;
    *t = t->how == DONATED_TO ? (struct thing){c->by, 1, 0, 0, 0} : (struct thing){t->owner, t->in_window, t->how, t->to, 1};
    return ERR_OK;
  case RELINQUISH:
    if (!named || !t->taken)
      return ERR_NOENT;
    t->taken = 0;
    return ERR_OK;
  default:
    if (t->owner != c->by || t->how == FREE_OF)
      return ERR_NOENT;
    if (t->taken)
      return ERR_PERM;
    t->how = t->to = 0;
    return ERR_OK;
  }
}

static void do_call(struct model *m, const struct call *c) {
  struct model before = *m;
  err_t wanted = judge(m, c), got = carry_out(&before, c);
  if (got != wanted)
    fail_msg("call %d by %u on %u (%u to %u): %s, not %s", c->what, c->by, c->thing, c->how, c->to, err_name(got), err_name(wanted));
  if (got != ERR_OK)
    assert_memory_equal(&before, m, sizeof(before));
  check(m);
}

static void list_calls(void) {
  call_count = 0;
  for (uint8_t by = 1; by <= VMS; by++)
    for (uint8_t thing = 0; thing < THINGS; thing++) {
      for (unsigned how = SHARED_TO; how <= DONATED_TO; how++)
        for (uint8_t to = 1; to <= VMS; to++)
          calls[call_count++] = (struct call){GIVE, by, thing, (uint8_t)how, to};
      for (unsigned what = RETRIEVE; what <= RECLAIM; what++)
        calls[call_count++] = (struct call){what, by, thing, 0, 0};
    }
  assert_true(call_count <= CALLS_MAX);
}

/* ---- every state ---- */

#define STATES_MAX 32768u
static struct {
  struct model m;
  uint32_t from; /* the state before, and the call that led here */
  uint8_t call;
} found[STATES_MAX];
static unsigned found_count;

static unsigned find_or_add(const struct model *m, unsigned from, unsigned call) {
  for (unsigned i = 0; i < found_count; i++)
    if (memcmp(&found[i].m, m, sizeof(*m)) == 0)
      return i;
  assert_true(found_count < STATES_MAX);
  found[found_count].m = *m;
  found[found_count].from = from;
  found[found_count].call = (uint8_t)call;
  return found_count++;
}

static void replay(unsigned state) {
  struct model m = first;
  unsigned path[64], length = 0;
  for (unsigned s = state; s != 0; s = found[s].from)
    path[length++] = found[s].call;
  while (length > 0)
    do_call(&m, &calls[path[--length]]);
}

static void go_to(unsigned state) {
  hw_vms_make();
  memset(handles, 0, sizeof(handles));
  replay(state);
}

/* What is granted leads to another state, new or known, and there ends. */
static void try_granted(unsigned state, unsigned call) {
  struct model m = found[state].m;
  go_to(state);
  do_call(&m, &calls[call]);
  hw_vms_end(call);
  (void)find_or_add(&m, state, call);
}

/* All that is refused changes nothing, so one visit tries it all. */
static void visit(unsigned state) {
  struct model m = found[state].m;
  bool granted[CALLS_MAX] = {false};
  go_to(state);
  for (unsigned i = 0; i < call_count; i++) {
    struct model after = m;
    granted[i] = judge(&after, &calls[i]) == ERR_OK;
    if (!granted[i])
      do_call(&m, &calls[i]);
  }
  hw_vms_end(state);
  for (unsigned i = 0; i < call_count; i++)
    if (granted[i])
      try_granted(state, i);
}

static void every_state_and_every_call(void **state) {
  (void)state;
  list_calls();
  found_count = 0;
  (void)find_or_add(&first, 0, 0);
  for (unsigned i = 0; i < found_count; i++)
    visit(i);
  print_message("%u states, %u calls in each\n", found_count, call_count);
  assert_true(found_count > 1000);
  assert_true(hw_flushes > 0);
}

/* A VM with the id of one that died was not meant. */
static void an_id_is_not_an_heir(void **state) {
  (void)state;
  struct model m = first;
  struct call lend = {GIVE, 1, 0, LENT_TO, 2}, take = {RETRIEVE, 2, 0, 0, 0};
  hw_vms_make();
  do_call(&m, &lend);
  hw_vm_end(&vms[2]);
  hw_vm_make(2);
  assert_int_equal(carry_out(&m, &take), ERR_NOENT);
  hw_vms_end(0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(every_state_and_every_call, hw_set_up, hw_tear_down),
      cmocka_unit_test_setup_teardown(an_id_is_not_an_heir, hw_set_up, hw_tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
