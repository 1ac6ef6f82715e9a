/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What an address space looks like, for reports: its VMAs as /proc/PID/maps shows them, and its counters. Lock: mmap_lock, for one line
 * or one snapshot at a time, so a list of lines may mix two moments; no line is torn.
 */

#include "core/format.h"
#include "guest/vm/internal.h"

static const char *region_name(const struct mm_struct *mm, const struct vm_area_struct *vma) {
  if (vma->vm_ops == &file_private_vm_ops || vma->vm_ops == &pfnmap_vm_ops)
    return vma->vm_file->name;
  if (vma->vm_ops == &shared_vm_ops)
    return "[shared]";
  if (vma->vm_flags & VM_GROWSDOWN)
    return "[stack]";
  return vma->vm_start < mm->brk && vma->vm_end > mm->start_brk ? "[heap]" : "";
}

bool mm_next_region(struct mm_struct *mm, struct vm_region *region) {
  port_flags_t irq = mmap_lock(mm);
  const struct vm_area_struct *vma = find_vma(mm, region->end);
  if (vma) {
    region->start = vma->vm_start;
    region->end = vma->vm_end;
    region->flags = vma->vm_flags;
    region->pgoff = vma->vm_ops ? vma->vm_pgoff : 0;
    region->name = region_name(mm, vma);
  }
  mmap_unlock(mm, irq);
  return vma != NULL;
}

int vm_region_format(const struct vm_region *region, char *to, size_t cap) {
  vm_flags_t flags = region->flags;
  return format(to, cap, "%010lx-%010lx %c%c%c%c %08lx %s", region->start, region->end, flags & VM_READ ? 'r' : '-',
                flags & VM_WRITE ? 'w' : '-', flags & VM_EXEC ? 'x' : '-', flags & VM_SHARED ? 's' : 'p', region->pgoff << PAGE_SHIFT,
                region->name);
}

void mm_read_stats(struct mm_struct *mm, struct mm_stats *out) {
  port_flags_t irq = mmap_lock(mm);
  vm_update_hiwater(mm);
  out->total_vm = mm->total_vm;
  out->committed_vm = mm->committed_vm;
  out->hiwater_rss = mm->hiwater_rss;
  out->table_frames = mm->pt.table_frames;
  out->map_count = mm->map_count;
  for (unsigned kind = 0; kind < MM_RSS_KINDS; kind++)
    out->rss[kind] = mm->rss[kind];
  for (unsigned kind = 0; kind < FAULT_KINDS; kind++)
    out->faults[kind] = mm->faults[kind];
  mmap_unlock(mm, irq);
}
