/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hand-over tried on this machine: every call, legal or not, in every state of ownership that two parties can bring a range into, over
 * pages and over a block of 2 MiB, with real frames, tables and TLB maintenance.
 *
 *      for each state, for each call of each party:
 *      make two parties > populate > replay the calls that lead to the state > the call > look at everything > take both down > nothing is left
 *
 * The parties are VMs without vCPUs, which never run. What must be is said by handover_model.c; after each call both are looked at through
 * their tables: each leaf is there or is not, leads to the very frame that the giver had, with the right permission; contents, frame
 * states, counts and ledger agree.
 *
 * It is a walk in steps, each well below what EL2 may keep interrupts masked for. Lock: none; CPU 0.
 */
#include "hyp/mem/handover_selftest.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/mem/handover.h"
#include "hyp/mem/handover_selftest_priv.h"

enum stage {
  STAGE_MAKE = 0,
  STAGE_POPULATE,
  STAGE_TRY,
  STAGE_END
};

/* ---- calls ---- */

static err_t finish(err_t (*step)(struct vm *, uint64_t), struct vm *vm, uint64_t handle) {
  err_t err;
  do
    err = step(vm, handle);
  while (err == ERR_AGAIN);
  return err;
}

static err_t claim(struct vm *vm, uint64_t handle, struct handover_range range) {
  err_t err;
  do
    err = handover_claim(vm, handle, &range);
  while (err == ERR_AGAIN);
  return err;
}

/* Whoever does not own it tries where it would be: where it was populated once, or in its window. */
static err_t give(struct handover_selftest *t, unsigned by, enum handover_kind kind, unsigned to) {
  struct vm *vm = t->party[by];
  struct handover h = {.kind = (uint8_t)kind, .borrowers = 1, .borrower = {{.vm = t->party[to]->id, .writable = true}}};
  bool away = t->m.owner == by ? t->m.away : by != 0 || t->m.taken;
  uint64_t handle;
  err_t err = handover_begin(vm, &h, &handle);
  if (err != ERR_OK)
    return err;
  err = claim(vm, handle, (struct handover_range){away ? SELFTEST_WINDOW : SELFTEST_HOME, selftest_pages(t)});
  if (err != ERR_OK)
    return finish(handover_cancel, vm, handle) == ERR_OK ? err : ERR_BUSY;
  t->handle = handle;
  return finish(handover_send, vm, handle);
}

static err_t retrieve(struct handover_selftest *t, unsigned by, uint64_t place) {
  struct vm *vm = t->party[by];
  struct handover_info info;
  pt_prot_t prot = PT_R | PT_W | (t->m.how == HOW_DONATED ? PT_X : 0);
  err_t err = handover_retrieve(vm, t->handle, place, prot, false);
  if (err == ERR_OK)
    err = finish(handover_map, vm, t->handle);
  if (err == ERR_OK && handover_inquire(vm, t->handle, &info) == ERR_NOENT)
    err = finish(handover_transfer, vm, t->handle);
  return err;
}

static err_t relinquish(struct handover_selftest *t, unsigned by) {
  err_t err = handover_relinquish(t->party[by], t->handle, false);
  return err == ERR_OK ? finish(handover_unmap, t->party[by], t->handle) : err;
}

static err_t reclaim(struct handover_selftest *t, unsigned by) {
  err_t err = handover_reclaim(t->party[by], t->handle, false);
  return err == ERR_OK ? finish(handover_return, t->party[by], t->handle) : err;
}

static err_t carry_out(struct handover_selftest *t, unsigned by, enum model_call call) {
  switch (call) {
  case CALL_SHARE:
    return give(t, by, HANDOVER_SHARE, 1 - by);
  case CALL_LEND:
    return give(t, by, HANDOVER_LEND, 1 - by);
  case CALL_DONATE:
    return give(t, by, HANDOVER_DONATE, 1 - by);
  case CALL_GIVE_SELF:
    return give(t, by, HANDOVER_LEND, by);
  case CALL_RETRIEVE:
    return retrieve(t, by, SELFTEST_WINDOW);
  case CALL_MISPLACE:
    return retrieve(t, by, SELFTEST_HOME);
  case CALL_RELINQUISH:
    return relinquish(t, by);
  default:
    return reclaim(t, by);
  }
}

/* One call, and everything that must be true after it. */
static err_t try(struct handover_selftest *t, unsigned by, enum model_call call) {
  struct handover_model after = t->m;
  err_t must = handover_model_call(&after, by, call), got = carry_out(t, by, call);
  if (got != must)
    return handover_selftest_wrong(t, by, "is answered with error", (uint64_t)got);
  t->legal += must == ERR_OK;
  t->m = after;
  return handover_selftest_check(t);
}

/* ---- the walk ---- */

static err_t make(struct handover_selftest *t) {
  struct vm_config config = {.memory_bytes = SELFTEST_RAM, .window_bytes = SELFTEST_WINDOW_BYTES, .force_4k = !t->blocks, .bootargs = ""};
  err_t err = ERR_OK;
  config.quota = quota_none(SELFTEST_RAM);
  for (unsigned p = 0; p < MODEL_PARTIES && err == ERR_OK; p++) {
    format(config.name, sizeof(config.name), "(%s)", handover_party_names[p]); /* no VM of a scenario has such a name */
    err = vm_create_bare(&config, &t->party[p]);
    t->id[p] = err == ERR_OK ? t->party[p]->id : 0;
  }
  return err;
}

/* ERR_NOENT: there is no free block. */
static err_t populate(struct handover_selftest *t) {
  for (unsigned u = 0; u < selftest_units(t); u++) {
    struct pt_leaf leaf;
    uint64_t at = SELFTEST_HOME + u * PAGE_SIZE;
    err_t err = stage2_populate(&t->party[0]->s2, ipa(at));
    if (err == ERR_OK)
      err = pt_lookup(&t->party[0]->s2.pt, at, &leaf);
    if (err != ERR_OK)
      return err;
    if (leaf.level != (t->blocks ? 2 : 3))
      return ERR_NOENT;
    t->unit[u] = pa_pfn(leaf.out);
  }
  for (uint64_t i = 0; i < selftest_pages(t); i++)
    *selftest_word(t, i) = selftest_mark(i);
  return ERR_OK;
}

/* From the first state to the one that is due. */
static err_t replay(struct handover_selftest *t) {
  unsigned path[MODEL_STATES], length = 0;
  t->m = t->states.at[0].m;
  t->handle = 0;
  for (unsigned s = t->state; s != 0; s = t->states.at[s].from)
    path[length++] = s;
  for (err_t err = ERR_OK; length > 0 && err == ERR_OK;) {
    unsigned s = path[--length];
    struct handover_model after = t->m;
    err = handover_model_call(&after, t->states.at[s].by, (enum model_call)t->states.at[s].call);
    if (err == ERR_OK)
      err = carry_out(t, t->states.at[s].by, (enum model_call)t->states.at[s].call);
    if (err != ERR_OK)
      return handover_selftest_wrong(t, t->states.at[s].by, "on the way there: error", (uint64_t)err);
    t->m = after;
  }
  return handover_selftest_check(t);
}

/* True when both are gone. */
static bool end_parties(struct handover_selftest *t) {
  for (unsigned p = 0; p < MODEL_PARTIES; p++)
    if (t->party[p]) {
      if (!vm_destroy_bare(t->party[p]))
        return false;
      t->party[p] = NULL;
    }
  return true;
}

/* ---- steps ---- */

static err_t try_one(struct handover_selftest *t) {
  err_t err = replay(t);
  if (err != ERR_OK)
    return err;
  t->transitions++;
  return try(t, t->call / MODEL_CALLS, (enum model_call)(t->call % MODEL_CALLS));
}

/* The next call, else the next state, else blocks; false: that was all. */
static bool go_on(struct handover_selftest *t) {
  if (++t->call < MODEL_PARTIES * MODEL_CALLS)
    return true;
  t->call = 0;
  if (++t->state < t->states.count)
    return true;
  t->state = 0;
  bool more = !t->blocks;
  t->blocks = true;
  return more;
}

static err_t end_one(struct handover_selftest *t) {
  if (!end_parties(t))
    return ERR_AGAIN;
  if (t->err == ERR_NOENT) {
    t->blocks_skipped = true;
    return ERR_OK;
  }
  err_t err = t->err != ERR_OK ? t->err : handover_selftest_check_end(t);
  t->stage = STAGE_MAKE;
  return err == ERR_OK && go_on(t) ? ERR_AGAIN : err;
}

void handover_selftest_begin(struct handover_selftest *t) {
  memset(t, 0, sizeof(*t));
  handover_model_enumerate(&t->states);
}

err_t handover_selftest_step(struct handover_selftest *t) {
  switch (t->stage) {
  case STAGE_MAKE:
    t->err = make(t);
    break;
  case STAGE_POPULATE:
    t->err = populate(t);
    break;
  case STAGE_TRY:
    t->err = try_one(t);
    break;
  default:
    return end_one(t);
  }
  t->stage = t->err == ERR_OK ? t->stage + 1 : STAGE_END;
  return ERR_AGAIN;
}

void handover_selftest_stop(struct handover_selftest *t) {
  while (!end_parties(t))
    ;
}
