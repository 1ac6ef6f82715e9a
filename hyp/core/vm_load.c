/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loading a guest (Linux Documentation/arm64/booting.rst): the Image at RAM base + text_offset, behind it (its bss included) the initrd,
 * then the device tree, all close together so that small guests live in one 2 MiB block. Written in pieces that keep each step short.
 *
 *   ram_base + text_offset    image | bss | initrd (4 KiB aligned) | dtb (4 KiB aligned, within one 2 MiB block)
 */
#include "hyp/core/vm_load.h"
#include "arch/image.h"
#include "core/bits.h"
#include "hyp/arch/features.h"
#include "hyp/arch/fp.h"
#include "hyp/arch/tlb.h"
#include "hyp/core/vm.h"
#include "hyp/dev/dev.h"
#include "hyp/mem/background.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

#define PIECE_BYTES SZ_64K /* copied and cleaned in a step */
#define DTB_ORDER 2u       /* 16 KiB: many times what the generated tree needs */
#define DTB_CAP (PAGE_SIZE << DTB_ORDER)

struct layout {
  uint64_t image, initrd, dtb;
};

static err_t lay_out(const struct vm *vm, struct layout *out) {
  const struct image_header *h = vm->config.image;
  uint64_t end = VM_RAM_BASE + vm->config.memory_bytes;
  if (vm->config.image_bytes < sizeof(*h) || h->magic != IMAGE_MAGIC || (h->flags & IMAGE_FLAGS_BE))
    return ERR_IO;
  uint64_t span = max_u64(h->image_size, vm->config.image_bytes);
  if (h->text_offset >= vm->config.memory_bytes || span > vm->config.memory_bytes)
    return ERR_RANGE;
  out->image = VM_RAM_BASE + h->text_offset;
  out->initrd = align_up(out->image + span, PAGE_SIZE);
  out->dtb = align_up(out->initrd + vm->config.initrd_bytes, PAGE_SIZE);
  if (out->dtb / SZ_2M != (out->dtb + DTB_CAP - 1) / SZ_2M)
    out->dtb = align_up(out->dtb, SZ_2M);
  return vm->config.initrd_bytes <= vm->config.memory_bytes && out->dtb + DTB_CAP <= end ? ERR_OK : ERR_RANGE;
}

ipa_t vm_load_entry(const struct vm *vm) {
  const struct image_header *h = vm->config.image;
  return ipa(VM_RAM_BASE + h->text_offset);
}

/* RAM at `at` gets its frames in a step of its own, since to zero and clean a block takes most of the time one may have. ERR_AGAIN then. */
static err_t back_first(struct vm *vm, uint64_t at) {
  pa_t out;
  err_t err = stage2_lookup(&vm->s2, ipa(at), &out);
  if (err != ERR_NOENT)
    return err;
  err = stage2_populate(&vm->s2, ipa(at));
  return err == ERR_OK ? ERR_AGAIN : err;
}

static err_t load_dtb(struct vm *vm, const struct layout *at) {
  pfn_t f;
  err_t err = page_alloc(DTB_ORDER, ALLOC_UNMOVABLE | ALLOC_RETURN_CORE | ALLOC_EFFORT, &f);
  if (err != ERR_OK)
    return err;
  fp_section_begin();
  uint64_t bytes = dev_build_fdt(vm, port_frame_ptr(f), DTB_CAP, ipa(at->initrd), ipa(at->initrd + vm->config.initrd_bytes));
  fp_section_end();
  err = bytes ? stage2_write(&vm->s2, ipa(at->dtb), port_frame_ptr(f), bytes) : ERR_NOSPC;
  page_free(f, DTB_ORDER);
  vm->dtb = ipa(at->dtb);
  return err;
}

/* Write what follows `*done` of `bytes`, and count it there. ERR_AGAIN if it could not be written in this step. */
static err_t load_piece(struct vm *vm, uint64_t to, const void *from, uint64_t bytes, uint64_t *done) {
  uint64_t n = min_u64(PIECE_BYTES, bytes - *done);
  err_t err = back_first(vm, to + *done);
  if (err == ERR_OK)
    err = back_first(vm, to + *done + n - 1);
  if (err == ERR_OK)
    err = stage2_write(&vm->s2, ipa(to + *done), (const char *)from + *done, n);
  if (err == ERR_OK)
    *done += n;
  return err;
}

err_t vm_load_step(struct vm *vm) {
  struct layout at;
  const struct vm_config *c = &vm->config;
  err_t err = lay_out(vm, &at);
  if (err != ERR_OK)
    return err;
  uint64_t done = vm->load_done;
  if (done < c->image_bytes) {
    err = load_piece(vm, at.image, c->image, c->image_bytes, &vm->load_done);
  } else if (done - c->image_bytes < c->initrd_bytes) {
    done -= c->image_bytes;
    err = load_piece(vm, at.initrd, c->initrd, c->initrd_bytes, &done);
    vm->load_done = c->image_bytes + done;
  } else {
    err = back_first(vm, at.dtb);
    if (err == ERR_OK)
      err = load_dtb(vm, &at);
    if (err == ERR_AGAIN)
      return err;
    if (features.needs_ic)
      icache_flush_all(); /* the image was written as data (Arm ARM B2.4.4) */
    return err;
  }
  return err == ERR_OK ? ERR_AGAIN : err;
}
