/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Reaching into an address space that need not be active (Linux: access_remote_vm), through the kernel's own view of the frames. Each page
 * is faulted in as the mm itself would, with the same permissions and the same copy-on-write. Lock: mmap_lock, taken anew for each page, so
 * that a page found is not taken away while it is copied.
 */

#include "core/string.h"
#include "guest/vm/internal.h"

struct transfer {
  unsigned char *buf;
  bool write;
};

/*
 * Copy within one page if it is mapped for the access; else it must be faulted in first: ERR_NOENT, or ERR_PERM if something is mapped.
 * ERR_FAULT: no frame of ours.
 */
static err_t copy_present(struct mm_struct *mm, uint64_t addr, uint64_t len, const struct transfer *t) {
  struct pt_leaf leaf;
  pt_prot_t needed = PT_USER | (t->write ? PT_W : PT_R);
  err_t err = pt_lookup(&mm->pt, addr, &leaf);
  if (err != ERR_OK || (leaf.prot & needed) != needed)
    return err == ERR_OK ? ERR_PERM : ERR_NOENT;
  if (leaf.prot & PT_SW0)
    return ERR_FAULT;
  unsigned char *page = (unsigned char *)port_frame_ptr(pa_pfn(leaf.out)) + (addr & ~PAGE_MASK);
  if (t->write)
    memcpy(page, t->buf, len);
  else
    memcpy(t->buf, page, len);
  return ERR_OK;
}

static err_t fault_in(struct mm_struct *mm, uint64_t addr, unsigned flags) {
  enum vm_fault f = handle_mm_fault(mm, addr, flags);
  if (f == VM_FAULT_OK)
    return ERR_OK;
  return f == VM_FAULT_OOM ? ERR_NOMEM : ERR_FAULT;
}

static err_t copy_page(struct mm_struct *mm, uint64_t addr, uint64_t len, const struct transfer *t) {
  for (;;) {
    port_flags_t irq = mmap_lock(mm);
    err_t err = copy_present(mm, addr, len, t);
    mmap_unlock(mm, irq);
    if (err == ERR_OK || err == ERR_FAULT)
      return err;
    err = fault_in(mm, addr, (t->write ? FAULT_FLAG_WRITE : 0) | (err == ERR_PERM ? FAULT_FLAG_PRESENT : 0));
    if (err != ERR_OK)
      return err;
  }
}

static err_t transfer(struct mm_struct *mm, uint64_t addr, uint64_t len, struct transfer t) {
  if (!access_ok(addr, len))
    return ERR_FAULT;
  while (len > 0) {
    uint64_t part = min_u64(len, PAGE_SIZE - (addr & ~PAGE_MASK));
    err_t err = copy_page(mm, addr, part, &t);
    if (err != ERR_OK)
      return err;
    addr += part;
    len -= part;
    t.buf += part;
  }
  return ERR_OK;
}

err_t mm_read(struct mm_struct *mm, uint64_t addr, void *buf, uint64_t len) {
  return transfer(mm, addr, len, (struct transfer){.buf = buf});
}

err_t mm_write(struct mm_struct *mm, uint64_t addr, const void *buf, uint64_t len) {
  /* The buffer is only read when `write` is set. */
  return transfer(mm, addr, len, (struct transfer){.buf = (unsigned char *)(uintptr_t)buf, .write = true});
}
