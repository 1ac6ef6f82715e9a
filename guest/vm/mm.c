/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Life of an address space: creation, users, activation on a CPU, end; and what the page-table engine needs to know of it.
 *
 * An mm owns its root table, a level-1 table of 512 entries for 39 bits of address. Tables are frames in state TABLE of OWNER_USER. The
 * TLB is only told about spaces that have run: before the first mm_activate() context.id is 0 and nothing can be cached. Lock:
 * mm_users is atomic; the rest is under mmap_lock, or before anybody knows the mm.
 */

#include "guest/vm/gfp.h"
#include "guest/vm/internal.h"

#define ROOT_LEVEL 1u

static struct asid_space asids;
static uint32_t last_rmap_id;

static struct mm_struct *mm_of(struct pt *pt) {
  return container_of(pt, struct mm_struct, pt);
}

static err_t table_alloc(struct pt *pt, pfn_t *out) {
  (void)pt;
  err_t err = page_alloc(0, GFP_KERNEL_LOCKED | ALLOC_ZERO, out);
  if (err == ERR_OK)
    frame_set_state(*out, 0, FRAME_TABLE, OWNER_USER, 0);
  return err;
}

static void table_free(struct pt *pt, pfn_t table) {
  (void)pt;
  page_free(table, 0);
}

static void tlb_flush(struct pt *pt, uint64_t ia, uint64_t size, unsigned level, bool tables) {
  const struct mm_context *context = &mm_of(pt)->context;
  (void)level;
  if (atomic_load_relaxed(&context->id))
    vm_home_tlb_flush(context, ia, size, tables);
}

/* Arm ARM D8.2.6 and B2.3: the store is complete before a later walk; the ISB keeps this CPU from acting on an earlier one. */
static void publish(struct pt *pt) {
  (void)pt;
  port_dsb_ishst();
  port_isb();
}

static const struct pt_ops user_pt_ops = {
    .name = "user",
    .leaf = pt_leaf_el1,
    .prot = pt_prot_el1,
    .table_alloc = table_alloc,
    .table_free = table_free,
    .tlb_flush = tlb_flush,
    .publish = publish,
};

err_t vm_init(unsigned asid_bits) {
  vm_commit_init();
  rmap_init();
  err_t err = asid_space_init(&asids, asid_bits);
  if (err == ERR_OK)
    err = vm_objects_init();
  if (err == ERR_OK)
    err = vm_zero_page_init();
  if (err == ERR_OK)
    vm_migrate_init();
  return err;
}

static void init_mm(struct mm_struct *mm, pfn_t root) {
  mm->mm_users = 1;
  mm->rmap_id = atomic_add_fetch(&last_rmap_id, 1) & RMAP_ID_MASK;
  mm->stack_limit = STACK_LIMIT_DEFAULT;
  list_init(&mm->rmap_node);
  err_t err = pt_init(&mm->pt, &user_pt_ops, root, ROOT_LEVEL, 0, TASK_SIZE_BITS, PT_FEAT_S1 | PT_FEAT_KEEP, (uint16_t)mm->rmap_id);
  CHECK(err == ERR_OK);
}

err_t mm_create(struct mm_struct **out) {
  struct mm_struct *mm = mm_struct_alloc();
  if (!mm)
    return ERR_NOMEM;
  pfn_t root;
  err_t err = table_alloc(NULL, &root);
  if (err != ERR_OK) {
    mm_struct_free(mm);
    return err;
  }
  init_mm(mm, root);
  *out = mm;
  return ERR_OK;
}

err_t mm_alloc(struct mm_struct **out) {
  err_t err = mm_create(out);
  if (err == ERR_OK)
    rmap_add_mm(*out);
  return err;
}

void mm_get(struct mm_struct *mm) {
  atomic_add_fetch(&mm->mm_users, 1);
}

void mm_put(struct mm_struct *mm) {
  if (atomic_add_fetch(&mm->mm_users, -1) != 0)
    return;
  rmap_remove_mm(mm);
  exit_mmap(mm);
  table_free(NULL, mm->pt.root_pfn);
  mm_struct_free(mm);
}

struct mm_active mm_activate(struct mm_struct *mm) {
  if (asid_check_context(&asids, &mm->context, port_cpu()))
    vm_home_tlb_flush_local_all();
  return (struct mm_active){.root = pfn_pa(mm->pt.root_pfn), .asid = mm_context_asid(&mm->context)};
}
