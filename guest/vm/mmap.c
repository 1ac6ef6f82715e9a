/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * mmap(2): validation, placement, backing, commit charge, and the new VMA.
 *
 * do_mmap() first gets everything that can fail (a shared object, the commit charge, VMAs for the new range and where MAP_FIXED cuts one in
 * two), then commits, so an error leaves the address space as it was; in this it is stricter than Linux, which may have unmapped the old
 * range by then. Lock: mmap_lock, taken by do_mmap(). Refuses shared mappings of files other than a device's window, and huge pages.
 */

#include "guest/vm/internal.h"

/* What a mapping is made of, taken before the first change. */
struct mapping {
  struct vma_kind kind;
  uint64_t addr, len, pgoff;
  uint64_t charged_pages;
};

/* By VM_READ, VM_WRITE, VM_EXEC: whatever is allowed can be read. Without any the page is kept, and EL0 cannot reach it. */
const pt_prot_t vm_page_prots[VM_ACCESS_FLAGS + 1] = {
    [0] = PT_R,
    [VM_READ] = PT_R | PT_USER,
    [VM_WRITE] = PT_R | PT_W | PT_USER,
    [VM_READ | VM_WRITE] = PT_R | PT_W | PT_USER,
    [VM_EXEC] = PT_R | PT_UX | PT_USER,
    [VM_READ | VM_EXEC] = PT_R | PT_UX | PT_USER,
    [VM_WRITE | VM_EXEC] = PT_R | PT_W | PT_UX | PT_USER,
    [VM_ACCESS_FLAGS] = PT_R | PT_W | PT_UX | PT_USER,
};

static void init_vma(struct vm_area_struct *vma, uint64_t addr, uint64_t len, const struct vma_kind *kind, uint64_t pgoff) {
  vma->vm_start = addr;
  vma->vm_end = addr + len;
  vma->vm_ops = kind->ops;
  vma->vm_backing = kind->backing;
  vma->vm_pgoff = pgoff;
  vma->vm_flags = kind->flags;
  vma->vm_page_prot = vm_get_page_prot(kind->flags);
  vma->faulted = false;
}

struct vm_area_struct *mmap_region(struct mm_struct *mm, struct vm_area_struct *prev, uint64_t addr, uint64_t len,
                                   const struct vma_kind *kind, uint64_t pgoff) {
  mm->total_vm += len >> PAGE_SHIFT;
  struct vm_area_struct *vma = vma_merge(mm, prev, addr, addr + len, kind, pgoff);
  if (vma)
    return vma;
  vma = vm_area_take(mm);
  init_vma(vma, addr, len, kind, pgoff);
  vma_link(mm, vma, prev);
  if (vma->vm_ops)
    vma->vm_ops->open(vma);
  return vma;
}

static vm_flags_t calc_vm_flags(unsigned prot, unsigned flags, const struct vm_file *file) {
  vm_flags_t vm_flags = prot & VM_ACCESS_FLAGS;
  if (flags & MAP_GROWSDOWN)
    vm_flags |= VM_GROWSDOWN;
  if (flags & MAP_NORESERVE)
    vm_flags |= VM_NORESERVE;
  if ((flags & MAP_TYPE) != MAP_PRIVATE)
    vm_flags |= VM_SHARED;
  if (file && file->window)
    vm_flags |= VM_PFNMAP;
  if (vm_accountable(vm_flags))
    vm_flags |= VM_ACCOUNT;
  return vm_flags;
}

/* A private mapping would need frames for its copies. */
static err_t check_window(const struct vm_window *window, uint64_t len, unsigned prot, unsigned type, uint64_t pgoff) {
  uint64_t pages = window->bytes >> PAGE_SHIFT;
  if (type == MAP_PRIVATE || pgoff > pages || len >> PAGE_SHIFT > pages - pgoff)
    return ERR_INVAL;
  return prot & PROT_EXEC ? ERR_PERM : ERR_OK;
}

static err_t check_request(uint64_t *len, unsigned prot, unsigned flags, const struct vm_file *file, uint64_t pgoff) {
  unsigned type = flags & MAP_TYPE;
  if (*len == 0 || (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) || (flags & MAP_HUGETLB))
    return ERR_INVAL;
  if (*len > TASK_SIZE)
    return ERR_NOMEM;
  *len = align_up(*len, PAGE_SIZE);
  if (pgoff + (*len >> PAGE_SHIFT) < pgoff)
    return ERR_RANGE;
  if (type != MAP_PRIVATE && type != MAP_SHARED && !(file && type == MAP_SHARED_VALIDATE))
    return ERR_INVAL;
  if (file && (flags & MAP_GROWSDOWN))
    return ERR_INVAL;
  if (type == MAP_SHARED && (flags & MAP_GROWSDOWN))
    return ERR_INVAL;
  if (!file || (type == MAP_PRIVATE && !file->window))
    return ERR_OK;
  return file->window ? check_window(file->window, *len, prot, type, pgoff) : ERR_UNSUPPORTED;
}

/* Field by field: an initialiser would clear the whole by a call. */
static void init_mapping(struct mapping *map, uint64_t len, vm_flags_t flags) {
  map->kind.flags = flags;
  map->kind.ops = NULL;
  map->kind.backing = NULL;
  map->len = len;
  map->charged_pages = 0;
}

static err_t take_backing(struct mapping *map, struct vm_file *file, uint64_t pgoff) {
  if (file) {
    map->kind.ops = file->window ? &pfnmap_vm_ops : &file_private_vm_ops;
    map->kind.backing = file;
    map->pgoff = pgoff;
    return ERR_OK;
  }
  if (!(map->kind.flags & VM_SHARED))
    return ERR_OK;
  map->kind.ops = &shared_vm_ops;
  map->pgoff = 0;
  struct vm_shared *shared = NULL;
  err_t err = vm_shared_create(map->len >> PAGE_SHIFT, !(map->kind.flags & VM_NORESERVE), &shared);
  map->kind.backing = shared;
  return err;
}

static void drop(struct mapping *map) {
  if (map->kind.ops == &shared_vm_ops && map->kind.backing)
    vm_shared_put(map->kind.backing);
  vm_uncommit(map->charged_pages);
}

/*
 * A VMA for the new range, reserved even where a neighbour may grow instead: it stays with the mm and costs nothing the next time. And one
 * for the upper part of a VMA that a fixed mapping cuts in two.
 */
static err_t reserve_vmas(struct mm_struct *mm, const struct mapping *map, bool replaces) {
  bool splits = replaces && unmap_splits(mm, map->addr, map->addr + map->len);
  if (mm->map_count + splits >= MAX_MAP_COUNT)
    return ERR_NOMEM;
  return vm_area_reserve(mm, 1 + splits);
}

static err_t take_charge(struct mapping *map) {
  if (!(map->kind.flags & VM_ACCOUNT))
    return ERR_OK;
  uint64_t pages = map->len >> PAGE_SHIFT;
  err_t err = vm_commit(pages);
  if (err == ERR_OK)
    map->charged_pages = pages;
  return err;
}

static void commit_mapping(struct mm_struct *mm, struct mapping *map, struct vm_area_struct *prev, bool replaces) {
  if (replaces) {
    unmap_region(mm, map->addr, map->addr + map->len);
    (void)find_vma_prev(mm, map->addr, &prev);
  }
  mm->committed_vm += map->charged_pages;
  mm->mmap_cache = mmap_region(mm, prev, map->addr, map->len, &map->kind, map->pgoff);
  /* The VMA has its own reference now. */
  if (map->kind.ops == &shared_vm_ops)
    vm_shared_put(map->kind.backing);
}

static err_t map_locked(struct mm_struct *mm, uint64_t hint, unsigned flags, struct vm_file *file, uint64_t pgoff, struct mapping *map) {
  struct vm_area_struct *prev = NULL;
  err_t err = get_unmapped_area(mm, hint, map->len, flags, &map->addr, &prev);
  if (err != ERR_OK)
    return err;
  const struct vm_area_struct *next = prev ? prev->vm_next : mm->mmap;
  bool replaces = next && next->vm_start < map->addr + map->len;
  map->pgoff = map->addr >> PAGE_SHIFT;
  err = take_backing(map, file, pgoff);
  if (err == ERR_OK)
    err = reserve_vmas(mm, map, replaces);
  if (err == ERR_OK)
    err = take_charge(map);
  if (err == ERR_OK)
    commit_mapping(mm, map, prev, replaces);
  else
    drop(map);
  return err;
}

/* As far as memory goes: a page that cannot be had now faults later. */
static void populate(struct mm_struct *mm, uint64_t start, uint64_t end, unsigned prot) {
  unsigned access = prot & PROT_WRITE ? FAULT_FLAG_WRITE : prot & PROT_READ ? 0 : FAULT_FLAG_EXEC;
  if (!(prot & (PROT_READ | PROT_WRITE | PROT_EXEC)))
    return;
  for (uint64_t addr = start; addr < end; addr += PAGE_SIZE) {
    if (handle_mm_fault(mm, addr, access) != VM_FAULT_OK)
      return;
  }
}

err_t do_mmap(struct mm_struct *mm, uint64_t addr, uint64_t len, unsigned prot, unsigned flags, struct vm_file *file, uint64_t pgoff,
              uint64_t *out) {
  err_t err = check_request(&len, prot, flags, file, pgoff);
  if (err != ERR_OK)
    return err;
  struct mapping map;
  init_mapping(&map, len, calc_vm_flags(prot, flags, file));
  port_flags_t irq = mmap_lock(mm);
  err = map_locked(mm, addr, flags, file, pgoff, &map);
  mmap_unlock(mm, irq);
  if (err != ERR_OK)
    return err;
  *out = map.addr;
  if ((flags & (MAP_POPULATE | MAP_LOCKED)) && !(map.kind.flags & VM_PFNMAP))
    populate(mm, map.addr, map.addr + len, prot);
  return ERR_OK;
}
