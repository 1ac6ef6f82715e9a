/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_MM_TYPES_H
#define GUEST_VM_MM_TYPES_H

/*
 * The objects of the VM layer, with Linux's names for Linux's things (include/linux/mm_types.h).
 *
 * Lock order, outermost first. All are spin locks, held with interrupts masked:
 *
 *   1. mm_struct.mmap_lock     the parent's before the child's in dup_mm() (the child is not visible yet, so only one is taken)
 *   2. rmap_lock               who may map what: rmap.c
 *   3. vm_shared.lock          the pages of one shared object
 *   4. asid_space.lock         taken alone
 *   5. the memory core's own   slab, per-CPU list, zone
 *
 * A page that is moved needs the lock of every mm that maps it (migrate.c). It comes from the other end, by way of rmap_lock, so it only
 * ever tries these locks, and gives up where one is held: nothing can wait for nothing.
 *
 * A letter on a field names its lock: (m) mmap_lock, (r) rmap_lock, (c) constant after creation, (a) atomic.
 * Nobody holds mmap_lock across an access to user memory: the fault it may take would want the lock.
 */

#include "core/err.h"
#include "core/list.h"
#include "core/rbtree.h"
#include "core/types.h"
#include "mm/pgtable.h"
#include "mm/port.h"

/* User addresses are [0, TASK_SIZE): 39 bits, so that a walk starts at level 1 and reads three descriptors. */
#define TASK_SIZE_BITS 39u
#define TASK_SIZE ((uint64_t)1 << TASK_SIZE_BITS)
#define STACK_TOP TASK_SIZE
#define MMAP_MIN_ADDR ((uint64_t)0x10000)             /* below it nothing is ever mapped: NULL dereferences fault */
#define MMAP_BASE (TASK_SIZE - ((uint64_t)128 << 20)) /* mmap places downwards from here; Linux's MIN_GAP for the stack above */
#define STACK_GUARD_GAP ((uint64_t)256 << PAGE_SHIFT) /* kept free below a stack, as Linux's stack_guard_gap */
#define STACK_LIMIT_DEFAULT ((uint64_t)8 << 20)
#define MAX_MAP_COUNT 65530u
#define VMA_SPARES_MAX 2u /* the most that one operation takes */

struct mm_struct;
struct vm_area_struct;
struct vm_shared;
struct vm_file;

/* What a VMA allows and is. The low four bits have the values of Linux's VM_READ .. VM_SHARED. */
typedef uint32_t vm_flags_t;
#define VM_READ 0x0001u
#define VM_WRITE 0x0002u
#define VM_EXEC 0x0004u
#define VM_SHARED 0x0008u
#define VM_ACCESS_FLAGS (VM_READ | VM_WRITE | VM_EXEC)
#define VM_GROWSDOWN 0x0100u
#define VM_ACCOUNT 0x0200u   /* its pages are charged against the commit limit */
#define VM_NORESERVE 0x0400u /* never to be charged */
#define VM_PFNMAP 0x1000u    /* its pages have no struct frame: pfnmap.c */

/* What a fault on a VMA with vm_ops asks for, and gets. */
struct vm_fault_page {
  uint64_t addr;  /* of the page, within the VMA */
  uint64_t pgoff; /* page offset into the backing object */
  pfn_t frame;    /* out: with one reference taken for the mapping */
};

/*
 * What differs between the kinds of VMA. A private anonymous VMA has none (vm_ops == NULL), as in Linux. const; all set, but of `fault` and
 * `map` one.
 */
struct vm_operations {
  const char *name;
  void (*open)(struct vm_area_struct *vma);  /* one more VMA refers to the backing: fork, split */
  void (*close)(struct vm_area_struct *vma); /* one less: unmap, merge */
  /* Find or make the frame of vmf->pgoff. ERR_NOMEM, or ERR_IO for SIGBUS. mmap_lock held. */
  err_t (*fault)(struct vm_area_struct *vma, struct vm_fault_page *vmf);
  /* VM_PFNMAP: put what belongs there under the page `addr` itself. ERR_EXIST: something is there. ERR_NOMEM. mmap_lock held. */
  err_t (*map)(struct vm_area_struct *vma, uint64_t addr);
};

/*
 * A file as far as the VM layer knows one; the kernel embeds it in its own file object. `read_page` fills all 4096 bytes at `to`
 * with the page at `pgoff`, zeroes beyond the end of the file; ERR_IO becomes SIGBUS. It is called with mmap_lock held and interrupts
 * masked, so it must not sleep or touch user memory. `get` and `put` count references; `put` may free it.
 */
struct vm_file_ops {
  err_t (*read_page)(struct vm_file *file, uint64_t pgoff, void *to);
  void (*get)(struct vm_file *file);
  void (*put)(struct vm_file *file);
};

/* Physical memory outside this kernel's RAM, page aligned. */
struct vm_window {
  pa_t start;
  uint64_t bytes;
};

struct vm_file {
  const struct vm_file_ops *ops;  /* (c) */
  const char *name;               /* (c) for reports; never NULL */
  const struct vm_window *window; /* (c) a device's memory, which is mapped as it is, shared and never copied; NULL: an ordinary file */
};

/* One run of user pages that are alike: [vm_start, vm_end). All fields (m), but for one. */
struct vm_area_struct {
  uint64_t vm_start, vm_end;
  struct vm_area_struct *vm_next, *vm_prev; /* by address */
  struct rb_node vm_rb;                     /* in mm->mm_rb, by address; its bound is of free gaps, each below one VMA of the subtree */
  struct mm_struct *vm_mm;
  const struct vm_operations *vm_ops; /* NULL: private anonymous */
  union {                             /* what vm_ops works on */
    void *vm_backing;
    struct vm_file *vm_file;
    struct vm_shared *vm_shared;
  };
  struct list_node shared_node; /* (r) in vm_shared->vmas; means nothing for the other kinds */
  uint64_t vm_pgoff;            /* page offset of vm_start in the backing; vm_start >> PAGE_SHIFT for private anonymous memory */
  vm_flags_t vm_flags;
  pt_prot_t vm_page_prot; /* of a page that may be used to the full: as vm_flags say */
  bool faulted;           /* a page was mapped since creation: without it there is nothing to zap or copy */
};

/* Resident pages by kind, as Linux's MM_FILEPAGES, MM_ANONPAGES, MM_SHMEMPAGES. The zero page counts nowhere. */
enum rss_kind {
  MM_ANONPAGES,
  MM_FILEPAGES,
  MM_SHMEMPAGES,
  MM_RSS_KINDS
};

/* How a fault was served: what the reports and the tests count. */
enum fault_kind {
  FAULT_ZERO_PAGE,  /* anonymous read: the zero page, read-only */
  FAULT_ANON,       /* anonymous write: a fresh zeroed frame */
  FAULT_COW_ZERO,   /* write over the zero page: a fresh zeroed frame */
  FAULT_COW_COPY,   /* write to a frame others hold too: copied */
  FAULT_COW_REUSE,  /* write to a frame nobody else holds any more: made writable in place */
  FAULT_FILE,       /* private file page read in */
  FAULT_SHARED,     /* page of a shared object */
  FAULT_SPURIOUS,   /* another CPU had served it, or the TLB was stale */
  FAULT_STACK_GROW, /* counted besides the kind that followed */
  FAULT_SEGV,       /* refused: no mapping, or not that access */
  FAULT_OOM,
  FAULT_KINDS
};

/* An ASID with its generation; 0 before the first run. See asid.h. */
struct mm_context {
  uint64_t id; /* (a) */
};

/* One address space. */
struct mm_struct {
  struct port_lock mmap_lock;
  struct rb_root mm_rb;              /* (m) all VMAs, disjoint, by address */
  struct vm_area_struct *mmap;       /* (m) the lowest VMA */
  struct vm_area_struct *mmap_cache; /* (m) the last one find_vma() found, or NULL */
  struct vm_area_struct *vma_spares; /* (m) up to VMA_SPARES_MAX unused ones, linked by vm_next: the next split or mmap takes them */
  unsigned vma_spare_count;          /* (m) */
  uint64_t highest_vm_end;           /* (m) */
  struct pt pt;                      /* (m) for writing; the hardware reads it at any time */
  struct mm_context context;
  uint32_t mm_users;                                               /* (a) processes and threads that run here */
  uint32_t rmap_id;                                                /* (c) this mm's family of forks; see rmap.h */
  uint32_t map_count;                                              /* (m) VMAs */
  uint32_t pfn_blocks;                                             /* (m) leaves of 2 MiB: pfnmap.c */
  uint64_t total_vm, committed_vm, rss[MM_RSS_KINDS], hiwater_rss; /* (m) in pages */
  uint64_t faults[FAULT_KINDS];                                    /* (m) */
  uint64_t start_brk, brk;                                         /* (m) the heap: [start_brk, brk) */
  uint64_t stack_limit;                                            /* (m) bytes a stack may grow to */
  struct list_node rmap_node;                                      /* (r) among those of its family; alone: pages here cannot be found */
  struct mm_struct *frozen_next;                                   /* (r) the next one that maps the page on the move; migrate.c */
  struct pt_broken frozen;                                         /* (r) where it did; entry NULL: no page of this mm is on the move */
  /* Set by exec before the mm runs, for reports only. */
  uint64_t start_code, end_code, start_stack;
};

#endif
