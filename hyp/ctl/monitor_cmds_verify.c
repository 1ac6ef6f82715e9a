/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * `verify` holds what EL2 believes about memory against itself, while the VMs run: every block of every zone, its owner, and where the
 * owner's stage 2 leads; the ledger; whom EL2's objects are charged to; the fragmenter's patterns. `memmap` draws memory, a character per 2
 * MiB.
 *
 * A frame that a fault has just taken is its VM's before it is mapped, one that a balloon gives back is so until every TLB has forgotten
 * it, and a page that moves is nobody's for a moment. So what does not add up is a suspect first, and an error only if it never does when
 * it is looked at again; when there are many suspects the walk waits for them.
 */

#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/ctl/sample.h"
#include "hyp/mem/managed.h"
#include "mm/fragment.h"
#include "mm/page_alloc.h"
#include "mm/pageblock.h"
#include "mm/slab.h"

#define FRAMES_PER_STEP 64u /* up to 1,200 instructions each */
#define BLOCKS_PER_STEP 32u
#define SUSPECTS_MAX 32u
#define LOOK_MS 64u /* at what does not add up, once a millisecond: another CPU's step may be held up by the machine below */

static struct {
  uint64_t blocks, frames, vm_frames, charged_bytes;
  uint64_t suspect[SUSPECTS_MAX]; /* pfn of heads */
  unsigned suspects;
} verify;

/* --- one block --- */

/* Does the owner's stage 2 lead to the block, at its reverse mapping, with a leaf of its size? */
static bool is_mapped(const struct frame_info *info) {
  struct vm *vm = vm_by_id(info->owner);
  struct pt_leaf leaf;
  if (!vm)
    return false;
  spin_lock(&vm->s2.lock);
  err_t err = vm->s2.pt.root ? pt_lookup(&vm->s2.pt, info->rmap, &leaf) : ERR_NOENT;
  spin_unlock(&vm->s2.lock);
  return err == ERR_OK && leaf.out.v == pfn_pa(info->head).v && leaf.level == (info->order ? 2u : 3u);
}

static bool is_of_vm(const struct frame_info *info) {
  return info->state == FRAME_OWNED && info->owner != OWNER_CORE && info->owner <= VMS_MAX;
}

static bool block_is_sound(pfn_t head) {
  struct frame_info info;
  frame_describe(head, &info);
  if (pfn_is_none(info.head))
    return true;
  if (info.state == FRAME_MOVING)
    return false;
  if (info.state == FRAME_MANAGED)
    return managed_frame_is_sound(info.head, info.owner, info.rmap);
  return !is_of_vm(&info) || is_mapped(&info);
}

/* Look at the block at `f`, with room for a suspect; returns where the next one begins. */
static uint64_t look_at(uint64_t f) {
  struct frame_info info;
  frame_describe(pfn(f), &info);
  if (pfn_is_none(info.head))
    return info.state == FRAME_FREE ? align_down(f, PAGEBLOCK_FRAMES) + PAGEBLOCK_FRAMES : f + 1; /* not opened yet, or reserved */
  uint64_t frames = (uint64_t)1 << info.order;
  verify.blocks++;
  verify.frames += frames;
  verify.vm_frames += is_of_vm(&info) || info.state == FRAME_MANAGED ? frames : 0;
  if (!block_is_sound(info.head))
    verify.suspect[verify.suspects++] = info.head.v;
  return info.head.v + frames;
}

/* --- steps. state[0]: zone, state[1]: next frame in it --- */

enum {
  VERIFY_BLOCKS = 0,
  VERIFY_SUSPECTS,
  VERIFY_LEDGER,
  VERIFY_CHARGES,
  VERIFY_PATTERNS_BEGIN,
  VERIFY_PATTERNS,
};

static enum work_result verify_blocks(struct session *s) {
  struct buddyinfo zone;
  if (s->state[0] == 0 && s->state[1] == 0)
    memset(&verify, 0, sizeof verify);
  if (verify.suspects == SUSPECTS_MAX || !page_buddyinfo((unsigned)s->state[0], &zone)) {
    s->phase = VERIFY_SUSPECTS;
    session_wait_at_most(s, LOOK_MS);
    return session_wait_ms(s, 1);
  }
  uint64_t f = max_u64(s->state[1], zone.start.v);
  for (unsigned i = 0; i < FRAMES_PER_STEP && f < zone.end.v && verify.suspects < SUSPECTS_MAX; i++)
    f = look_at(f);
  s->state[1] = f;
  s->state[0] += f >= zone.end.v;
  return WORK_MORE;
}

static enum work_result verify_suspects(struct session *s) {
  struct buddyinfo zone;
  struct frame_info info;
  unsigned left = 0;
  for (unsigned i = 0; i < verify.suspects; i++)
    if (!block_is_sound(pfn(verify.suspect[i])))
      verify.suspect[left++] = verify.suspect[i];
  verify.suspects = left;
  if (left != 0 && session_may_wait(s))
    return WORK_WAIT;
  if (left == 0) {
    s->phase = page_buddyinfo((unsigned)s->state[0], &zone) ? VERIFY_BLOCKS : VERIFY_LEDGER;
    session_wait_at_most(s, LOOK_MS);
    return WORK_MORE;
  }
  frame_describe(pfn(verify.suspect[0]), &info);
  return session_fail_done(s, "frame %#llx: %s of owner %u at %#llx, but no leaf leads there; %u such",
                           (unsigned long long)verify.suspect[0], frame_state_name(info.state), info.owner, (unsigned long long)info.rmap,
                           left);
}

/* Each reading is off by what is on the move at that moment: a step of another CPU. What is lost stays off. */
static enum work_result verify_ledger(struct session *s) {
  struct ledger all;
  uint64_t sum = 0;
  ledger_read(&all);
  for (unsigned i = 0; i < FRAME_STATES; i++)
    sum += all.frames[i];
  if (sum == ledger_total()) {
    s->phase = VERIFY_CHARGES;
    session_wait_at_most(s, LOOK_MS);
    return WORK_MORE;
  }
  if (session_may_wait(s))
    return WORK_WAIT;
  return session_fail_done(s, "the ledger sums to %llu, not %llu frames", (unsigned long long)sum, (unsigned long long)ledger_total());
}

/* Who is no VM has no bytes; a cache that charges charges for every object; and owners have what the caches gave. */
static bool charges_add_up(uint64_t *bytes) {
  struct slab_info info;
  uint64_t given = 0;
  *bytes = 0;
  for (owner_t owner = 0; owner < OWNERS_MAX; owner++) {
    if (slab_charged_bytes(owner) != 0 && !vm_by_id(owner))
      return false;
    *bytes += slab_charged_bytes(owner);
  }
  for (unsigned i = 0; slab_describe_nth(i, &info); i++) {
    if (info.charged_objects != 0 && info.charged_objects != info.used_objects)
      return false;
    given += info.charged_objects * info.stride_bytes;
  }
  return *bytes == given;
}

/* A VM that another CPU makes or ends is half counted for a moment. */
static enum work_result verify_charges(struct session *s) {
  if (!charges_add_up(&verify.charged_bytes)) {
    if (session_may_wait(s))
      return WORK_WAIT;
    return session_fail_done(s, "objects of EL2 and the VMs they are charged to do not agree");
  }
  s->phase = VERIFY_PATTERNS_BEGIN;
  return WORK_MORE;
}

static enum work_result verify_patterns(struct session *s) {
  struct fragment_report r;
  err_t err = fragment_verify_step(BLOCKS_PER_STEP);
  if (err == ERR_AGAIN)
    return WORK_MORE;
  fragment_report(&r);
  if (err != ERR_OK)
    return session_fail_done(s, "%llu frames of the fragmenter do not hold what was written", (unsigned long long)r.bad_frames);
  hyp_printf("sluice: verify: %llu blocks, %llu frames, %llu of VMs, %llu of the fragmenter: all sound; the ledger sums to %llu; %llu "
             "bytes of objects "
             "are charged\n",
             (unsigned long long)verify.blocks, (unsigned long long)verify.frames, (unsigned long long)verify.vm_frames,
             (unsigned long long)r.frames, (unsigned long long)ledger_total(), (unsigned long long)verify.charged_bytes);
  return WORK_DONE;
}

static enum work_result cmd_verify(struct session *s) {
  switch (s->phase) {
  case VERIFY_BLOCKS:
    return verify_blocks(s);
  case VERIFY_SUSPECTS:
    return verify_suspects(s);
  case VERIFY_LEDGER:
    return verify_ledger(s);
  case VERIFY_CHARGES:
    return verify_charges(s);
  case VERIFY_PATTERNS_BEGIN:
    fragment_verify_begin();
    s->phase = VERIFY_PATTERNS;
    return WORK_MORE;
  default:
    return verify_patterns(s);
  }
}

/* --- memmap --- */

#define MAP_COLUMNS 32u /* 64 MiB to a line */
#define MAP_BLOCKS_PER_STEP 8u

/* Eighths in use, or what keeps it from ever being free. */
static char symbol(const struct pageblock_info *p) {
  unsigned used = p->movable + p->unmovable + p->reserved + p->cached;
  if (p->reserved == PAGEBLOCK_FRAMES)
    return '#';
  if (p->unmovable + p->reserved != 0)
    return 'u';
  if (used == 0)
    return '.';
  return used == PAGEBLOCK_FRAMES ? '8' : (char)('0' + used * 8 / PAGEBLOCK_FRAMES);
}

/* The first VM is `a`; after `z` comes `A`. */
static char vm_letter(unsigned id) {
  return (char)(id < 27 ? 'a' + id - 1 : 'A' + id - 27);
}

static char owner_symbol(const struct pageblock_info *p) {
  if (p->movable + p->unmovable == 0)
    return p->reserved ? '#' : '.';
  if (p->owner == OWNER_CORE)
    return '+';
  return p->owner > VMS_MAX ? '*' : vm_letter(p->owner);
}

/* One line as it fills, a few pageblocks per step: looking into one takes up to 5,000 instructions. */
static struct {
  char use[MAP_COLUMNS + 1], owner[MAP_COLUMNS + 1];
  unsigned length;
  uint64_t start; /* first frame of it */
} map;

static const char *map_title(const struct session *s) {
  return s->argc > 1 ? s->argv[1] : "now";
}

static void print_map_line(const struct session *s) {
  map.use[map.length] = map.owner[map.length] = '\0';
  hyp_printf("memmap %s: %#12llx %-32s %s\n", map_title(s), (unsigned long long)map.start << PAGE_SHIFT, map.use, map.owner);
  map.length = 0;
}

static void print_map_owners(const struct session *s) {
  struct vm *vm;
  for_each_vm(vm) hyp_printf("memmap %s: %c is %s\n", map_title(s), vm_letter(vm->id), vm->config.name);
}

static void add_to_map(uint64_t f) {
  struct pageblock_info info;
  if (!pageblock_describe(pfn(f), &info))
    return;
  if (map.length == 0)
    map.start = info.start.v;
  map.use[map.length] = symbol(&info);
  map.owner[map.length++] = owner_symbol(&info);
}

/* state[0]: zone, state[1]: next frame in it */
static enum work_result cmd_memmap(struct session *s) {
  struct buddyinfo zone;
  if (s->state[0] == 0 && s->state[1] == 0) {
    map.length = 0;
    sample_mark(TRACE_MARK_MEMMAP, map_title(s));
  }
  if (!page_buddyinfo((unsigned)s->state[0], &zone)) {
    print_map_owners(s);
    return WORK_DONE;
  }
  uint64_t f = max_u64(s->state[1], zone.start.v);
  for (unsigned i = 0; i < MAP_BLOCKS_PER_STEP && f < zone.end.v; i++, f += PAGEBLOCK_FRAMES)
    add_to_map(f);
  if (map.length == MAP_COLUMNS || (f >= zone.end.v && map.length != 0))
    print_map_line(s);
  s->state[1] = f;
  s->state[0] += f >= zone.end.v;
  return WORK_MORE;
}

const struct command monitor_verify_commands[] = {
    {"verify", "", "is every frame where its owner thinks, and the ledger whole?", cmd_verify, 0, 0},
    {"memmap", "[TITLE]", "memory, a character per 2 MiB: eighths in use, u unmovable, # reserved; then whose", cmd_memmap, 0, 1},
    {0},
};
