/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two bounds on compaction, with their proofs.
 *
 * Words. P: frames of a pageblock. A window of order o: 2^o frames, aligned. Blocks are windows, and lie within one pageblock. T(o):
 * windows of order o that lie in movable blocks of order o or more; no move changes it.
 *
 * 1. oracle_most_free(). A pageblock with something unmovable is never free. Let M be the number of the others, V the frames in movable
 * blocks, and H the most of them that the pageblocks with unmovable frames could ever take in together. At least V - H frames lie in the M
 * pageblocks at the end, in at least ceil((V - H) / P) of them; so at most M - ceil((V - H) / P) are free. H: what is not unmovable there
 * falls into disjoint maximal windows, the holes. Blocks fill them largest first: a block of order o goes into any window of that order
 * still open, holes of higher order being cut in two as needed. This is optimal: if a best filling leaves out a block b of the
 * largest order while a window of that order is not filled by a block as large, what the window holds (all of it smaller, so within it, and
 * no more than its size) may be thrown out for b; by induction over orders the greedy filling holds as much. Where all blocks are
 * single frames this is min(M, floor(free frames / P)), and it is reached: the moves of 2 with the cheapest pageblocks need no other room.
 *
 * 2. oracle_least_moves(k). Take any sequence of moves that ends with k free pageblocks; E: those k, X: blocks outside E that were
 * moved at least once. Each movable block of E was moved, so the cost is at least
 *
 *     sum of used(E) + frames(X)                                                                                    (cost)
 *
 * where E holds nothing unmovable. At the end a window of order o that lies in a movable block of order o or more lies outside E, and in it
 * no frame is unmovable and no block smaller than o has stayed where it was at the beginning. Call the windows outside E for which this
 * holds available, A(o, E, X). There are T(o) windows to lie in different available ones:
 *
 *     A(o, E, X) >= T(o) for each order o                                                                           (room)
 *
 * So the least cost under (room) is a lower bound, over all E of size k and X outside it. With single frames only, (room) of order 0 is the
 * count of free frames, which k <= oracle_most_free() grants: the least cost is the sum of the k least used pageblocks, and moving their
 * frames one by one into free frames elsewhere costs just that: exact.
 *
 * For larger orders we do not solve this but its Lagrangian: for any y(o) >= 0
 *
 *     L(y) = min over E, X of  cost + sum over o of y(o) * (T(o) - A(o, E, X))
 *
 * is at most the least cost under (room), for a plan that keeps (room) has no positive term in the second sum. L falls apart by pageblocks:
 * one of E costs used; one outside costs -(best gain), the gain of a choice of X there being the y-weighted windows it makes available less
 * the frames it moves. The minimum over E takes the k smallest differences. The best gain of a pageblock is found over the tree of its
 * windows: in a window of order o either all blocks below order o are moved, which makes it and every window within available (but what is
 * unmovable: then this choice does not exist), or its two halves are considered on their own.
 *
 * Any y gives a sound bound; a subgradient ascent looks for a good one, and the best is rounded up. Doubles are used for integers below
 * 2^40 and their products with y, so a thousandth is taken off against rounding.
 */
#include "compact_oracle.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ORDERS (ORACLE_MAX_ORDER + 1)

enum frame_use {
  IS_FREE = 0,
  IS_UNMOVABLE = 0xff /* else 1 + order of the movable block */
};

struct pageblock {
  uint32_t index;
  uint32_t used; /* frames, movable or not */
  uint32_t unmovable;
};

struct oracle {
  uint32_t pageblocks;
  unsigned order;
  uint8_t *frame; /* enum frame_use */
  struct pageblock *pb;
  uint64_t blocks[ORDERS]; /* movable ones by order */
  double *difference;      /* scratch, per pageblock */
  bool *emptied;           /* the choice behind the last L */
};

struct prices {
  double y[ORDERS];
  double whole[ORDERS]; /* a window of order o and all within */
};

struct oracle *oracle_create(uint32_t pageblocks, unsigned pageblock_order) {
  struct oracle *o = calloc(1, sizeof(*o));
  *o = (struct oracle){.pageblocks = pageblocks, .order = pageblock_order};
  o->frame = calloc((size_t)pageblocks << pageblock_order, 1);
  o->pb = calloc(pageblocks, sizeof(*o->pb));
  o->difference = calloc((size_t)pageblocks * 2, sizeof(*o->difference));
  o->emptied = calloc(pageblocks, sizeof(*o->emptied));
  for (uint32_t i = 0; i < pageblocks; i++)
    o->pb[i].index = i;
  return o;
}

void oracle_destroy(struct oracle *o) {
  free(o->frame);
  free(o->pb);
  free(o->difference);
  free(o->emptied);
  free(o);
}

void oracle_add(struct oracle *o, uint32_t at, unsigned order, bool movable) {
  struct pageblock *pb = &o->pb[at >> o->order];
  memset(&o->frame[at], movable ? (int)(1 + order) : IS_UNMOVABLE, (size_t)1 << order);
  pb->used += 1u << order;
  if (movable)
    o->blocks[order]++;
  else
    pb->unmovable += 1u << order;
}

bool oracle_is_exact(const struct oracle *o) {
  for (unsigned order = 1; order < ORDERS; order++) {
    if (o->blocks[order] != 0)
      return false;
  }
  return true;
}

uint32_t oracle_free_now(struct oracle *o) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < o->pageblocks; i++)
    count += o->pb[i].used == 0;
  return count;
}

/* --- the most ------------------------------------------------------------------------------------------------------------------ */

static bool has_unmovable(const struct oracle *o, uint32_t at, unsigned order) {
  return memchr(&o->frame[at], IS_UNMOVABLE, (size_t)1 << order) != NULL;
}

/* Count the maximal windows without unmovable frames in a window that has some. */
static void count_holes(const struct oracle *o, uint32_t at, unsigned order, uint64_t holes[ORDERS]) {
  for (unsigned half = 0; order != 0 && half < 2; half++) {
    uint32_t start = at + (half << (order - 1));
    if (has_unmovable(o, start, order - 1))
      count_holes(o, start, order - 1, holes);
    else
      holes[order - 1]++;
  }
}

uint32_t oracle_most_free(struct oracle *o) {
  uint64_t holes[ORDERS] = {0}, open = 0, left_over = 0;
  uint32_t clean = 0;
  for (uint32_t i = 0; i < o->pageblocks; i++) {
    clean += o->pb[i].unmovable == 0;
    if (o->pb[i].unmovable != 0)
      count_holes(o, i << o->order, o->order, holes);
  }
  for (unsigned order = ORDERS; order-- != 0;) {
    open = open * 2 + holes[order];
    uint64_t placed = o->blocks[order] < open ? o->blocks[order] : open;
    open -= placed;
    left_over += (o->blocks[order] - placed) << order;
  }
  uint64_t needed = (left_over + (1u << o->order) - 1) >> o->order;
  return needed > clean ? 0 : clean - (uint32_t)needed;
}

/* --- the least ----------------------------------------------------------------------------------------------------------------- */

/* Of one window: the best choice of what to move in it. */
struct choice {
  double gain;     /* of that choice */
  uint32_t moved;  /* frames that moving all blocks below the window's order takes; NEVER if something is unmovable */
  uint8_t largest; /* 1 + order of the block that covers the window or more; 0 if it is in parts */
  int32_t available[ORDERS];
};
#define NEVER (~(uint32_t)0)

/* All blocks below `order` in the window are moved (or there are none). */
static void take_whole(struct choice *c, unsigned order, const struct prices *p) {
  c->gain = p->whole[order] - c->moved;
  for (unsigned o = 0; o <= order; o++)
    c->available[o] = 1 << (order - o);
}

static void choose_single(struct choice *c, uint8_t frame, const struct prices *p) {
  *c = (struct choice){.moved = frame == IS_UNMOVABLE ? NEVER : 0, .largest = frame == IS_UNMOVABLE ? 0 : frame};
  if (frame != IS_UNMOVABLE)
    take_whole(c, 0, p);
}

/* What moving all blocks below `order` takes, from the same of a half, order - 1: the blocks of just that order count now. */
static uint32_t half_moved(const struct choice *half, unsigned order) {
  return half->moved == NEVER ? NEVER : half->moved + (half->largest == order ? 1u << (order - 1) : 0);
}

/* A window that is free or lies in one block of its order or more: nothing to choose. */
static bool is_plain(const uint8_t *frame, unsigned order) {
  return frame[0] != IS_UNMOVABLE && (frame[0] == IS_FREE || frame[0] > order) && memcmp(frame, frame + 1, ((size_t)1 << order) - 1) == 0;
}

static void choose(struct choice *c, const uint8_t *frame, unsigned order, const struct prices *p) {
  struct choice half[2];
  if (order == 0) {
    choose_single(c, frame[0], p);
    return;
  }
  if (is_plain(frame, order)) {
    *c = (struct choice){.largest = frame[0]};
    take_whole(c, order, p);
    return;
  }
  choose(&half[0], frame, order - 1, p);
  choose(&half[1], frame + ((size_t)1 << (order - 1)), order - 1, p);
  uint32_t a = half_moved(&half[0], order), b = half_moved(&half[1], order);
  *c = (struct choice){.gain = half[0].gain + half[1].gain, .moved = a == NEVER || b == NEVER ? NEVER : a + b};
  for (unsigned o = 0; o < order; o++)
    c->available[o] = half[0].available[o] + half[1].available[o];
  if (c->moved != NEVER && p->whole[order] - c->moved > c->gain)
    take_whole(c, order, p);
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The k least of difference[]; marks them. The infinite ones (unmovable) are never among them. */
static double take_least(struct oracle *o, uint32_t k) {
  double *sorted = o->difference + o->pageblocks, sum = 0;
  memcpy(sorted, o->difference, o->pageblocks * sizeof(*sorted));
  qsort(sorted, o->pageblocks, sizeof(*sorted), compare_doubles);
  uint32_t at_limit = 0;
  for (uint32_t i = 0; i < k; i++) {
    sum += sorted[i];
    at_limit += sorted[i] == sorted[k - 1];
  }
  for (uint32_t i = 0; i < o->pageblocks; i++) {
    bool tie = k != 0 && o->difference[i] == sorted[k - 1];
    o->emptied[i] = k != 0 && (o->difference[i] < sorted[k - 1] || (tie && at_limit != 0));
    at_limit -= tie && at_limit != 0;
  }
  return sum;
}

static void sum_prices(struct prices *p, unsigned top) {
  p->whole[0] = p->y[0];
  for (unsigned o = 1; o <= top; o++)
    p->whole[o] = p->y[o] + 2 * p->whole[o - 1];
}

/* L(y), and in `slack` its subgradient: T(o) - A(o). `choices` is scratch, one per pageblock. */
static double lagrangian(struct oracle *o, uint32_t k, struct prices *p, const double total[ORDERS], struct choice *choices,
                         double slack[ORDERS]) {
  double sum = 0;
  sum_prices(p, o->order);
  for (uint32_t i = 0; i < o->pageblocks; i++) {
    choose(&choices[i], &o->frame[(size_t)i << o->order], o->order, p);
    sum -= choices[i].gain;
    o->difference[i] = o->pb[i].unmovable != 0 ? (double)INFINITY : o->pb[i].used + choices[i].gain;
  }
  sum += take_least(o, k);
  for (unsigned order = 0; order <= o->order; order++) {
    slack[order] = total[order];
    for (uint32_t i = 0; i < o->pageblocks; i++)
      slack[order] -= o->emptied[i] ? 0 : choices[i].available[order];
    sum += p->y[order] * total[order];
  }
  return sum;
}

static void count_totals(const struct oracle *o, double total[ORDERS]) {
  for (unsigned order = 0; order <= o->order; order++) {
    total[order] = 0;
    for (unsigned b = order; b <= o->order; b++)
      total[order] += (double)(o->blocks[b] << (b - order));
  }
}

/* A step of the ascent in prices per frame, y(o) / 2^o, in which all orders weigh alike. Order 0's price is left at 0: see 1. */
static void raise_prices(const struct oracle *o, struct prices *p, const double slack[ORDERS], double gap) {
  double norm = 0;
  for (unsigned order = 1; order <= o->order; order++) {
    double g = ldexp(slack[order], (int)order);
    norm += g < 0 && p->y[order] == 0 ? 0 : g * g;
  }
  for (unsigned order = 1; norm > 0 && order <= o->order; order++) {
    p->y[order] += gap / norm * ldexp(slack[order], 2 * (int)order);
    p->y[order] = p->y[order] < 0 ? 0 : p->y[order];
  }
}

uint64_t oracle_least_moves(struct oracle *o, uint32_t k, unsigned effort) {
  struct choice *choices = calloc(o->pageblocks, sizeof(*choices));
  struct prices p = {{0}, {0}}, best_prices = p;
  double total[ORDERS] = {0}, slack[ORDERS] = {0}, reach = 0.25;
  count_totals(o, total);
  double best = lagrangian(o, k, &p, total, choices, slack);
  for (unsigned step = 0, idle = 0; step < effort && !oracle_is_exact(o) && best > 0; step++) {
    raise_prices(o, &p, slack, reach * best);
    double now = lagrangian(o, k, &p, total, choices, slack);
    if (now > best) {
      best = now;
      best_prices = p;
      idle = 0;
    } else if (++idle == 4) {
      reach /= 2;
      idle = 0;
      p = best_prices;
      lagrangian(o, k, &p, total, choices, slack);
    }
  }
  free(choices);
  return best <= 0.001 ? 0 : (uint64_t)ceil(best - 0.001);
}
