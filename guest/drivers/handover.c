/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory between processes of different VMs. A process gives anonymous pages of its own; they are pinned while another VM has them, and a
 * donation takes them out of the process and out of this kernel (FRAME_BAD: withdrawn). What is taken lies in the window, which processes
 * map as a device's memory (guest/vm/pfnmap.c).
 *
 *      window   [ taken, mapped by processes ...                | adopted: donated to us, given to the allocator ]
 *                                                               ^ file.window ends here
 *
 * Owns the regions that this VM gave and the window. The window's frames are in the frame table, but handed out at boot (memory.c), so what
 * is donated to us can become RAM: adopted from the window's end, while nobody maps anything of it. That is refused where a balloon device
 * takes frames, for the window is not RAM to the hypervisor, which would not have it back. Lock: `lock`, a leaf but for ffa's; calls that
 * allocate or fault hold none.
 */
#include "guest/drivers/handover.h"

#include "abi/linux.h"
#include "core/bits.h"
#include "core/string.h"
#include "guest/arch/machine.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/ffa.h"
#include "guest/drivers/virtio/balloon.h"
#include "guest/kernel/console.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/task.h"
#include "guest/vm/gfp.h"
#include "guest/vm/vm.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

#define REGIONS 16u
#define DONATED 1u /* frame->private of a page of the window */

/* What was shared or lent: its frames stay pinned until it is reclaimed. */
struct region {
  uint64_t handle; /* 0: free */
  unsigned count;
  pfn_t *frames; /* a page of them */
};

static struct {
  struct port_lock lock;
  struct vm_file file;
  struct vm_window window;
  unsigned references; /* descriptors and mappings of the device */
  struct region region[REGIONS];
  uint64_t given, adopted; /* pages that left for good, and that came */
} dev;

static port_flags_t lock(void) {
  port_flags_t flags = port_irq_save();
  port_lock_acquire(&dev.lock);
  return flags;
}

static void unlock(port_flags_t flags) {
  port_lock_release(&dev.lock);
  port_irq_restore(flags);
}

/* ---- the file ---- */

static void get(struct vm_file *file) {
  (void)file;
  (void)__atomic_add_fetch(&dev.references, 1, __ATOMIC_RELAXED);
}

static void put(struct vm_file *file) {
  (void)file;
  (void)__atomic_sub_fetch(&dev.references, 1, __ATOMIC_RELEASE);
}

/* Nobody asks: a file with a window is only mapped as it is. */
static err_t read_page(struct vm_file *file, uint64_t pgoff, void *to) {
  (void)file, (void)pgoff, (void)to;
  return ERR_IO;
}

static const struct vm_file_ops ops = {.read_page = read_page, .get = get, .put = put};

void handover_init(const struct machine *m) {
  if (m->window_bytes == 0 || ffa_init() != ERR_OK)
    return;
  dev.window = (struct vm_window){.start = m->window, .bytes = m->window_bytes};
  dev.file = (struct vm_file){.ops = &ops, .name = HANDOVER_DEV_PATH, .window = &dev.window};
}

struct vm_file *handover_find(const char *path) {
  return dev.file.ops != NULL && strcmp(path, HANDOVER_DEV_PATH) == 0 ? &dev.file : NULL;
}

/* ---- giving ---- */

static pfn_t *frames_alloc(void) {
  pfn_t f;
  _Static_assert(HANDOVER_DEV_PAGES_MAX * sizeof(pfn_t) <= PAGE_SIZE, "one page holds them");
  return page_alloc(0, GFP_KERNEL | ALLOC_RETURN_CORE, &f) == ERR_OK ? linear_va(pfn_pa(f)) : NULL;
}

static void frames_free(pfn_t *frames) {
  page_free(pa_pfn(linear_pa(frames)), 0);
}

/* Room for one region more, which is nobody else's from now on. */
static struct region *region_reserve(pfn_t *frames, unsigned count) {
  struct region *found = NULL;
  port_flags_t flags = lock();
  for (unsigned i = 0; i < REGIONS && found == NULL; i++)
    if (dev.region[i].frames == NULL)
      found = &dev.region[i];
  if (found != NULL)
    *found = (struct region){0, count, frames};
  unlock(flags);
  return found;
}

static void region_forget(struct region *r) {
  port_flags_t flags = lock();
  pfn_t *frames = r->frames;
  *r = (struct region){0};
  unlock(flags);
  frames_free(frames);
}

/*
 * The pages are the other VM's: out of the process, then out of the allocator. Where there is no memory for cutting a VMA they stay pinned
 * in a region without a handle, and each access is answered by an abort.
 */
static err_t part_with(const struct handover_dev *call, struct region *r) {
  err_t e = do_munmap(current_task()->mm, call->address, (uint64_t)call->pages * PAGE_SIZE);
  if (e != ERR_OK)
    return e;
  withdraw_user_pages(r->count, r->frames);
  (void)__atomic_add_fetch(&dev.given, r->count, __ATOMIC_RELAXED);
  region_forget(r);
  return ERR_OK;
}

static err_t pin_and_send(struct handover_dev *call, const struct region *r) {
  static const uint32_t fids[] = {FFA_MEM_SHARE_32, FFA_MEM_LEND_32, FFA_MEM_DONATE_32};
  err_t e = pin_user_pages(current_task()->mm, call->address, r->count, r->frames);
  if (e != ERR_OK)
    return e;
  call->ipa = pfn_pa(r->frames[0]).v;
  e = ffa_give(fids[call->kind], call->vm, r->frames, r->count, &call->handle);
  if (e != ERR_OK)
    unpin_user_pages(r->count, r->frames);
  return e;
}

static err_t give(struct handover_dev *call) {
  if (call->kind > HANDOVER_DEV_DONATE || call->pages == 0 || call->pages > HANDOVER_DEV_PAGES_MAX)
    return ERR_INVAL;
  pfn_t *frames = frames_alloc();
  if (frames == NULL)
    return ERR_NOMEM;
  struct region *r = region_reserve(frames, call->pages);
  if (r == NULL) {
    frames_free(frames);
    return ERR_NOSPC;
  }
  err_t e = pin_and_send(call, r);
  if (e != ERR_OK)
    region_forget(r);
  else if (call->kind == HANDOVER_DEV_DONATE)
    e = part_with(call, r);
  else
    __atomic_store_n(&r->handle, call->handle, __ATOMIC_RELEASE);
  return e;
}

/* Whoever finds it first reclaims it: the handle is taken out, and put back if the other VM still has the pages. */
static struct region *region_take(uint64_t handle) {
  struct region *found = NULL;
  port_flags_t flags = lock();
  for (unsigned i = 0; i < REGIONS && found == NULL; i++)
    if (handle != 0 && dev.region[i].handle == handle)
      found = &dev.region[i];
  if (found != NULL)
    found->handle = 0;
  unlock(flags);
  return found;
}

static err_t reclaim(const struct handover_dev *call) {
  struct region *r = region_take(call->handle);
  if (r == NULL)
    return ERR_NOENT;
  err_t e = ffa_reclaim(call->handle);
  if (e != ERR_OK) {
    __atomic_store_n(&r->handle, call->handle, __ATOMIC_RELEASE);
    return e;
  }
  unpin_user_pages(r->count, r->frames);
  region_forget(r);
  return ERR_OK;
}

/* ---- taking ---- */

static struct frame *window_frame(uint64_t offset) {
  return frame_of(pa_pfn(pa(dev.window.start.v + offset)));
}

static bool lies_in_window(uint64_t offset, uint64_t pages) {
  return is_aligned(offset, PAGE_SIZE) && pages != 0 && offset < dev.window.bytes && pages <= (dev.window.bytes - offset) / PAGE_SIZE;
}

/* What was donated is marked in the frame table: only that may be adopted. */
static err_t take(const struct handover_dev *call) {
  static const uint32_t types[] = {FFA_FLAG_TYPE_SHARE, FFA_FLAG_TYPE_LEND, FFA_FLAG_TYPE_DONATE};
  port_flags_t flags = lock();
  err_t e = call->kind <= HANDOVER_DEV_DONATE && lies_in_window(call->offset, call->pages) ? ERR_OK : ERR_INVAL;
  if (e == ERR_OK)
    e = ffa_retrieve(call->handle, pa(dev.window.start.v + call->offset), call->pages, types[call->kind]);
  for (uint64_t i = 0; e == ERR_OK && call->kind == HANDOVER_DEV_DONATE && i < call->pages; i++)
    window_frame(call->offset + i * PAGE_SIZE)->private = DONATED;
  unlock(flags);
  return e;
}

static bool are_donated(uint64_t from, uint64_t end) {
  for (; from < end; from += PAGE_SIZE)
    if (window_frame(from)->private != DONATED)
      return false;
  return true;
}

/* The last pages of the window; the caller alone has the device open, and nobody maps it. */
static err_t adopt(const struct handover_dev *call) {
  port_flags_t flags = lock();
  uint64_t bytes = (uint64_t)call->pages * PAGE_SIZE;
  err_t e = call->pages != 0 && bytes <= dev.window.bytes ? ERR_OK : ERR_INVAL;
  if (e == ERR_OK && !are_donated(dev.window.bytes - bytes, dev.window.bytes))
    e = ERR_PERM;
  if (e == ERR_OK && (balloon_is_there() || __atomic_load_n(&dev.references, __ATOMIC_ACQUIRE) != 1))
    e = ERR_BUSY;
  if (e == ERR_OK)
    dev.window.bytes -= bytes;
  uint64_t from = dev.window.bytes;
  unlock(flags);
  for (uint64_t at = from; e == ERR_OK && at < from + bytes; at += PAGE_SIZE) {
    window_frame(at)->private = 0;
    page_free(frame_pfn(window_frame(at)), 0);
  }
  if (e == ERR_OK)
    (void)__atomic_add_fetch(&dev.adopted, call->pages, __ATOMIC_RELAXED);
  return e;
}

static void tell(struct handover_dev *call) {
  call->vm = ffa_id();
  call->offset = dev.window.bytes;
  call->free_pages = page_free_frames();
  call->given_pages = dev.given;
  call->adopted_pages = dev.adopted;
}

int64_t handover_ioctl(uint32_t request, struct handover_dev *call) {
  switch (request) {
  case HANDOVER_DEV_INFO:
    tell(call);
    return 0;
  case HANDOVER_DEV_GIVE:
    return errno_of(give(call));
  case HANDOVER_DEV_RECLAIM:
    return errno_of(reclaim(call));
  case HANDOVER_DEV_TAKE:
    return errno_of(take(call));
  case HANDOVER_DEV_RELINQUISH:
    return errno_of(ffa_relinquish(call->handle));
  case HANDOVER_DEV_ADOPT:
    return errno_of(adopt(call));
  }
  return -LINUX_ENOTTY;
}
