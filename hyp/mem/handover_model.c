/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The model of ownership between two parties: see the header. Pure, no lock.
 *
 * Its rules are FF-A's, written down without a look at how they are kept: only the owner gives, and only what nobody else is party to; only
 * who was named retrieves, and once; only who has retrieved relinquishes; only the owner reclaims, and only what nobody has. A donation
 * that is retrieved is the taker's.
 */
#include "hyp/mem/handover_model.h"
#include "core/check.h"
#include "core/compiler.h"
#include "core/string.h"

static err_t give(struct handover_model *m, unsigned by, enum model_how how) {
  if (m->owner != by || m->how != HOW_FREE)
    return ERR_PERM;
  m->how = (uint8_t)how;
  return ERR_OK;
}

static err_t retrieve(struct handover_model *m, unsigned by, bool in_window) {
  if (m->how == HOW_FREE || m->owner == by)
    return ERR_NOENT;
  if (m->taken || !in_window)
    return m->taken ? ERR_EXIST : ERR_RANGE;
  if (m->how == HOW_DONATED)
    *m = (struct handover_model){(uint8_t)by, 1, HOW_FREE, 0};
  else
    m->taken = 1;
  return ERR_OK;
}

static err_t relinquish(struct handover_model *m, unsigned by) {
  if (m->owner == by || !m->taken)
    return ERR_NOENT;
  m->taken = 0;
  return ERR_OK;
}

static err_t reclaim(struct handover_model *m, unsigned by) {
  if (m->owner != by || m->how == HOW_FREE)
    return ERR_NOENT;
  if (m->taken)
    return ERR_PERM;
  m->how = HOW_FREE;
  return ERR_OK;
}

err_t handover_model_call(struct handover_model *m, unsigned by, enum model_call call) {
  switch (call) {
  case CALL_SHARE:
    return give(m, by, HOW_SHARED);
  case CALL_LEND:
    return give(m, by, HOW_LENT);
  case CALL_DONATE:
    return give(m, by, HOW_DONATED);
  case CALL_RETRIEVE:
    return retrieve(m, by, true);
  case CALL_MISPLACE:
    return retrieve(m, by, false);
  case CALL_RELINQUISH:
    return relinquish(m, by);
  case CALL_RECLAIM:
    return reclaim(m, by);
  default:
    return ERR_INVAL; /* nobody gives to itself */
  }
}

static void add(struct handover_states *s, const struct handover_model *m, unsigned from, unsigned by, unsigned call) {
  for (unsigned i = 0; i < s->count; i++)
    if (memcmp(&s->at[i].m, m, sizeof(*m)) == 0)
      return;
  CHECK(s->count < MODEL_STATES);
  s->at[s->count].m = *m;
  s->at[s->count].from = (uint8_t)from;
  s->at[s->count].by = (uint8_t)by;
  s->at[s->count++].call = (uint8_t)call;
}

void handover_model_enumerate(struct handover_states *s) {
  struct handover_model m = {0, 0, HOW_FREE, 0};
  s->count = 0;
  add(s, &m, 0, 0, 0);
  for (unsigned i = 0; i < s->count; i++)
    for (unsigned by = 0; by < MODEL_PARTIES; by++)
      for (unsigned call = 0; call < MODEL_CALLS; call++) {
        m = s->at[i].m;
        if (handover_model_call(&m, by, (enum model_call)call) == ERR_OK)
          add(s, &m, i, by, call);
      }
  CHECK(s->count == MODEL_STATES);
}

const char *handover_model_name(const struct handover_model *m) {
  static const char *const names[][2] = {{"owned", ""}, {"shared", "shared, taken"}, {"lent", "lent, taken"}, {"donated", ""}};
  return names[m->how][m->taken];
}

const char *handover_call_name(enum model_call call) {
  static const char *const names[MODEL_CALLS] = {
      "share", "lend", "donate", "give to itself", "retrieve", "retrieve outside the window", "relinquish", "reclaim"};
  return names[call];
}
