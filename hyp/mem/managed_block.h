/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_MANAGED_BLOCK_H
#define HYP_MEM_MANAGED_BLOCK_H

/*
 * One 2 MiB block of a managed range (managed.h), as what it is: masks, and the decisions over them. No frame, no descriptor, no lock and
 * no clock is touched here, so that it can be tried on the host to the last state; managed.c does what a plan says.
 *
 * A location is where a page can be resident: LOCATION_HOME, the range's own backing, which is no guest's; or one of the members,
 * 1..MANAGED_MEMBERS_MAX. A member is a guest. For each page the block knows two things, apart: where it is resident, and who has it
 * mapped, and how.
 *
 *     fault --> managed_block_decide() --> managed_block_plan() --> (managed.c: frames, descriptors, TLBs) --> managed_block_commit()
 *               policy: where to, how far      what that takes, 64 pages at most                           the masks follow
 *
 * What holds for each page before and after every commit (managed_block_is_sound()):
 *   1. who may write it has it mapped; who has it mapped, it is resident somewhere
 *   2. if anybody may write it, it is resident at one location only: two copies never differ
 *   3. if it is resident at two locations or more, who has it mapped is resident himself, and none of them is LOCATION_HOME
 * So a member that has a page mapped has his own copy mapped if there is one, else the only one: managed_block_source().
 *
 * Lock: the block's, the caller's, for all of them.
 */

#include "core/types.h"

#define MANAGED_PAGES 512u
#define MANAGED_WORDS (MANAGED_PAGES / 64)
#define MANAGED_MEMBERS_MAX 4u
#define LOCATION_HOME 0u
#define MANAGED_LOCATIONS (MANAGED_MEMBERS_MAX + 1)
#define LOCATION_NONE 0xffu /* none preferred; resident nowhere */

/* What the range's owner wants. Members are bits 1..MANAGED_MEMBERS_MAX of masks, never bit 0. */
struct managed_policy {
  uint8_t preferred;        /* a member, or LOCATION_NONE */
  uint8_t accessed_by;      /* members that keep a mapping and let the page stay where it is */
  bool read_dup;            /* a read makes a copy */
  bool no_migrate;          /* a range group that must not migrate: what is resident stays where it is */
  uint8_t prefetch_percent; /* a subtree is fetched when more of it than this is at the destination; 100: never */
  uint8_t thrash_events;    /* so many times taken away, each within lapse_us of the last: the page thrashes; 0: nothing ever does */
  uint8_t thrash_throttles; /* then one of its users is held back, so many times, and then it is pinned */
  uint32_t lapse_us, nap_us, pin_us; /* nap_us < lapse_us; pinned for pin_us */
};
#define MANAGED_POLICY_DEFAULT                                                                                                             \
  {                                                                                                                                        \
    .preferred = LOCATION_NONE, .prefetch_percent = 50, .thrash_events = 3, .thrash_throttles = 4, .lapse_us = 500, .nap_us = 250,         \
    .pin_us = 100000                                                                                                                       \
  }

/* What is known of the movements of one page. */
struct managed_page {
  uint32_t at_us;    /* when it was last taken away from somebody; THROTTLED: when the nap ends; PINNED: when it was pinned */
  uint8_t events;    /* times taken away in a row */
  uint8_t throttles; /* naps given since it thrashes */
  uint8_t state;     /* enum managed_page_state */
  uint8_t location;  /* THROTTLED: the member that naps; PINNED: where */
};
enum managed_page_state {
  MANAGED_PAGE_FREE = 0,
  MANAGED_PAGE_THROTTLED,
  MANAGED_PAGE_PINNED
};

struct managed_mask {
  uint64_t word[MANAGED_WORDS];
};

/* Pages; since the block was made. */
struct managed_counts {
  uint32_t faults;     /* that were served */
  uint32_t populated;  /* first touch */
  uint32_t migrated;   /* came from another location, and are there no more */
  uint32_t duplicated; /* a copy came, the others stay */
  uint32_t collapsed;  /* copies taken away by somebody's write */
  uint32_t prefetched; /* of populated, migrated and duplicated: not asked for */
  uint32_t throttled;  /* faults that were answered with a nap */
  uint32_t pinned;     /* pages pinned while this member faulted */
  uint32_t evicted;    /* from this member to LOCATION_HOME */
  uint32_t shed;       /* copies it gave up, of what others have too, for its quota or for want of memory */
};

struct managed_block {
  struct managed_mask resident[MANAGED_LOCATIONS];
  struct managed_mask mapped[MANAGED_LOCATIONS];   /* by member; [LOCATION_HOME] stays empty */
  struct managed_mask writable[MANAGED_LOCATIONS]; /* of mapped */
  struct managed_counts counts[MANAGED_LOCATIONS]; /* by member */
  struct managed_page page[MANAGED_PAGES];
};
/* A zeroed block is one that nobody has touched. */

struct managed_fault {
  unsigned member; /* 1.. */
  unsigned page;   /* 0..511 */
  bool write;
  uint8_t present; /* members whose VM is there, this one among them: nothing is made resident at, or mapped for, others */
  /*
   * Locations that can get no frame more: what is resident elsewhere stays there and is mapped from there, what is nowhere goes to
   * LOCATION_HOME.
   */
  uint8_t full;
  uint32_t now_us; /* any clock; it may wrap */
};

enum managed_verdict {
  MANAGED_SERVE = 0,
  MANAGED_THROTTLE, /* not now: `until_us` */
  MANAGED_NOTHING   /* it has what it asks for (another vCPU was quicker): try the access again */
};

/* Where the pages of a fault go and how far the fault reaches. */
struct managed_decision {
  enum managed_verdict verdict;
  uint8_t to;            /* location where they will be resident; of another than the member: mapped there, from afar */
  bool duplicate;        /* the copies elsewhere stay, and nobody may write */
  bool pinned;           /* because the page is pinned there: nothing else is fetched with it */
  uint16_t first, count; /* pages: that of the fault, or the subtree that is fetched; a power of two, aligned */
  uint32_t until_us;
};

/*
 * Thrashing hint, residency selection and density prefetch, in this order; takes note of naps and pins, in b->page and b->counts, and
 * changes nothing else. A fault that takes nothing away from anybody is never throttled. In the order of precedence:
 *   a pinned page stays where it is pinned
 *   one that is resident at the member stays there, whoever else has a copy, the preferred location too: its write collapses the others into its own
 *   one of a range that must not migrate stays where it is resident
 *   a read under read_dup of what another member has makes a copy
 *   a page that has a copy at the preferred location stays there
 *   one that a member in accessed_by touches stays where it is
 *   one that is resident nowhere, or at LOCATION_HOME, goes to the preferred location if that is present
 *   anything else goes to the member that touches it; if that is `full`, see there
 * What stays elsewhere is mapped from there, writable, and other copies are collapsed into it.
 */
void managed_block_decide(struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f,
                          struct managed_decision *d);

/* What a decision takes for up to 64 pages: bits are pages of word `word`. Every mask is a part of `pages`. */
struct managed_plan {
  uint8_t member, to;
  uint8_t word;
  uint8_t touched;   /* bit per location: of others all masks below are empty */
  bool evict;        /* no fault: nobody's movements are counted */
  uint32_t lapse_us; /* of the policy */
  uint64_t asked;    /* the page of the fault, if it is among them */
  uint64_t pages;
  uint64_t populate;                   /* resident nowhere: zeroed, at `to` */
  uint64_t from[MANAGED_LOCATIONS];    /* not at `to` yet: contents come from here; each page in one of them at most */
  uint64_t drop[MANAGED_LOCATIONS];    /* copies that are no more, once `to` has the contents; never of `to` */
  uint64_t unmap[MANAGED_LOCATIONS];   /* descriptors of members that go, before contents are looked at */
  uint64_t protect[MANAGED_LOCATIONS]; /* that lose the right to write, likewise; the two are apart */
  /* Made for members, in the end; apart. A page that was mapped is mapped with more rights. */
  uint64_t map_read[MANAGED_LOCATIONS], map_write[MANAGED_LOCATIONS];
};

/*
 * The plan for those of `pages` (bits of word `word`, within the decision's range) that are to be dealt with: that of the fault, and others
 * that are not at `to` yet, not pinned and not thrashing, and that the policy would not leave where they are. `d->verdict` is
 * MANAGED_SERVE. Frames needed at `to`: managed_plan_frames(). The block stays as it is.
 */
void managed_block_plan(const struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f,
                        const struct managed_decision *d, unsigned word, uint64_t pages, struct managed_plan *out);

/* Frames of `to` that the plan needs: pages that are populated or come. */
uint64_t managed_plan_frames(const struct managed_plan *plan);

/*
 * The plan that takes those of `pages` away from `member`, or all if `all` (it leaves): where it has the only copy, that goes to
 * LOCATION_HOME, and nobody maps it any more; where others have copies, its own is dropped. With `all` it also loses mappings of what is
 * resident elsewhere. Frames of LOCATION_HOME: in `from`, as above.
 */
void managed_block_plan_evict(const struct managed_block *b, unsigned member, unsigned word, uint64_t pages, bool all,
                              struct managed_plan *out);

/* The plan that unmaps `pages` for everybody: a frame of theirs is to be moved. */
void managed_block_plan_unmap(const struct managed_block *b, unsigned word, uint64_t pages, struct managed_plan *out);

/*
 * The plan has been carried out: masks, counts, and what is known of movements (`now_us`) follow. Mapping may fail for want of a table:
 * then `map_read` and `map_write` are cut down to what was done before this is called; the block is sound all the same.
 */
void managed_block_commit(struct managed_block *b, const struct managed_plan *plan, uint32_t now_us);

/* Forget a range's movements: naps and pins end (policy changed, or a member left). */
void managed_block_forget(struct managed_block *b, unsigned word);

/* Where the frame is that `member` has or would have mapped: itself, or the lowest location; LOCATION_NONE if resident nowhere. */
unsigned managed_block_source(const struct managed_block *b, unsigned member, unsigned page);

/* Do the three rules above hold for the pages of `word`? */
bool managed_block_is_sound(const struct managed_block *b, unsigned word);

static inline bool managed_mask_has(const struct managed_mask *m, unsigned page) {
  return m->word[page / 64] >> (page % 64) & 1;
}

#endif
