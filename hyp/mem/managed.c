/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed memory: ranges, who is in them, and faults there.
 *
 *     fault:  lock the block, decide, plan --> reserve room and frames --> carry out, unlock --> fetch the rest of the region, a step at a time
 *                      ^                            | no room: evict; no frame: make an effort, without the lock
 *                      +----------------------------+
 *
 * What can fail comes before the first change; after a wait everything is decided anew. A step copies MANAGED_STEP_PAGES at most with
 * interrupts masked; between two of them no lock is held and interrupts are looked at. A range's memory, some 8 KiB for each block, is
 * EL2's own: it is as large as the scenario says, whatever guests do, and outlives every member.
 *
 * Invariants: a member bit in range->present stands for a VM that can fault, be mapped for, or be preferred; mappings of a VM are gone
 * before its seat is (managed_leave). Lock: a block's lock covers its masks and frames, range->lock the policy and the lists of blocks. See
 * managed.h for their order.
 */
#include "hyp/mem/managed.h"
#include "core/check.h"
#include "core/string.h"
#include "hyp/core/exit.h"
#include "hyp/mem/background.h"
#include "hyp/mem/exhaust.h"
#include "hyp/mem/managed_priv.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

static struct managed_range ranges[MANAGED_RANGES_MAX];
static unsigned range_count;

/* ---- making ---- */

#define CORE_FLAGS (ALLOC_UNMOVABLE | ALLOC_ZERO | ALLOC_RETURN_CORE)

static unsigned order_for(uint64_t bytes) {
  return bytes <= PAGE_SIZE ? 0 : bits_fls((bytes - 1) >> PAGE_SHIFT) + 1;
}

static err_t make_chunk(struct managed_range *range, uint64_t number) {
  pfn_t f;
  err_t err = page_alloc(order_for(sizeof(struct managed_chunk)), CORE_FLAGS, &f);
  if (err != ERR_OK)
    return err;
  struct managed_chunk *c = range->chunk[number] = port_frame_ptr(f);
  memset(c->first, 0xff, sizeof(c->first)); /* FRAME_LINK_NONE */
  for_each_location(l) list_init(&c->lru[l]);
  c->number = number;
  return ERR_OK;
}

err_t managed_create(const struct managed_config *config) {
  if (range_count == MANAGED_RANGES_MAX)
    return ERR_NOSPC;
  struct managed_range *range = &ranges[range_count];
  if (range_count == 0)
    managed_nap_init();
  range->config = *config;
  range->policy = config->policy;
  range->number = range_count;
  range->blocks = config->bytes / SZ_2M;
  pfn_t f;
  err_t err = page_alloc(order_for(range->blocks * sizeof(void *)), CORE_FLAGS, &f);
  if (err != ERR_OK)
    return err;
  range->chunk = port_frame_ptr(f);
  for_each_location(l) {
    list_init(&range->member[l].lru);
    range->member[l].quota = l == LOCATION_HOME ? 0 : config->quota_frames[l - 1];
  }
  for (uint64_t i = 0; i < range->blocks && err == ERR_OK; i++)
    err = make_chunk(range, i);
  range_count++;
  return err;
}

/* ---- looking up ---- */

struct managed_range *managed_nth(unsigned n) {
  return n < range_count ? &ranges[n] : NULL;
}

struct managed_range *managed_named(const char *name) {
  for (unsigned i = 0; i < range_count; i++)
    if (strcmp(ranges[i].config.name, name) == 0)
      return &ranges[i];
  return NULL;
}

const struct managed_config *managed_config_of(const struct managed_range *range) {
  return &range->config;
}

static unsigned location_of(const struct managed_range *range, const char *vm_name) {
  for (unsigned i = 0; i < range->config.members; i++)
    if (strcmp(range->config.member[i], vm_name) == 0)
      return i + 1;
  return LOCATION_HOME;
}

/* ---- members ---- */

uint64_t managed_bytes_of(const char *vm_name) {
  uint64_t bytes = 0;
  for (unsigned i = 0; i < range_count; i++)
    bytes += location_of(&ranges[i], vm_name) != LOCATION_HOME ? ranges[i].config.bytes : 0;
  return bytes;
}

static void take_seat(struct vm *vm, struct managed_range *range, unsigned location, uint64_t base) {
  struct managed_member *m = &range->member[location];
  vm->seat[vm->seats++] = (struct managed_seat){range, range->config.name, base, range->config.bytes, (uint8_t)location};
  m->vm = vm;
  m->base = base;
  m->leave_at = 0;
  (void)atomic_fetch_or(&range->present, (uint8_t)BIT(location));
}

void managed_join(struct vm *vm) {
  uint64_t base = stage2_managed_base(&vm->s2);
  for (unsigned i = 0; i < range_count; i++) {
    unsigned location = location_of(&ranges[i], vm->config.name);
    if (location == LOCATION_HOME)
      continue;
    take_seat(vm, &ranges[i], location, base);
    base += ranges[i].config.bytes;
  }
}

/* ---- leaving: word by word, bounded by pages that change hands and by words that are looked at ---- */

#define LEAVE_PAGES_PER_STEP 128u
#define LEAVE_WORDS_PER_STEP 256u

/* The range is nobody's: what its backing has of the word goes. */
static void free_home(const struct managed_place *at, unsigned word) {
  uint64_t *home = &at->chunk->block.resident[LOCATION_HOME].word[word];
  for (; *home; *home &= *home - 1) {
    unsigned page = word * 64 + bits_ffs(*home);
    pfn_t f = frame_pfn(managed_frame(at, LOCATION_HOME, page));
    at->chunk->first[page] = FRAME_LINK_NONE;
    page_free(f, 0);
  }
  managed_block_forget(&at->chunk->block, word);
}

/* Returns how much it was. */
static unsigned leave_word(const struct managed_place *at, unsigned location, unsigned word) {
  struct managed_plan plan;
  struct managed_block *b = &at->chunk->block;
  spin_lock(&at->chunk->lock);
  managed_block_plan_evict(b, location, word, ~(uint64_t)0, true, &plan);
  unsigned pages = managed_count(plan.pages);
  if (pages) {
    err_t err = managed_carry_out(at, &plan, NULL, managed_now_us());
    CHECK(err == ERR_OK); /* it maps nothing */
  }
  if (atomic_load_relaxed(&at->range->present) == 0) {
    pages += managed_count(b->resident[LOCATION_HOME].word[word]);
    if (b->resident[LOCATION_HOME].word[word])
      free_home(at, word);
  }
  if (word == MANAGED_WORDS - 1) {
    managed_forget_lru(at, location);
    b->counts[location] = (struct managed_counts){0};
  }
  spin_unlock(&at->chunk->lock);
  return pages;
}

static err_t leave_step(struct managed_range *range, unsigned location) {
  struct managed_member *m = &range->member[location];
  (void)atomic_fetch_and(&range->present, (uint8_t)~BIT(location)); /* faults of others see it under the block's lock */
  unsigned pages = 0, words = 0;
  for (; m->leave_at < range->blocks * MANAGED_WORDS && pages < LEAVE_PAGES_PER_STEP && words < LEAVE_WORDS_PER_STEP;
       m->leave_at++, words++) {
    struct managed_place at = managed_place_of(range, m->leave_at / MANAGED_WORDS);
    pages += leave_word(&at, location, m->leave_at % MANAGED_WORDS);
  }
  if (m->leave_at < range->blocks * MANAGED_WORDS)
    return ERR_AGAIN;
  CHECK(m->used == 0);
  m->vm = NULL;
  return ERR_OK;
}

err_t managed_leave(struct vm *vm) {
  while (vm->seats > 0) {
    const struct managed_seat *seat = &vm->seat[vm->seats - 1];
    err_t err = leave_step(seat->range, seat->location);
    if (err != ERR_OK)
      return err;
    vm->seats--;
  }
  return ERR_OK;
}

/* ---- faults ---- */

struct request {
  struct managed_place at;
  struct managed_fault f;
  struct managed_policy policy;
  struct managed_decision d;
  pfn_t spare;  /* got by an effort, for the page of the fault; or PFN_NONE */
  bool nowhere; /* after ERR_BUSY: the page was resident nowhere */
};

/* Written seldom: a reader takes no lock, but looks again if it was written meanwhile. */
static struct managed_policy policy_of(struct managed_range *range) {
  for (;; port_relax()) {
    uint32_t seq = atomic_load_acquire(&range->policy_seq);
    struct managed_policy policy = range->policy;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (likely(!(seq & 1) && atomic_load_relaxed(&range->policy_seq) == seq))
      return policy;
  }
}

/* As many frames as the plan wants, from what can be had at once. */
static err_t get_frames(struct request *r, unsigned wanted, pfn_t *frames) {
  if (wanted == 1 && !pfn_is_none(r->spare)) {
    frames[0] = r->spare;
    r->spare = PFN_NONE;
    return ERR_OK;
  }
  if (likely(wanted == 1))
    return page_alloc(0, ALLOC_MOVABLE, frames);
  return wanted ? page_alloc_bulk(wanted, ALLOC_MOVABLE, frames) : ERR_OK;
}

/*
 * Reserve all that the plan takes, and carry it out. ERR_NOSPC: the quota of its destination is full; ERR_BUSY: no frame without an effort;
 * ERR_NOMEM: done, but for mapping.
 */
static err_t attempt(struct request *r, struct managed_plan *plan) {
  pfn_t frames[MANAGED_STEP_PAGES];
  uint64_t places = managed_plan_frames(plan);
  if (!managed_reserve(&r->at, plan->to, places))
    return ERR_NOSPC;
  unsigned wanted = r->at.range->config.move ? managed_frames_wanted(&r->at, plan) : (unsigned)places;
  if (get_frames(r, wanted, frames) != ERR_OK) {
    managed_unreserve(r->at.range, plan->to, places);
    r->nowhere = (plan->populate & plan->asked) != 0;
    return ERR_BUSY;
  }
  return managed_carry_out(&r->at, plan, frames, r->f.now_us);
}

/* The part of the fault's word that is one step. */
static uint64_t step_around(unsigned page) {
  return MANAGED_STEP_MASK << align_down(page % 64, MANAGED_STEP_PAGES);
}

/* With its neighbours if that can be, else alone. */
static err_t serve_decided(struct request *r) {
  struct managed_plan plan;
  unsigned word = r->f.page / 64;
  managed_block_plan(&r->at.chunk->block, &r->policy, &r->f, &r->d, word, step_around(r->f.page), &plan);
  err_t err = attempt(r, &plan);
  if ((err != ERR_NOSPC && err != ERR_BUSY) || plan.pages == plan.asked)
    return err;
  r->d.first = (uint16_t)r->f.page;
  r->d.count = 1;
  managed_block_plan(&r->at.chunk->block, &r->policy, &r->f, &r->d, word, BIT(r->f.page % 64), &plan);
  return attempt(r, &plan);
}

static NOINLINE void trace_decision(const struct request *r, bool pinned) {
  uint64_t word = managed_rmap(r->at.range->number, managed_offset(&r->at, r->f.page & ~63u)), bit = BIT(r->f.page % 64);
  if (pinned)
    trace_write(TRACE_MANAGED_PIN, 0, word, bit, r->d.to, r->d.to, r->f.member);
  if (r->d.verdict == MANAGED_THROTTLE)
    trace_write(TRACE_MANAGED_THROTTLE, 0, word, bit, r->f.member, r->f.member, r->f.member);
}

static err_t serve_once(struct request *r) {
  r->policy = policy_of(r->at.range);
  spin_lock(&r->at.chunk->lock);
  r->f.present = atomic_load_relaxed(&r->at.range->present);
  r->f.now_us = managed_now_us();
  uint32_t pinned = r->at.chunk->block.counts[r->f.member].pinned;
  managed_block_decide(&r->at.chunk->block, &r->policy, &r->f, &r->d);
  if (trace_on(TRACE_GROUP_MANAGED))
    trace_decision(r, r->at.chunk->block.counts[r->f.member].pinned != pinned);
  err_t err = r->d.verdict == MANAGED_SERVE ? serve_decided(r) : ERR_OK;
  spin_unlock(&r->at.chunk->lock);
  return err;
}

/*
 * No lock is held. ERR_OK: there is room, or a frame, or another place to be chosen: once more. Who has no frame for what is somewhere
 * leaves it there, and waits for nobody.
 */
static err_t make_room(struct request *r, err_t why) {
  if (why == ERR_NOMEM)
    return why;
  if (why == ERR_BUSY) {
    why = page_alloc(0, ALLOC_MOVABLE | ALLOC_EFFORT, &r->spare);
    if (why == ERR_OK || r->nowhere)
      return why;
  } else if (managed_evict(r->at.range, r->d.to)) {
    return ERR_OK;
  }
  r->f.full |= (uint8_t)BIT(r->d.to);
  return ERR_OK;
}

static err_t serve(struct request *r) {
  err_t err;
  while ((err = serve_once(r)) != ERR_OK) {
    err = make_room(r, err);
    if (err != ERR_OK)
      break;
  }
  if (!pfn_is_none(r->spare))
    page_free(r->spare, 0);
  return err;
}

/* One step of the region behind the fault; false: it is not worth an effort. */
static bool fetch_step(struct request *r, unsigned page) {
  struct managed_plan plan;
  spin_lock(&r->at.chunk->lock);
  r->f.present = atomic_load_relaxed(&r->at.range->present);
  managed_block_plan(&r->at.chunk->block, &r->policy, &r->f, &r->d, page / 64, step_around(page), &plan);
  plan.asked = 0;
  err_t err = plan.pages ? attempt(r, &plan) : ERR_OK;
  spin_unlock(&r->at.chunk->lock);
  return err == ERR_OK;
}

/* All but the step that the fault itself was in. Whoever wants the vCPU does not wait for it. */
static void fetch_rest(struct vcpu *v, struct request *r) {
  unsigned end = r->d.first + r->d.count, own = (unsigned)align_down(r->f.page, MANAGED_STEP_PAGES);
  for (unsigned page = (unsigned)align_down(r->d.first, MANAGED_STEP_PAGES); page < end; page += MANAGED_STEP_PAGES) {
    if (page == own)
      continue;
    irq_poll(this_cpu());
    if ((atomic_load_relaxed(&v->requests) & ~VCPU_REQ_ALWAYS) != 0 || !fetch_step(r, page))
      return;
  }
}

static const struct managed_seat *seat_at(const struct vm *vm, ipa_t at) {
  for (unsigned i = 0; i < vm->seats; i++)
    if (at.v - vm->seat[i].base < vm->seat[i].bytes)
      return &vm->seat[i];
  return NULL;
}

void managed_fault(struct vcpu *v, ipa_t at, bool write) {
  const struct managed_seat *seat = seat_at(v->vm, at);
  CHECK(seat); /* stage2_is_managed() */
  uint64_t offset = at.v - seat->base;
  struct request r = {.at = managed_place_of(seat->range, offset / SZ_2M), .spare = PFN_NONE};
  r.f = (struct managed_fault){.member = seat->location, .page = (unsigned)(offset % SZ_2M / PAGE_SIZE), .write = write};
  v->s2_faults++;
  err_t err = serve(&r);
  if (err != ERR_OK)
    exhaust_wait(v, at.v, err);
  else if (r.d.verdict == MANAGED_THROTTLE)
    managed_nap(v, r.d.until_us - r.f.now_us);
  else if (r.d.verdict == MANAGED_SERVE && r.d.count > 1)
    fetch_rest(v, &r);
}

/* ---- policy ---- */

struct managed_policy managed_policy_of(struct managed_range *range) {
  return policy_of(range);
}

void managed_set_policy(struct managed_range *range, const struct managed_policy *policy) {
  spin_lock(&range->lock);
  atomic_store_relaxed(&range->policy_seq, range->policy_seq + 1);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  range->policy = *policy;
  atomic_store_release(&range->policy_seq, range->policy_seq + 1);
  spin_unlock(&range->lock);
}

void managed_set_quota(struct managed_range *range, unsigned member, uint64_t frames) {
  atomic_store_relaxed(&range->member[member].quota, frames);
}
