/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMs for tests of the hand-over, and what it asks of the hypervisor: tables of the real engine over frames of the real core, but no TLB,
 * no views and no blocks.
 *
 * Each VM is made of its stage 2 alone and ends as one does: it leaves every hand-over, what it maps is freed, and no frame may be missing.
 */
#include "tests/host/handover_world.h"
#include "mm/port.h"
#include "mm_world.h"
#include <string.h>

struct spinlock vms_lock;
static struct world w;
struct vm vms[VMS + 1];
unsigned hw_flushes;
bool hw_blocks;
uint64_t hw_frames_before;

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
  hw_flushes++;
}

static void publish(struct pt *pt) {
  (void)pt;
}

static const struct pt_ops ops = {"stage2", pt_leaf_s2, pt_prot_s2, table_alloc, table_free, tlb_flush, publish};

static uint64_t came, left; /* frames of VMs' RAM, by their own account, and as told on the way that all must take */

err_t stage2_populate(struct stage2 *s2, ipa_t a) {
  pfn_t f;
  assert_false(stage2_is_given(s2, a.v, 1));
  unsigned order = hw_blocks && !s2->vm->config.force_4k ? 9 : 0;
  uint64_t at = a.v & ~((PAGE_SIZE << order) - 1);
  assert_int_equal(page_alloc(order, ALLOC_MOVABLE | ALLOC_ZERO, &f), ERR_OK);
  frame_set_state(f, order, FRAME_OWNED, s2->vm->id, at);
  assert_int_equal(pt_map_leaf(&s2->pt, at, pfn_pa(f), order ? 2 : 3, PT_R | PT_W | PT_X), ERR_OK);
  s2->populated_frames += (uint64_t)1 << order;
  came += (uint64_t)1 << order;
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

bool hw_must_settle;
unsigned hw_settled;

bool stage2_must_settle(void) {
  return hw_must_settle;
}

/* Whoever is given to or has it back must not have it yet. */
void stage2_settle(pfn_t first, uint64_t frames) {
  (void)first;
  hw_settled += (unsigned)frames;
}

unsigned hw_code_forgotten;

void stage2_forget_code(void) {
  hw_code_forgotten++;
}

uint32_t exhaust_open = 1; /* somebody always waits */

void quota_frames_left(struct stage2 *s2, uint64_t frames) {
  (void)s2;
  left += frames;
}

void hw_vm_make(unsigned id) {
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
  unsigned order = 9 * (3 - level);
  (void)desc;
  assert_int_equal(frame_of(pa_pfn(out))->state, FRAME_OWNED);
  assert_int_equal(frame_of(pa_pfn(out))->owner, vm->id);
  stage2_count(&vm->s2, ia, -((int64_t)1 << order));
  page_free(pa_pfn(out), order);
}

/* Every frame that left a VM's RAM, by donation, release or death, was told of. */
static void check_left(void) {
  uint64_t there = 0;
  for (unsigned id = 0; id < ARRAY_SIZE(vms); id++)
    there += vms[id].s2.populated_frames;
  assert_int_equal(came - left, there);
}

void hw_vm_end(struct vm *vm) {
  while (handover_leave(vm) == ERR_AGAIN)
    ;
  assert_int_equal(pt_destroy(&vm->s2.pt, ~0u, free_leaf, vm), ERR_OK);
  assert_int_equal(vm->s2.populated_frames + vm->s2.window_frames, 0);
  check_left();
  page_free(vm->s2.pt.root_pfn, 2);
  vm->id = 0;
}

uint64_t *hw_contents(struct vm *vm, uint64_t ia) {
  struct pt_leaf leaf;
  if (pt_lookup(&vm->s2.pt, ia, &leaf) != ERR_OK)
    return NULL;
  return port_frame_ptr(pa_pfn(leaf.out));
}

uint64_t hw_home(unsigned thing) {
  return VM_RAM_BASE + (thing + 3) * PAGE_SIZE;
}

uint64_t hw_slot(unsigned thing) {
  return VM_RAM_BASE + RAM_PAGES * PAGE_SIZE + thing * PAGE_SIZE;
}

void hw_vms_make(void) {
  for (unsigned id = 1; id <= VMS; id++)
    hw_vm_make(id);
  for (unsigned t = 0; t < THINGS; t++) { /* thing 0 is VM 1's, thing 1 is VM 2's */
    assert_int_equal(stage2_populate(&vms[t + 1].s2, ipa(hw_home(t))), ERR_OK);
    *hw_contents(&vms[t + 1], hw_home(t)) = TAG(t);
  }
}

uint64_t hw_frames_in_use(void) {
  struct ledger l;
  ledger_read(&l);
  return l.frames[FRAME_TABLE] + l.frames[FRAME_OWNED] + l.frames[FRAME_SHARED] + l.frames[FRAME_LENT];
}

void hw_vms_end(unsigned turn) {
  for (unsigned i = 0; i < VMS; i++)
    hw_vm_end(&vms[1 + (i + turn) % VMS]);
  assert_int_equal(hw_frames_in_use(), hw_frames_before);
}

err_t hw_finish(err_t (*step)(struct vm *, uint64_t), struct vm *vm, uint64_t handle) {
  err_t err;
  while ((err = step(vm, handle)) == ERR_AGAIN)
    ;
  return err;
}

int hw_set_up(void **state) {
  static const struct world_config map = {"plain", {{{0x40000}, {0x48000}}}, {{{0x40000}, {0x40025}}}, 0};
  (void)state;
  world_create(&w, &map);
  assert_int_equal(handover_init(), ERR_OK);
  hw_frames_before = hw_frames_in_use();
  return 0;
}

int hw_tear_down(void **state) {
  (void)state;
  world_destroy(&w);
  return 0;
}
