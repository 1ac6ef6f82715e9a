/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_HANDOVER_MODEL_H
#define HYP_MEM_HANDOVER_MODEL_H

/*
 * What ownership between two parties is, in four fields, and what each call makes of it: the oracle of the self-test. It knows nothing of
 * frames, tables or handles. All states that can be reached are found by trying every call in each.
 */

#include "core/err.h"
#include "core/types.h"

enum model_how {
  HOW_FREE = 0, /* nobody but its owner is party to it */
  HOW_SHARED,
  HOW_LENT,
  HOW_DONATED
};

struct handover_model {
  uint8_t owner; /* party 0 or 1; 0 has it first */
  uint8_t away;  /* it has been donated: the owner has it in its window, not where it was populated */
  uint8_t how;   /* enum model_how; the other party is whom it was given to */
  uint8_t taken; /* and that one has retrieved it */
};

enum model_call {
  CALL_SHARE = 0,
  CALL_LEND,
  CALL_DONATE,
  CALL_GIVE_SELF, /* a loan to the caller itself */
  CALL_RETRIEVE,
  CALL_MISPLACE, /* a retrieval to where no window is */
  CALL_RELINQUISH,
  CALL_RECLAIM,
  MODEL_CALLS
};

#define MODEL_PARTIES 2u
#define MODEL_STATES 18u /* owner and place: 3; free, shared, lent, either taken, donated: 6 */

/* What `call` by party `by` must answer; on ERR_OK *m is what it leads to, else it is as it was. */
MUST_CHECK err_t handover_model_call(struct handover_model *m, unsigned by, enum model_call call);

/* States in the order in which they are found: [0] is the first, each other one is reached from `from` by a call. */
struct handover_states {
  struct {
    struct handover_model m;
    uint8_t from, by, call;
  } at[MODEL_STATES];
  unsigned count;
};
/* All of them; exactly MODEL_STATES (CHECK). */
void handover_model_enumerate(struct handover_states *s);

/* "owned", "shared", "shared, taken", ...; "share", "lend", ... */
const char *handover_model_name(const struct handover_model *m);
const char *handover_call_name(enum model_call call);

#endif
