/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Private file mappings: each first touch reads the page into a frame of this mm's own (there is no page cache to share it
 * from), mapped as the VMA allows. From then on it is like anonymous memory: fork shares it copy-on-write, a write to an exclusive
 * frame needs no copy. Lock: mmap_lock, also while the file reads the page.
 */

#include "guest/vm/internal.h"

static void file_open(struct vm_area_struct *vma) {
  vma->vm_file->ops->get(vma->vm_file);
}

static void file_close(struct vm_area_struct *vma) {
  vma->vm_file->ops->put(vma->vm_file);
}

static err_t file_fault(struct vm_area_struct *vma, struct vm_fault_page *vmf) {
  struct vm_file *file = vma->vm_file;
  err_t err = user_page_alloc(rmap_key(RMAP_FILE, vma->vm_mm->rmap_id, vmf->addr), &vmf->frame);
  if (err != ERR_OK)
    return err;
  err = file->ops->read_page(file, vmf->pgoff, port_frame_ptr(vmf->frame));
  if (err != ERR_OK)
    user_page_put(vmf->frame);
  return err;
}

const struct vm_operations file_private_vm_ops = {
    .name = "file",
    .open = file_open,
    .close = file_close,
    .fault = file_fault,
};
