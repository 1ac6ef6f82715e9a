/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What must be true of both parties after a call of the self-test, looked at from every side: leaves, frames, contents, ledger, counts.
 *
 * Nothing is changed here, and nothing that is looked at was kept by the walk but the frames that the range had at first. The first thing
 * that is wrong is said in t->what. No lock: nobody else is at the two parties' tables.
 */
#include "core/compiler.h"
#include "core/format.h"
#include "hyp/core/vm.h"
#include "hyp/mem/handover_selftest_priv.h"

const char *const handover_party_names[MODEL_PARTIES] = {"giver", "taker"};

/* Where the owner has it. */
static uint64_t owners_place(const struct handover_model *m) {
  return m->away ? SELFTEST_WINDOW : SELFTEST_HOME;
}

err_t handover_selftest_wrong(struct handover_selftest *t, unsigned party, const char *what, uint64_t value) {
  const struct handover_model *m = &t->states.at[t->state].m;
  format(t->what, sizeof(t->what), "%s has it, %s; %s is to %s: %s %s 0x%llx", handover_party_names[m->owner], handover_model_name(m),
         handover_party_names[t->call / MODEL_CALLS], handover_call_name((enum model_call)(t->call % MODEL_CALLS)),
         handover_party_names[party], what, (unsigned long long)value);
  return ERR_INVAL;
}

static err_t check_leaf(struct handover_selftest *t, unsigned party, uint64_t ia, unsigned unit, bool there, pt_prot_t prot) {
  struct pt_leaf leaf;
  bool found = pt_lookup(&t->party[party]->s2.pt, ia, &leaf) == ERR_OK;
  if (found != there)
    return handover_selftest_wrong(t, party, found ? "still maps" : "does not map", ia);
  if (!there)
    return ERR_OK;
  if (pa_pfn(leaf.out).v != t->unit[unit].v || leaf.level != (t->blocks ? 2 : 3))
    return handover_selftest_wrong(t, party, "maps another frame", pa_pfn(leaf.out).v);
  return leaf.prot == prot ? ERR_OK : handover_selftest_wrong(t, party, "has the permissions", leaf.prot);
}

/* A party's view of the range at one of the two places. */
static err_t check_place(struct handover_selftest *t, unsigned party, uint64_t place) {
  const struct handover_model *m = &t->m;
  bool owns = m->owner == party && place == owners_place(m) && (m->how == HOW_FREE || m->how == HOW_SHARED);
  bool borrows = m->owner != party && m->taken && place == SELFTEST_WINDOW;
  pt_prot_t prot = PT_R | PT_W | (owns ? PT_X : 0);
  err_t err = ERR_OK;
  for (unsigned u = 0; u < selftest_units(t) && err == ERR_OK; u++)
    err = check_leaf(t, party, place + ((uint64_t)u << (PAGE_SHIFT + selftest_order(t))), u, owns || borrows, prot);
  return err;
}

/* Each page begins with its number, and nobody has written since. */
static err_t check_contents(struct handover_selftest *t) {
  for (uint64_t i = 0; i < selftest_pages(t); i++)
    if (*selftest_word(t, i) != selftest_mark(i))
      return handover_selftest_wrong(t, t->m.owner, "has other contents in page", i);
  return ERR_OK;
}

static err_t check_frames(struct handover_selftest *t) {
  static const enum frame_state states[] = {FRAME_OWNED, FRAME_SHARED, FRAME_LENT, FRAME_LENT};
  const struct handover_model *m = &t->m;
  for (unsigned u = 0; u < selftest_units(t); u++) {
    const struct frame *f = frame_of(t->unit[u]);
    if (f->state != states[m->how] || f->owner != t->party[m->owner]->id)
      return handover_selftest_wrong(t, m->owner, "has a frame in state", f->state);
    if (f->pins != (m->how != HOW_FREE) || f->refs != m->taken)
      return handover_selftest_wrong(t, m->owner, "has a frame with pins and mappings", f->pins << 8 | f->refs);
    if (f->rmap != owners_place(m) + ((uint64_t)u << (PAGE_SHIFT + selftest_order(t))))
      return handover_selftest_wrong(t, m->owner, "has a frame that is mapped at", f->rmap);
  }
  return ERR_OK;
}

/* What the ledger, the VM's own counts and the record of what it gave away say. */
static err_t check_accounts(struct handover_selftest *t, unsigned party) {
  const struct handover_model *m = &t->m;
  const struct stage2 *s2 = &t->party[party]->s2;
  uint64_t has = m->owner == party ? selftest_pages(t) : 0;
  struct ledger l;
  ledger_read_owner(t->party[party]->id, &l);
  bool right = l.frames[FRAME_OWNED] == (m->how == HOW_FREE ? has : 0) && l.frames[FRAME_SHARED] == (m->how == HOW_SHARED ? has : 0) &&
               l.frames[FRAME_LENT] == (m->how >= HOW_LENT ? has : 0);
  if (!right)
    return handover_selftest_wrong(t, party, "has in the ledger other than", has);
  if (s2->populated_frames != (m->away ? 0 : has) || s2->window_frames != (m->away ? has : 0))
    return handover_selftest_wrong(t, party, "counts in its RAM", s2->populated_frames);
  bool given = party == 0 && (m->away || m->how >= HOW_LENT);
  for (uint64_t i = 0; i < selftest_pages(t); i++)
    if (stage2_is_given(s2, SELFTEST_HOME + i * PAGE_SIZE, 1) != given)
      return handover_selftest_wrong(t, party, given ? "may populate" : "may not populate", SELFTEST_HOME + i * PAGE_SIZE);
  return ERR_OK;
}

err_t handover_selftest_check(struct handover_selftest *t) {
  err_t err = check_frames(t);
  if (err == ERR_OK)
    err = check_contents(t);
  for (unsigned p = 0; p < MODEL_PARTIES && err == ERR_OK; p++) {
    err = check_place(t, p, SELFTEST_HOME);
    if (err == ERR_OK)
      err = check_place(t, p, SELFTEST_WINDOW);
    if (err == ERR_OK)
      err = check_accounts(t, p);
  }
  return err;
}

/* Nothing is left of the ids that they had. */
err_t handover_selftest_check_end(struct handover_selftest *t) {
  for (unsigned p = 0; p < MODEL_PARTIES; p++) {
    struct ledger l;
    ledger_read_owner(t->id[p], &l);
    for (unsigned s = 0; s < FRAME_STATES; s++)
      if (l.frames[s] != 0)
        return handover_selftest_wrong(t, p, "has left frames behind, in state", s);
  }
  return ERR_OK;
}
