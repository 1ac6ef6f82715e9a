/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EL2's stage 1, in two steps. The early map is two static tables with 1 GiB blocks, enough to run C with caches while the device tree is
 * read. The final map is built by the page-table engine once there are frames to build it from: text RX, rodata R, everything else RW and
 * never executable (SCTLR_EL2.WXN besides), devices nGnRnE, a hole under every stack.
 *
 * The maps disagree about block sizes, so the switch goes through MMU off (Arm ARM D8.14.1, break-before-make); both are one to
 * one, so that the code may run with it off.
 */
#include "hyp/arch/mmu.h"
#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "core/check.h"
#include "core/string.h"
#include "hyp/arch/far.h"
#include "hyp/arch/offsets.h"
#include "hyp/arch/zero.h"
#include "hyp/core/cpu.h"
#include "mm/page_alloc.h"
#include "mm/pgtable.h"
#include "mm/port.h"

#define EL2_IA_BITS 48u
#define EARLY_ENTRIES 512u
#define DESC_TABLE 3u
#define EARLY_BLOCK (1u /* block */ | BIT(10) /* AF */ | 1u << 6 /* AP[1] RES1 */)
#define EARLY_NORMAL (EARLY_BLOCK | 1u << 2 /* AttrIndx 1 */ | 3u << 8 /* inner shareable */)
#define EARLY_DEVICE (EARLY_BLOCK | BIT(54))

/* What secondary_start loads before it can use memory: layout known to start.S. */
struct mmu_registers {
  uint64_t mair, tcr, ttbr0, sctlr;
} mmu_secondary;

static struct pt el2_pt;

static err_t el2_table_alloc(struct pt *pt, pfn_t *out) {
  (void)pt;
  return page_alloc(0, ALLOC_UNMOVABLE | ALLOC_ZERO | ALLOC_RETURN_CORE, out);
}

static void el2_table_free(struct pt *pt, pfn_t table) {
  (void)pt;
  page_free(table, 0);
}

/* The final map never changes after mmu_switch(), and before it no TLB has seen it. */
static void el2_tlb_flush(struct pt *pt, uint64_t ia, uint64_t size, unsigned level, bool tables) {
  (void)pt, (void)ia, (void)size, (void)level, (void)tables;
  dsb(ishst);
  __asm__ volatile("tlbi alle2is" ::: "memory");
  dsb(ish);
  isb();
}

static void el2_publish(struct pt *pt) {
  (void)pt;
  dsb(ishst);
}

static const struct pt_ops el2_ops = {
    .name = "el2",
    .leaf = pt_leaf_el2,
    .prot = pt_prot_el2,
    .table_alloc = el2_table_alloc,
    .table_free = el2_table_free,
    .tlb_flush = el2_tlb_flush,
    .publish = el2_publish,
};

static uint64_t tcr_value(void) {
  uint64_t range = bits_get(sysreg_read(id_aa64mmfr0_el1), 3, 0);
  return TCR_EL2_RES1 | TCR_T0SZ(EL2_IA_BITS) | TCR_IRGN0_WBWA | TCR_ORGN0_WBWA | TCR_SH0_INNER | TCR_TG0_4K |
         (range > 5 ? 5 : range) << TCR_EL2_PS_SHIFT;
}

/* The two tables that EL2 begins with: level 0, and level 1 of the one region (512 GiB) that everything at boot lies in. */
static uint64_t *early_l0(void) {
  return (uint64_t *)early_tables_address();
}

static uint64_t *early_l1(void) {
  return early_l0() + EARLY_ENTRIES;
}

static void early_block(uint64_t address, uint64_t attributes) {
  uint64_t *entry = &early_l1()[address / SZ_1G % EARLY_ENTRIES];
  if (*entry == 0)
    *entry = align_down(address, SZ_1G) | attributes;
}

err_t mmu_enable_early(pa_t dtb, pa_t uart) {
  uint64_t image = (uint64_t)image_start;
  uint64_t region = image / (EARLY_ENTRIES * SZ_1G);
  if (dtb.v / (EARLY_ENTRIES * SZ_1G) != region || uart.v / (EARLY_ENTRIES * SZ_1G) != region)
    return ERR_RANGE;
  memset(early_l0(), 0, 2 * PAGE_SIZE);
  early_block(image, EARLY_NORMAL);
  early_block(dtb.v, EARLY_NORMAL);
  early_block(dtb.v + SZ_2M, EARLY_NORMAL); /* booting.rst: at most 2 MiB, anywhere */
  early_block(uart.v, EARLY_DEVICE);
  early_l0()[region % EARLY_ENTRIES] = (uint64_t)early_l1() | DESC_TABLE;
  sysreg_write(mair_el2, PT_MAIR_VALUE);
  sysreg_write(tcr_el2, tcr_value());
  sysreg_write(ttbr0_el2, early_tables_address());
  __asm__ volatile("tlbi alle2" ::: "memory");
  dsb(nsh);
  __asm__ volatile("ic iallu" ::: "memory");
  dsb(nsh);
  isb();
  sysreg_write(sctlr_el2, SCTLR_EL2_RES1 | SCTLR_M | SCTLR_C | SCTLR_I | SCTLR_SA);
  isb();
  return ERR_OK;
}

/* Entries that were invalid become valid: no TLB can hold them, so publishing them to the walker is all (Arm ARM D8.13.1). */
err_t mmu_extend_early(pa_t start, pa_t end) {
  uint64_t region = (uint64_t)image_start / (EARLY_ENTRIES * SZ_1G);
  if (start.v / (EARLY_ENTRIES * SZ_1G) != region || (end.v - 1) / (EARLY_ENTRIES * SZ_1G) != region)
    return ERR_RANGE;
  for (uint64_t a = align_down(start.v, SZ_1G); a < end.v; a += SZ_1G)
    early_block(a, EARLY_NORMAL);
  dsb(ishst);
  isb();
  return ERR_OK;
}

static err_t map(uint64_t start, uint64_t end, pt_prot_t prot) {
  if (start >= end)
    return ERR_OK;
  return pt_map(&el2_pt, start, pa(start), end - start, prot, SZ_1G);
}

/* A stack's pages, less the guard page under it. */
static err_t map_around_guard(uint64_t *from, uint64_t top) {
  uint64_t guard = top - EL2_STACK_BYTES - PAGE_SIZE;
  err_t err = map(*from, guard, PT_R | PT_W);
  *from = guard + PAGE_SIZE;
  return err;
}

err_t mmu_build_image(void) {
  pfn_t root;
  err_t err = page_alloc(0, ALLOC_UNMOVABLE | ALLOC_ZERO | ALLOC_RETURN_CORE, &root);
  if (err == ERR_OK)
    err = pt_init(&el2_pt, &el2_ops, root, 0, 0, EL2_IA_BITS, PT_FEAT_S1, 0);
  if (err == ERR_OK)
    err = map((uint64_t)image_start, (uint64_t)text_end, PT_R | PT_X);
  if (err == ERR_OK)
    err = map((uint64_t)text_end, (uint64_t)rodata_end, PT_R);
  uint64_t from = (uint64_t)rodata_end;
  for (unsigned i = 0; i < EL2_STACKS && err == ERR_OK; i++)
    err = map_around_guard(&from, stack_top_address(i));
  if (err == ERR_OK)
    err = map(from, image_end_address(), PT_R | PT_W);
  return err;
}

err_t mmu_build_ram(pa_t start, pa_t end) {
  uint64_t head = (uint64_t)image_start, tail = image_end_address();
  if (end.v <= head || start.v >= tail)
    return map(start.v, end.v, PT_R | PT_W);
  err_t err = map(start.v, head, PT_R | PT_W);
  if (err == ERR_OK)
    err = map(tail, end.v, PT_R | PT_W);
  return err;
}

err_t mmu_build_device(pa_t start, uint64_t bytes) {
  uint64_t first = align_down(start.v, PAGE_SIZE);
  return map(first, align_up(start.v + bytes, PAGE_SIZE), PT_R | PT_W | PT_DEVICE);
}

void mmu_switch(void) {
  uint64_t sctlr = SCTLR_EL2_RES1 | SCTLR_M | SCTLR_C | SCTLR_I | SCTLR_SA | SCTLR_WXN;
  mmu_secondary = (struct mmu_registers){PT_MAIR_VALUE, tcr_value(), pfn_pa(el2_pt.root_pfn).v, sctlr};
  cache_clean_poc(&mmu_secondary, sizeof(mmu_secondary));
  dsb(ish);
  __asm__ volatile("msr sctlr_el2, %0\n\t"
                   "isb\n\t"
                   "msr ttbr0_el2, %1\n\t"
                   "tlbi alle2\n\t"
                   "dsb nsh\n\t"
                   "isb\n\t"
                   "msr sctlr_el2, %2\n\t"
                   "isb" ::"r"(sctlr & ~SCTLR_M),
                   "r"(mmu_secondary.ttbr0), "r"(sctlr)
                   : "memory");
}

uint8_t *mmu_stack_top(unsigned id) {
  CHECK(id < CPUS_MAX);
  return (uint8_t *)stack_top_address(2 + id);
}
