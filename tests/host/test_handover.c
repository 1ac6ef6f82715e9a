/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hand-over: every state that three VMs and two pages can be in, and every call in each of them, legal or not. The oracle is a handful of fields for each page: whose it
 * is, where, to whom it was given and how, and whether that one has it. After each call every VM is looked at through its own tables: what it must reach it reaches, with the
 * right contents and permission, and nothing else; frames say the same.
 *
 * A state is reached again by replaying the calls that led to it, from VMs made anew, so each also ends by handover_leave() in that state: after it no frame is missing.
 */
// sources: hyp/mem/handover.c hyp/mem/handover_frames.c hyp/mem/given.c
// sources: tests/host/mm_world.c tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "hyp/core/vm.h"
#include "hyp/mem/handover.h"
#include "mm/port.h"
#include "mm_world.h"
#include <stdlib.h>
#include <string.h>

#define VMS 3u
#define THINGS 2u
#define RAM_PAGES 1024u
#define WINDOW_BYTES SZ_2M
#define TAG(t_) (0x1111111111111111ull * ((t_) + 1))

struct spinlock vms_lock;
static struct world w;
static struct vm vms[VMS + 1];
static unsigned flushes;
static uint64_t frames_before;

/* ---- what the hand-over asks of the hypervisor ---- */

struct vm *vm_by_id(unsigned id) {
  return id >= 1 && id <= VMS && vms[id].id ? &vms[id] : NULL;
}

static err_t table_alloc(struct pt *pt, pfn_t *out) {
  err_t err = page_alloc(0, ALLOC_UNMOVABLE | ALLOC_ZERO, out);
  if (err == ERR_OK)
    frame_set_state(*out, 0, FRAME_TABLE, pt->id, 0);
  return err;
}

static void table_free(struct pt *pt, pfn_t table) {
  (void)pt;
  page_free(table, 0);
}

static void tlb_flush(struct pt *pt, uint64_t ia, uint64_t size, unsigned level, bool tables) {
  (void)pt, (void)ia, (void)size, (void)level, (void)tables;
  flushes++;
}

static void publish(struct pt *pt) {
  (void)pt;
}

static const struct pt_ops ops = {"stage2", pt_leaf_s2, pt_prot_s2, table_alloc, table_free, tlb_flush, publish};

err_t stage2_populate(struct stage2 *s2, ipa_t a) {
  pfn_t f;
  assert_false(stage2_is_given(s2, a.v, 1));
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE | ALLOC_ZERO, &f), ERR_OK);
  frame_set_state(f, 0, FRAME_OWNED, s2->vm->id, a.v);
  assert_int_equal(pt_map_leaf(&s2->pt, a.v, pfn_pa(f), 3, PT_R | PT_W | PT_X), ERR_OK);
  s2->populated_frames++;
  return ERR_OK;
}

err_t stage2_split(struct stage2 *s2, uint64_t a) {
  (void)s2, (void)a;
  return ERR_NOMEM; /* no blocks here */
}

void stage2_forget_views(struct stage2 *s2, ipa_t start, uint64_t bytes) {
  (void)s2, (void)start, (void)bytes;
}

void stage2_cleanse(pfn_t first, uint64_t frames) {
  memset(port_frame_ptr(first), 0, frames * PAGE_SIZE);
}

/* ---- three VMs ---- */

static uint64_t home(unsigned thing) {
  return VM_RAM_BASE + (thing + 3) * PAGE_SIZE;
}

static uint64_t slot(unsigned thing) {
  return VM_RAM_BASE + RAM_PAGES * PAGE_SIZE + thing * PAGE_SIZE;
}

static void vm_make(unsigned id) {
  struct vm *vm = &vms[id];
  pfn_t root;
  memset(vm, 0, sizeof(*vm));
  assert_int_equal(page_alloc(2, ALLOC_UNMOVABLE | ALLOC_ZERO, &root), ERR_OK);
  frame_set_state(root, 2, FRAME_TABLE, (owner_t)id, 0);
  assert_int_equal(pt_init(&vm->s2.pt, &ops, root, 2, 2, 32, 0, (uint16_t)id), ERR_OK);
  vm->id = (uint16_t)id;
  vm->s2.vm = vm;
  vm->s2.ram_base = ipa(VM_RAM_BASE);
  vm->s2.ram_bytes = RAM_PAGES * PAGE_SIZE;
  vm->s2.window_bytes = WINDOW_BYTES;
}

static void free_leaf(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc) {
  struct vm *vm = ctx;
  (void)level, (void)desc;
  assert_int_equal(frame_of(pa_pfn(out))->state, FRAME_OWNED);
  assert_int_equal(frame_of(pa_pfn(out))->owner, vm->id);
  stage2_count(&vm->s2, ia, -1);
  page_free(pa_pfn(out), 0);
}

static void vm_end(struct vm *vm) {
  while (handover_leave(vm) == ERR_AGAIN)
    ;
  assert_int_equal(pt_destroy(&vm->s2.pt, ~0u, free_leaf, vm), ERR_OK);
  assert_int_equal(vm->s2.populated_frames + vm->s2.window_frames, 0);
  page_free(vm->s2.pt.root_pfn, 2);
  vm->id = 0;
}

static uint64_t *contents(struct vm *vm, uint64_t ia) {
  struct pt_leaf leaf;
  if (pt_lookup(&vm->s2.pt, ia, &leaf) != ERR_OK)
    return NULL;
  return port_frame_ptr(pa_pfn(leaf.out));
}

static void vms_make(void) {
  for (unsigned id = 1; id <= VMS; id++)
    vm_make(id);
  for (unsigned t = 0; t < THINGS; t++) { /* thing 0 is VM 1's, thing 1 is VM 2's */
    assert_int_equal(stage2_populate(&vms[t + 1].s2, ipa(home(t))), ERR_OK);
    *contents(&vms[t + 1], home(t)) = TAG(t);
  }
}

static uint64_t frames_in_use(void) {
  struct ledger l;
  ledger_read(&l);
  return l.frames[FRAME_TABLE] + l.frames[FRAME_OWNED] + l.frames[FRAME_SHARED] + l.frames[FRAME_LENT];
}

/* In an order that depends on the state, so that givers and takers both die first somewhere. */
static void vms_end(unsigned turn) {
  for (unsigned i = 0; i < VMS; i++)
    vm_end(&vms[1 + (i + turn) % VMS]);
  assert_int_equal(frames_in_use(), frames_before);
}

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
  uint64_t *at = contents(&vms[id], ia);
  assert_int_equal(at != NULL, reaches);
  if (at)
    assert_int_equal(*at, TAG(t));
}

static void check_frame(const struct thing *t, unsigned n) {
  static const enum frame_state states[] = {FRAME_OWNED, FRAME_SHARED, FRAME_LENT, FRAME_LENT};
  unsigned looker = t->taken ? t->to : t->owner;
  uint64_t ia = t->taken || t->in_window ? slot(n) : home(n);
  uint64_t *at = contents(&vms[looker], ia);
  if (!at)
    return; /* lent, and not taken yet: nobody maps it */
  const struct frame *f = frame_of(port_ptr_frame(at));
  assert_int_equal(f->state, states[t->how]);
  assert_int_equal(f->owner, t->owner);
  assert_int_equal(f->pins, t->how != FREE_OF);
  assert_int_equal(f->refs, t->taken);
  assert_int_equal(f->rmap, t->in_window ? slot(n) : home(n));
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
      check_place(id, home(n), n, t->owner == id && !t->in_window && owner_reaches(t));
      check_place(id, slot(n), n, (t->owner == id && t->in_window && owner_reaches(t)) || (t->taken && t->to == id));
      bool first_owner = id == n + 1; /* its RAM is handed over unless it has it, or shares it */
      assert_int_equal(stage2_is_given(&vms[id].s2, home(n), 1), first_owner && (t->owner != id || t->in_window || t->how >= LENT_TO));
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

static err_t finish(err_t (*step)(struct vm *, uint64_t), struct vm *vm, uint64_t handle) {
  err_t err;
  while ((err = step(vm, handle)) == ERR_AGAIN)
    ;
  return err;
}

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
    assert_int_equal(finish(handover_cancel, &vms[c->by], handle), ERR_OK);
    return err;
  }
  handles[c->thing] = handle;
  return finish(handover_send, &vms[c->by], handle);
}

static err_t retrieve(const struct call *c) {
  struct vm *vm = &vms[c->by];
  err_t err = handover_retrieve(vm, handles[c->thing], slot(c->thing), PT_R | PT_W);
  if (err != ERR_OK)
    return err;
  err = finish(handover_map, vm, handles[c->thing]);
  struct handover_info info;
  if (err == ERR_OK && handover_inquire(vm, handles[c->thing], &info) == ERR_NOENT)
    err = finish(handover_transfer, vm, handles[c->thing]);
  return err;
}

static err_t relinquish(const struct call *c) {
  err_t err = handover_relinquish(&vms[c->by], handles[c->thing]);
  return err == ERR_OK ? finish(handover_unmap, &vms[c->by], handles[c->thing]) : err;
}

static err_t reclaim(const struct call *c) {
  err_t err = handover_reclaim(&vms[c->by], handles[c->thing], false);
  return err == ERR_OK ? finish(handover_return, &vms[c->by], handles[c->thing]) : err;
}

/* Where a VM that has not got the thing would look for it: where it was once, else in its window. */
static uint64_t place(const struct model *m, const struct call *c) {
  const struct thing *t = &m->thing[c->thing];
  bool at_home = t->owner == c->by ? !t->in_window : c->by == c->thing + 1 && !(t->taken && t->to == c->by);
  return at_home ? home(c->thing) : slot(c->thing);
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
  vms_make();
  memset(handles, 0, sizeof(handles));
  replay(state);
}

/* What is granted leads to another state, new or known, and there ends. */
static void try_granted(unsigned state, unsigned call) {
  struct model m = found[state].m;
  go_to(state);
  do_call(&m, &calls[call]);
  vms_end(call);
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
  vms_end(state);
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
  assert_true(flushes > 0);
}

/* ---- beyond single pages ---- */

static void map_fails_for_want_of_a_table(void **state) {
  (void)state;
  vms_make();
  struct handover t = {.kind = HANDOVER_LEND, .borrowers = 1, .borrower = {{.vm = 2, .writable = true}}};
  struct handover_range left = {VM_RAM_BASE, 600};
  uint64_t handle, base = VM_RAM_BASE + RAM_PAGES * PAGE_SIZE;
  assert_int_equal(handover_begin(&vms[1], &t, &handle), ERR_OK);
  err_t err;
  while ((err = handover_claim(&vms[1], handle, &left)) == ERR_AGAIN)
    ;
  assert_int_equal(err, ERR_OK);
  assert_int_equal(finish(handover_send, &vms[1], handle), ERR_OK);
  assert_int_equal(handover_retrieve(&vms[2], handle, base, PT_R), ERR_RANGE); /* 600 pages, a window of 512 */
  vms[2].s2.window_bytes = 2 * SZ_2M;
  pfn_t own;
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &own), ERR_OK); /* page 550 of the place is taken: found half-way */
  frame_set_state(own, 0, FRAME_OWNED, 2, base + 550 * PAGE_SIZE);
  assert_int_equal(pt_map_leaf(&vms[2].s2.pt, base + 550 * PAGE_SIZE, pfn_pa(own), 3, PT_R), ERR_OK);
  vms[2].s2.window_frames++;
  assert_int_equal(handover_retrieve(&vms[2], handle, base, PT_R | PT_W), ERR_OK);
  assert_int_equal(handover_retrieve(&vms[2], handle, base, PT_R | PT_W), ERR_EXIST);
  assert_int_equal(finish(handover_map, &vms[2], handle), ERR_EXIST);
  assert_int_equal(finish(handover_unmap, &vms[2], handle), ERR_OK);
  assert_null(contents(&vms[2], base));
  assert_null(contents(&vms[2], base + 549 * PAGE_SIZE));
  assert_int_equal(handover_retrieve(&vms[2], handle, base + 8 * PAGE_SIZE, PT_R | PT_X), ERR_OK);
  assert_int_equal(handover_map(&vms[2], handle), ERR_AGAIN); /* half-way, and the giver dies: its loan is taken away */
  vm_end(&vms[1]);
  assert_int_equal(handover_map(&vms[2], handle), ERR_NOENT);
  assert_null(contents(&vms[2], base + 8 * PAGE_SIZE));
  vm_end(&vms[2]);
  vm_end(&vms[3]);
  assert_int_equal(frames_in_use(), frames_before);
}

/* The second page is refused: the first is as before, and can be given. */
static void a_send_that_fails_changes_nothing(void **state) {
  (void)state;
  vms_make();
  struct handover t = {.kind = HANDOVER_LEND, .borrowers = 1, .borrower = {{.vm = 2, .writable = true}}};
  struct handover_range left = {home(0), 1}, again = left, third = left;
  uint64_t handle;
  assert_int_equal(handover_begin(&vms[1], &t, &handle), ERR_OK);
  assert_int_equal(handover_claim(&vms[1], handle, &left), ERR_OK);
  assert_int_equal(handover_claim(&vms[1], handle, &again), ERR_PERM);
  assert_int_equal(finish(handover_cancel, &vms[1], handle), ERR_OK);
  assert_int_equal(frame_of(port_ptr_frame(contents(&vms[1], home(0))))->pins, 0);
  assert_int_equal(handover_begin(&vms[1], &t, &handle), ERR_OK);
  assert_int_equal(handover_claim(&vms[1], handle, &third), ERR_OK);
  vms_end(0); /* and one that is never sent goes with its giver */
}

static void a_half_taken_donation_is_completed(void **state) {
  (void)state;
  vms_make();
  struct handover t = {.kind = HANDOVER_DONATE, .borrowers = 1, .borrower = {{.vm = 2, .writable = true}}};
  struct handover_range left = {VM_RAM_BASE + 512 * PAGE_SIZE, 300};
  uint64_t handle, base = VM_RAM_BASE + RAM_PAGES * PAGE_SIZE;
  assert_int_equal(handover_begin(&vms[1], &t, &handle), ERR_OK);
  while (handover_claim(&vms[1], handle, &left) == ERR_AGAIN)
    ;
  assert_int_equal(finish(handover_send, &vms[1], handle), ERR_OK);
  assert_int_equal(handover_retrieve(&vms[2], handle, base, PT_R | PT_W | PT_X), ERR_OK);
  assert_int_equal(finish(handover_map, &vms[2], handle), ERR_OK);
  assert_int_equal(handover_transfer(&vms[2], handle), ERR_AGAIN);
  vm_end(&vms[1]);
  assert_int_equal(vms[2].s2.populated_frames, 1);
  assert_int_equal(vms[2].s2.window_frames, 300);
  for (unsigned i = 0; i < 300; i++)
    assert_non_null(contents(&vms[2], base + i * PAGE_SIZE));
  vm_end(&vms[2]);
  vm_end(&vms[3]);
  assert_int_equal(frames_in_use(), frames_before);
}

/* A VM with the id of one that died was not meant. */
static void an_id_is_not_an_heir(void **state) {
  (void)state;
  struct model m = first;
  struct call lend = {GIVE, 1, 0, LENT_TO, 2}, take = {RETRIEVE, 2, 0, 0, 0};
  vms_make();
  do_call(&m, &lend);
  vm_end(&vms[2]);
  vm_make(2);
  assert_int_equal(carry_out(&m, &take), ERR_NOENT);
  vms_end(0);
}

static int set_up(void **state) {
  static const struct world_config map = {"plain", {{{0x40000}, {0x48000}}}, {{{0x40000}, {0x40025}}}, 0};
  (void)state;
  world_create(&w, &map);
  assert_int_equal(handover_init(), ERR_OK);
  frames_before = frames_in_use();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  world_destroy(&w);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(every_state_and_every_call, set_up, tear_down),
      cmocka_unit_test_setup_teardown(map_fails_for_want_of_a_table, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_send_that_fails_changes_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_half_taken_donation_is_completed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(an_id_is_not_an_heir, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
