/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's address space: built once at boot, W^X, and hardly ever changed afterwards (devices). Owns the kernel's struct pt, and the
 * boot tables until they are replaced. Everything in it is global, so that an ASID says nothing about it. The boot CPU writes it
 * alone; there is no lock.
 *
 * The real tables come from the buddy, which needs the linear map: so the boot tables first map all RAM, coarsely and writable, and are
 * given up a moment later.
 */
#include "guest/arch/mmu.h"

#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "core/check.h"
#include "core/string.h"
#include "guest/arch/machine.h"
#include "guest/vm/vm.h"
#include "mm/page_alloc.h"
#include "mm/pgtable.h"

extern char __image_start[], __text_end[], __rodata_end[], __image_end[];
extern uint64_t boot_idmap[512], boot_upper[512], boot_l2_linear[512], empty_table[512];
void mmu_replace_ttbr1(uint64_t ttbr1);

static struct pt kernel_pt;
static pa_t image_base;
uint64_t empty_table_pa; /* read by assembly */

#define DESC_BLOCK_NORMAL 0x40000000000705ull /* as in start.S */
#define DESC_AP_RO BIT(7)
#define DESC_TABLE 3u
#define SPARE_TABLES 4u /* GiBs of RAM that are not whole, and the device tree's */

void mmu_early_init(pa_t base) {
  image_base = base;
  empty_table_pa = image_pa(empty_table).v;
}

pa_t image_pa(const void *symbol) {
  return pa((uint64_t)symbol - KERNEL_BASE + image_base.v);
}

/* ---- Tables ---- */

static err_t kernel_table_alloc(struct pt *pt, pfn_t *out) {
  (void)pt;
  return page_alloc(0, ALLOC_UNMOVABLE | ALLOC_ZERO | ALLOC_RETURN_CORE, out);
}

static void kernel_table_free(struct pt *pt, pfn_t table) {
  (void)pt;
  page_free(table, 0);
}

/* Global entries belong to every ASID: the all-ASID form, of all levels when tables went. */
static void kernel_tlb_flush(struct pt *pt, uint64_t ia, uint64_t size, unsigned level, bool tables) {
  (void)pt, (void)level;
  dsb(ishst);
  if (tables || size > 64 * PAGE_SIZE) {
    __asm__ volatile("tlbi vmalle1is" ::: "memory");
  } else {
    for (uint64_t a = LINEAR_BASE | ia; size > 0; a += PAGE_SIZE, size -= PAGE_SIZE)
      __asm__ volatile("tlbi vaale1is, %0" ::"r"(bits_get(a, 55, 12)) : "memory");
  }
  dsb(ish);
  isb();
}

static void kernel_publish(struct pt *pt) {
  (void)pt;
  dsb(ishst);
  isb();
}

static const struct pt_ops kernel_pt_ops = {
    .name = "kernel",
    .leaf = pt_leaf_el1,
    .prot = pt_prot_el1,
    .table_alloc = kernel_table_alloc,
    .table_free = kernel_table_free,
    .tlb_flush = kernel_tlb_flush,
    .publish = kernel_publish,
};

#define PROT_TEXT (PT_R | PT_X | PT_GLOBAL)
#define PROT_RODATA (PT_R | PT_GLOBAL)
#define PROT_DATA (PT_R | PT_W | PT_GLOBAL)
#define PROT_DEVICE (PT_R | PT_W | PT_GLOBAL | PT_DEVICE)

/* A TTBR1 address without its sign bits. */
static uint64_t upper_ia(uint64_t addr) {
  return addr & (BIT(VA_BITS) - 1);
}

static err_t map_image(void) {
  const struct {
    const char *start, *end;
    pt_prot_t prot;
  } part[] = {{__image_start, __text_end, PROT_TEXT}, {__text_end, __rodata_end, PROT_RODATA}, {__rodata_end, __image_end, PROT_DATA}};
  for (unsigned i = 0; i < ARRAY_SIZE(part); i++) {
    err_t e = pt_map(&kernel_pt, upper_ia((uint64_t)part[i].start), image_pa(part[i].start), (uint64_t)(part[i].end - part[i].start),
                     part[i].prot, SZ_4K);
    if (e != ERR_OK)
      return e;
  }
  return ERR_OK;
}

static err_t map_linear(uint64_t start, uint64_t end, pt_prot_t prot) {
  if (start >= end)
    return ERR_OK;
  return pt_map(&kernel_pt, upper_ia(LINEAR_BASE + start), pa(start), end - start, prot, SZ_1G);
}

/* The linear map is a second door to the image: its text and rodata are read-only through it too. */
static err_t map_ram(struct mem_range r) {
  uint64_t start = pfn_pa(r.start).v, end = pfn_pa(r.end).v;
  uint64_t ro_start = image_base.v, ro_end = image_pa(__rodata_end).v;
  if (ro_start < start || ro_end > end)
    return map_linear(start, end, PROT_DATA);
  err_t e = map_linear(start, ro_start, PROT_DATA);
  if (e == ERR_OK)
    e = map_linear(ro_start, ro_end, PROT_RODATA);
  return e == ERR_OK ? map_linear(ro_end, end, PROT_DATA) : e;
}

/* ---- Boot ---- */

/* The table of 2 MiB blocks for the GiB of `addr`, made of a spare one if need be; NULL if there is none left. */
static uint64_t *boot_l2(uint64_t addr) {
  static uint64_t spare[SPARE_TABLES][512] ALIGNED(4096);
  static uint64_t spare_gib[SPARE_TABLES];
  static unsigned spares;
  uint64_t gib = bits_get(addr, 38, 30);
  if (gib == bits_get(image_base.v, 38, 30))
    return boot_l2_linear;
  for (unsigned i = 0; i < spares; i++)
    if (spare_gib[i] == gib)
      return spare[i];
  if (spares == SPARE_TABLES || boot_upper[gib] != 0)
    return NULL;
  spare_gib[spares] = gib;
  port_pte_store(&boot_upper[gib], image_pa(spare[spares]).v | DESC_TABLE);
  return spare[spares++];
}

err_t mmu_boot_map(pa_t start, uint64_t bytes) {
  uint64_t a = align_down(start.v, SZ_2M), end = start.v + bytes, step;
  for (; a < end; a += step) {
    uint64_t *slot = &boot_upper[bits_get(a, 38, 30)], *l2;
    step = SZ_2M;
    if (is_aligned(a, SZ_1G) && end - a >= SZ_1G && *slot == 0) {
      step = SZ_1G;
      port_pte_store(slot, a | DESC_BLOCK_NORMAL);
    } else if ((l2 = boot_l2(a)) != NULL) {
      port_pte_store(&l2[bits_get(a, 29, 21)], a | DESC_BLOCK_NORMAL);
    } else if (*slot == 0) {
      return ERR_NOSPC;
    }
  }
  dsb(ishst);
  isb();
  return ERR_OK;
}

/* All that stays in the idmap is the image's own block, for the moment a secondary CPU switches its MMU on: read-only from now. */
static void seal_idmap(void) {
  uint64_t own = bits_get(image_base.v, 29, 21);
  for (unsigned i = 0; i < 512; i++)
    if (boot_l2_linear[i] != 0)
      port_pte_store(&boot_l2_linear[i], i == own ? image_base.v | DESC_BLOCK_NORMAL | DESC_AP_RO : 0);
  dsb(ishst);
  __asm__ volatile("tlbi vmalle1" ::: "memory");
  dsb(nsh);
  isb();
}

static void switch_tables(void) {
  void (*replace)(uint64_t) = (void (*)(uint64_t))image_pa((const void *)mmu_replace_ttbr1).v;
  replace(pfn_pa(kernel_pt.root_pfn).v);
  sysreg_write(ttbr0_el1, empty_table_pa);
  isb();
  seal_idmap();
}

err_t mmu_init(const struct machine *m) {
  pfn_t root;
  err_t e = kernel_table_alloc(&kernel_pt, &root);
  if (e == ERR_OK)
    e = pt_init(&kernel_pt, &kernel_pt_ops, root, 1, 0, VA_BITS, PT_FEAT_S1, 0);
  if (e == ERR_OK)
    e = map_image();
  for (unsigned i = 0; e == ERR_OK && i < m->ram_count; i++)
    e = map_ram(m->ram[i]);
  if (e == ERR_OK)
    switch_tables();
  return e;
}

err_t mmu_map_device(pa_t a, uint64_t bytes) {
  uint64_t start = align_down(a.v, PAGE_SIZE), end = align_up(a.v + bytes, PAGE_SIZE);
  return pt_map(&kernel_pt, upper_ia(LINEAR_BASE + start), pa(start), end - start, PROT_DEVICE, SZ_2M);
}

void mmu_unmap_device(pa_t a, uint64_t bytes) {
  uint64_t start = align_down(a.v, PAGE_SIZE), end = align_up(a.v + bytes, PAGE_SIZE);
  err_t e = pt_unmap(&kernel_pt, upper_ia(LINEAR_BASE + start), end - start, NULL, NULL);
  CHECK(e == ERR_OK); /* nothing is split, so nothing is allocated */
}

/* Beside the engine, which would look into the table. The slot is the last GiB of the address space, which nothing else uses. */
const void *mmu_hang_table(pfn_t table) {
  uint64_t *slot = (uint64_t *)kernel_pt.root + 511;
  CHECK(*slot == 0);
  port_pte_store(slot, pfn_pa(table).v | DESC_TABLE);
  kernel_publish(&kernel_pt);
  return (const void *)(~(uint64_t)0 << 30);
}

void mmu_drop_table(void) {
  port_pte_store((uint64_t *)kernel_pt.root + 511, 0);
  kernel_tlb_flush(&kernel_pt, 0, PAGE_SIZE, 2, true);
}

uint64_t mmu_kernel_ttbr(void) {
  return pfn_pa(kernel_pt.root_pfn).v;
}

void mmu_switch_mm(struct mm_struct *mm) {
  uint64_t ttbr0 = empty_table_pa;
  if (mm != NULL) {
    struct mm_active active = mm_activate(mm);
    ttbr0 = active.root.v | (uint64_t)active.asid << 48;
  }
  sysreg_write(ttbr0_el1, ttbr0);
  isb();
}
