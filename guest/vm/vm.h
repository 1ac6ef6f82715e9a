/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_VM_H
#define GUEST_VM_VM_H

/*
 * The VM layer as the guest kernel sees it. Every function takes mmap_lock itself; the caller holds no lock of order 2 or below
 * (mm_types.h) and need not mask interrupts. Addresses and lengths come straight from user space: anything is a legal argument, and is
 * answered, never trusted. On an error nothing has changed, unless said otherwise.
 *
 * Errors map to Linux's errno one to one:
 *   ERR_NOMEM ENOMEM, ERR_INVAL EINVAL, ERR_EXIST EEXIST, ERR_PERM EPERM, ERR_RANGE EOVERFLOW, ERR_UNSUPPORTED ENODEV, ERR_FAULT EFAULT,
 *   ERR_IO EIO.
 */

#include "core/err.h"
#include "core/types.h"
#include "guest/vm/mm_types.h"
#include "guest/vm/mman.h"

/* Frames of user pages and tables carry this owner in the frame table. */
#define OWNER_USER ((owner_t)1)

/* ---- Set-up ---- */

/* Once, at boot, after page_alloc_init(): slabs, the zero page, ASIDs of `asid_bits` (8 or 16). ERR_NOMEM, ERR_INVAL. */
MUST_CHECK err_t vm_init(unsigned asid_bits);
/* Give unused slab memory of the VM layer back to the page allocator. Returns the frames that went. */
uint64_t vm_shrink_slabs(void);

/* ---- Address spaces ---- */

/* An empty address space with one user. ERR_NOMEM. */
MUST_CHECK err_t mm_alloc(struct mm_struct **out);
/* A copy of `old` for fork: private pages become copy-on-write in both, shared objects are shared. ERR_NOMEM (then only harmless traces are
 * left in `old`: pages that will be made writable again by their next write fault). */
MUST_CHECK err_t mm_fork(struct mm_struct *old, struct mm_struct **out);
/* One more user (CLONE_VM). */
void mm_get(struct mm_struct *mm);
/*
 * One user less; the last one frees every VMA, frame and table (exit_mmap). No CPU may have `mm` active then. May not be called under a
 * lock.
 */
void mm_put(struct mm_struct *mm);

/* What TTBR0_EL1 must hold to run `mm` on this CPU. */
struct mm_active {
  pa_t root;
  uint16_t asid;
};
/*
 * Give `mm` an ASID of the current generation and make this CPU forget stale entries if a rollover asks for it.
 * Interrupts masked. The caller writes TTBR0_EL1 and an ISB afterwards.
 */
struct mm_active mm_activate(struct mm_struct *mm);

/* ---- System calls. Lengths are in bytes. ---- */

/*
 * mmap(2). `file` is NULL for anonymous memory; else the mapping is private, starts at page `pgoff` of the file and takes its own
 * reference. Shared file mappings: ERR_UNSUPPORTED. The other way round with a file that has a window: the mapping is shared (else
 * ERR_INVAL), lies within the window (ERR_INVAL) and is never executable (ERR_PERM). Also: ERR_INVAL (length 0, unaligned fixed address, no
 * type), ERR_NOMEM (no room, no memory, too many VMAs, over the commit limit, beyond TASK_SIZE), ERR_EXIST (MAP_FIXED_NOREPLACE), ERR_PERM
 * (fixed below MMAP_MIN_ADDR), ERR_RANGE (pgoff overflows). MAP_POPULATE faults the pages in as far as memory goes; those of a window come
 * by themselves.
 */
MUST_CHECK err_t do_mmap(struct mm_struct *mm, uint64_t addr, uint64_t len, unsigned prot, unsigned flags, struct vm_file *file,
                         uint64_t pgoff, uint64_t *out);
/* munmap(2). ERR_INVAL; ERR_NOMEM when a VMA must be split and cannot. */
MUST_CHECK err_t do_munmap(struct mm_struct *mm, uint64_t addr, uint64_t len);
/* mprotect(2). ERR_INVAL; ERR_NOMEM also when part of the range is unmapped; ERR_PERM for PROT_EXEC over a device's window. */
MUST_CHECK err_t do_mprotect(struct mm_struct *mm, uint64_t addr, uint64_t len, unsigned prot);
/*
 * madvise(2): DONTNEED drops pages, the pure hints do nothing, all else is ERR_INVAL, as is DONTNEED over a device's window (then what lies
 * below it is done). Holes: the rest is done, then ERR_NOMEM.
 */
MUST_CHECK err_t do_madvise(struct mm_struct *mm, uint64_t addr, uint64_t len, int advice);
/* brk(2): the break after the call, which is the old one if `brk` could not be had. */
uint64_t do_brk(struct mm_struct *mm, uint64_t brk);
/* Where the heap begins (page aligned up); for exec, before the first do_brk. */
void mm_set_brk(struct mm_struct *mm, uint64_t start);

/* ---- Faults ---- */

#define FAULT_FLAG_WRITE 0x1u
#define FAULT_FLAG_EXEC 0x2u
/* The hardware said permission fault: a leaf was there. A hint for speed only; leaving it out is always right. */
#define FAULT_FLAG_PRESENT 0x4u

enum vm_fault {
  VM_FAULT_OK = 0,      /* return and retry the access */
  VM_FAULT_SEGV_MAPERR, /* SIGSEGV: nothing mapped there */
  VM_FAULT_SEGV_ACCERR, /* SIGSEGV: mapped, but not for this access */
  VM_FAULT_BUS,         /* SIGBUS: the backing has no such page or could not be read */
  VM_FAULT_OOM,         /* no frame to be had: the caller kills somebody */
};
const char *vm_fault_name(enum vm_fault f);

/* Serve one fault of an access (read unless flags say otherwise) at `addr`, any value. */
MUST_CHECK enum vm_fault handle_mm_fault(struct mm_struct *mm, uint64_t addr, unsigned flags);

/* ---- Out of memory ---- */

/*
 * What a process says of itself (Linux: /proc/PID/oom_score_adj): thousandths of all memory that it counts for more, or less; the least is
 * never.
 */
#define OOM_SCORE_ADJ_MIN (-1000)
#define OOM_SCORE_ADJ_MAX 1000
#define OOM_NEVER INT64_MIN

/*
 * How bad it is to keep `mm` when memory is out: resident pages and tables, and adj / 1000 of `total_pages`. OOM_NEVER for
 * OOM_SCORE_ADJ_MIN. `adj` is in range. Takes no lock; the mm must stay meanwhile. Source: oom_badness() of Linux, mm/oom_kill.c.
 */
int64_t oom_badness(const struct mm_struct *mm, int adj, uint64_t total_pages);

/* ---- User memory ---- */

/* True if [addr, addr + len) lies in user space: the test before any user copy. Says nothing about what is mapped. */
static inline bool access_ok(uint64_t addr, uint64_t len) {
  return len <= TASK_SIZE && addr <= TASK_SIZE - len;
}

/*
 * Copy between `buf` and the memory of an mm that need not be active, faulting pages in as that mm would (Linux's access_remote_vm):
 * argument pages of exec, reports. ERR_FAULT (also for a device's window, which is not in the kernel's view), ERR_NOMEM; then a part may
 * have been copied.
 */
MUST_CHECK err_t mm_read(struct mm_struct *mm, uint64_t addr, void *buf, uint64_t len);
MUST_CHECK err_t mm_write(struct mm_struct *mm, uint64_t addr, const void *buf, uint64_t len);

/* ---- Pages for others ---- */

/*
 * `count` pages from `addr` on, faulted in for writing, each with one reference more: the frame is not freed and does not move until
 * unpin_user_pages(). ERR_INVAL (unaligned, none), ERR_FAULT, ERR_NOMEM, ERR_PERM: a page that is not anonymous, or that others map as
 * well; ERR_BUSY: pages do not stay. All or nothing. Source: pin_user_pages() of Linux, mm/gup.c.
 */
MUST_CHECK err_t pin_user_pages(struct mm_struct *mm, uint64_t addr, unsigned count, pfn_t *out);
void unpin_user_pages(unsigned count, const pfn_t *frames);
/* Instead, where the pins are the last references (CHECK): the frames leave this kernel for good (FRAME_BAD); they are another's. */
void withdraw_user_pages(unsigned count, const pfn_t *frames);

/* ---- Pages on the move ---- */

/*
 * What the core's frame_move() (include/mm/migrate.h) does to a user page: every mm that maps it loses it, the contents are copied, every
 * mm gets it back. Single frames of anonymous, private file and shared memory; page tables, the zero page and what the kernel keeps for
 * itself stay where they are. Nobody needs to know: an access in between faults, waits for mmap_lock, and finds the page back in place.
 */
/* Pages moved since boot, and translations that followed them. */
struct vm_move_stats {
  uint64_t pages, mappings;
};
struct vm_move_stats vm_read_move_stats(void);

/* ---- Reports ---- */

/* One line of /proc/PID/maps. Start with a zeroed one; each call moves on to the next VMA. False after the last. */
struct vm_region {
  uint64_t start, end, pgoff;
  vm_flags_t flags;
  const char *name; /* "[heap]", "[stack]", "[shared]", "", or the file's own name, which lives as long as the file */
};
bool mm_next_region(struct mm_struct *mm, struct vm_region *region);
/* As Linux prints it: "0000400000-0000401000 r-xp 00000000 name". Returns the length as format() does. */
int vm_region_format(const struct vm_region *region, char *to, size_t cap);

struct mm_stats {
  uint64_t total_vm, committed_vm, rss[MM_RSS_KINDS], hiwater_rss, table_frames; /* pages */
  uint64_t faults[FAULT_KINDS];
  uint32_t map_count;
};
void mm_read_stats(struct mm_struct *mm, struct mm_stats *out);
/* Resident pages at the most so far. mmap_lock held, or nobody else changes `mm`. */
uint64_t mm_hiwater_rss(const struct mm_struct *mm);
/* Pages charged against the commit limit by all address spaces. */
uint64_t vm_committed_pages(void);

#endif
