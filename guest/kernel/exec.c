/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * execve(2): a new address space is built beside the old one, and takes its place when nothing can fail any more. Segments become VMAs over
 * the file and are faulted in; the stack gets what the AArch64 ABI says:
 *
 *   sp -> | argc | argv.. 0 | envp.. 0 | auxv.. 0 | 16 random bytes | path, argument and environment strings | STACK_TOP
 */
#include "abi/linux.h"
#include "core/bits.h"
#include "core/string.h"
#include "guest/arch/cpu.h"
#include "guest/arch/fp.h"
#include "guest/arch/mmu.h"
#include "guest/fs/elf.h"
#include "guest/fs/initramfs.h"
#include "guest/kernel/oom.h"
#include "guest/kernel/process.h"
#include "guest/kernel/random.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/uaccess.h"
#include "guest/vm/gfp.h"
#include "guest/vm/vm.h"
#include "mm/page_alloc.h"

#define STACK_INITIAL_BYTES ((uint64_t)128 << 10)
#define PIE_BASE ((uint64_t)0x5555550000)
#define CLOCK_TICKS 100

/* What exec builds before it takes effect. */
struct program {
  struct mm_struct *mm;
  struct elf_image elf;
  uint64_t bias; /* added to the file's addresses */
  uint64_t sp;
};

/* ---- Arguments ---- */

err_t exec_args_add(struct exec_args *args, const char *s) {
  uint64_t bytes = strlen(s) + 1;
  if (bytes > sizeof args->strings - args->used)
    return ERR_NOSPC;
  memcpy(args->strings + args->used, s, bytes);
  args->used += (uint32_t)bytes;
  return ERR_OK;
}

/* Append the strings of a NULL-terminated user array; 0 is an empty one. */
static err_t add_user_strings(struct exec_args *args, uint64_t array, uint16_t *count) {
  uint64_t string, length;
  for (*count = 0; array != 0; array += sizeof string, ++*count) {
    if (copy_from_user(&string, array, sizeof string) != ERR_OK)
      return ERR_FAULT;
    if (string == 0)
      break;
    err_t e = copy_string_from_user(args->strings + args->used, string, sizeof args->strings - args->used, &length);
    if (e != ERR_OK)
      return e;
    args->used += (uint32_t)length + 1;
  }
  return ERR_OK;
}

/* ---- Segments ---- */

static unsigned segment_prot(const struct elf_segment *s) {
  return (s->flags & ELF_PF_R ? PROT_READ : 0) | (s->flags & ELF_PF_W ? PROT_WRITE : 0) | (s->flags & ELF_PF_X ? PROT_EXEC : 0);
}

static err_t map_fixed(struct mm_struct *mm, uint64_t start, uint64_t end, unsigned prot, struct vm_file *file, uint64_t pgoff) {
  uint64_t at;
  unsigned flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE | (file == NULL ? MAP_ANONYMOUS : 0);
  return start >= end ? ERR_OK : do_mmap(mm, start, end - start, prot, flags, file, pgoff, &at);
}

/* Into an address space that is being made, whose pages may have to be waited for. mm_write()'s errors. */
static err_t write_user(struct mm_struct *mm, uint64_t addr, const void *buf, uint64_t bytes) {
  err_t e;
  do
    e = mm_write(mm, addr, buf, bytes);
  while (e == ERR_NOMEM && out_of_memory());
  return e;
}

/* The last page of the file's part holds the first bytes of bss: whatever the file has there becomes zero. */
static err_t clear_tail(struct mm_struct *mm, uint64_t from) {
  static const uint8_t zeroes[256];
  uint64_t end = align_up(from, PAGE_SIZE);
  err_t e = ERR_OK;
  for (uint64_t n; e == ERR_OK && from < end; from += n) {
    n = min_u64(sizeof zeroes, end - from);
    e = write_user(mm, from, zeroes, n);
  }
  return e;
}

static err_t map_segment(struct program *p, const struct elf_segment *s, struct vm_file *file) {
  uint64_t start = p->bias + align_down(s->vaddr, PAGE_SIZE), file_end = p->bias + s->vaddr + s->file_bytes;
  uint64_t mem_end = align_up(p->bias + s->vaddr + s->mem_bytes, PAGE_SIZE);
  uint64_t split = s->file_bytes == 0 ? start : align_up(file_end, PAGE_SIZE);
  err_t e = map_fixed(p->mm, start, split, segment_prot(s), file, s->offset >> PAGE_SHIFT);
  if (e == ERR_OK)
    e = map_fixed(p->mm, split, mem_end, segment_prot(s), NULL, 0);
  if (e == ERR_OK && s->file_bytes != 0 && s->mem_bytes > s->file_bytes && (s->flags & ELF_PF_W))
    e = clear_tail(p->mm, file_end);
  return e;
}

static err_t map_program(struct program *p, struct vm_file *file) {
  uint64_t end = 0;
  for (unsigned i = 0; i < p->elf.segment_count; i++) {
    const struct elf_segment *s = &p->elf.segment[i];
    err_t e = map_segment(p, s, file);
    if (e != ERR_OK)
      return e;
    end = p->bias + s->vaddr + s->mem_bytes;
    if (s->flags & ELF_PF_X) {
      p->mm->start_code = p->bias + s->vaddr;
      p->mm->end_code = end;
    }
  }
  mm_set_brk(p->mm, end);
  return ERR_OK;
}

/* ---- Stack ---- */

struct stack_builder {
  uint64_t *word; /* next to write, in the page that will be written to the stack */
  uint64_t *limit;
};

static err_t push(struct stack_builder *b, uint64_t value) {
  if (b->word == b->limit)
    return ERR_NOSPC;
  *b->word++ = value;
  return ERR_OK;
}

static err_t push_pair(struct stack_builder *b, uint64_t type, uint64_t value) {
  err_t e = push(b, type);
  return e == ERR_OK ? push(b, value) : e;
}

/* `count` pointers to the packed strings from *s on, then NULL; *s moves behind them. */
static err_t push_strings(struct stack_builder *b, const char **s, const char *base, uint64_t base_user, unsigned count) {
  err_t e = ERR_OK;
  for (unsigned i = 0; e == ERR_OK && i < count; i++) {
    e = push(b, base_user + (uint64_t)(*s - base));
    *s += strlen(*s) + 1;
  }
  return e == ERR_OK ? push(b, 0) : e;
}

static err_t push_auxv(struct stack_builder *b, const struct program *p, uint64_t random_user, uint64_t path_user) {
  const struct {
    uint64_t type, value;
  } aux[] = {
      {LINUX_AT_HWCAP, cpu_features.hwcap},
      {LINUX_AT_PAGESZ, PAGE_SIZE},
      {LINUX_AT_CLKTCK, CLOCK_TICKS},
      {LINUX_AT_PHDR, p->elf.phdr_vaddr == 0 ? 0 : p->bias + p->elf.phdr_vaddr},
      {LINUX_AT_PHENT, 56},
      {LINUX_AT_PHNUM, p->elf.phdr_count},
      {LINUX_AT_BASE, 0},
      {LINUX_AT_FLAGS, 0},
      {LINUX_AT_ENTRY, p->bias + p->elf.entry},
      {LINUX_AT_UID, 0},
      {LINUX_AT_EUID, 0},
      {LINUX_AT_GID, 0},
      {LINUX_AT_EGID, 0},
      {LINUX_AT_SECURE, 0},
      {LINUX_AT_RANDOM, random_user},
      {LINUX_AT_EXECFN, path_user},
      {LINUX_AT_NULL, 0},
  };
  err_t e = ERR_OK;
  for (unsigned i = 0; e == ERR_OK && i < ARRAY_SIZE(aux); i++)
    e = push_pair(b, aux[i].type, aux[i].value);
  return e;
}

static err_t fill_stack(struct program *p, const struct exec_args *args, uint64_t page[512]) {
  uint64_t path_bytes = strlen(args->path) + 1;
  uint64_t strings_user = STACK_TOP - 8 - args->used, path_user = strings_user - path_bytes;
  uint64_t random[2] = {random_u64(), random_u64()}, random_user = align_down(path_user - sizeof random, 16);
  const char *s = args->strings;
  struct stack_builder b = {page, page + 512};
  err_t e = push(&b, args->argc);
  if (e == ERR_OK)
    e = push_strings(&b, &s, args->strings, strings_user, args->argc);
  if (e == ERR_OK)
    e = push_strings(&b, &s, args->strings, strings_user, args->envc);
  if (e == ERR_OK)
    e = push_auxv(&b, p, random_user, path_user);
  if (e != ERR_OK)
    return e;
  uint64_t vector_bytes = (uint64_t)(b.word - page) * sizeof *b.word;
  p->sp = align_down(random_user - vector_bytes, 16);
  e = write_user(p->mm, p->sp, page, vector_bytes);
  if (e == ERR_OK)
    e = write_user(p->mm, random_user, random, sizeof random);
  if (e == ERR_OK)
    e = write_user(p->mm, path_user, args->path, path_bytes);
  return e == ERR_OK ? write_user(p->mm, strings_user, args->strings, args->used) : e;
}

static err_t make_stack(struct program *p, const struct exec_args *args) {
  pfn_t frame;
  uint64_t at;
  err_t e = do_mmap(p->mm, STACK_TOP - STACK_INITIAL_BYTES, STACK_INITIAL_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN | MAP_STACK, NULL, 0, &at);
  if (e == ERR_OK)
    e = page_alloc(0, GFP_KERNEL | ALLOC_RETURN_CORE, &frame);
  if (e != ERR_OK)
    return e;
  e = fill_stack(p, args, port_frame_ptr(frame));
  p->mm->start_stack = p->sp;
  page_free(frame, 0);
  return e;
}

/* ---- The new program ---- */

static err_t build(struct program *p, struct initramfs_file *file, const struct exec_args *args) {
  err_t e = elf_parse(file->data, file->bytes, TASK_SIZE - PIE_BASE, &p->elf);
  if (e != ERR_OK)
    return e;
  p->bias = p->elf.position_independent ? PIE_BASE : 0;
  e = mm_alloc(&p->mm);
  if (e != ERR_OK)
    return e;
  e = map_program(p, &file->file);
  if (e == ERR_OK)
    e = make_stack(p, args);
  if (e != ERR_OK)
    mm_put(p->mm);
  return e;
}

static void release_vfork_parent(struct task *t) {
  vlock_acquire(&sched_lock);
  if (t->vfork_parent_waits) {
    t->vfork_parent_waits = false;
    if (t->parent->wait_on == WAIT_VFORK)
      sched_wake(t->parent);
  }
  vlock_release(&sched_lock);
}

static void commit(const struct program *p, const char *name) {
  struct task *t = current_task();
  struct mm_struct *old = t->mm;
  struct trap_frame *f = task_frame(t);
  task_keep_usage(t);
  vlock_acquire(&sched_lock);
  t->mm = p->mm;
  vlock_release(&sched_lock);
  mmu_switch_mm(p->mm);
  if (old != NULL)
    mm_put(old);
  release_vfork_parent(t);
  task_set_name(t, name);
  fp_reset();
  memset(f, 0, sizeof *f);
  f->elr = p->bias + p->elf.entry;
  __asm__ volatile("msr sp_el0, %0\n\tmsr tpidr_el0, xzr" ::"r"(p->sp) : "memory");
}

err_t process_exec(const struct exec_args *args) {
  struct program p;
  struct initramfs_file *file = initramfs_find(args->path);
  if (file == NULL)
    return ERR_NOENT;
  err_t e = build(&p, file, args);
  if (e == ERR_OK)
    commit(&p, args->path);
  return e;
}

static int64_t exec_errno(err_t e) {
  switch (e) {
  case ERR_NOSPC:
    return -LINUX_E2BIG;
  case ERR_INVAL:
  case ERR_UNSUPPORTED:
    return -LINUX_ENOEXEC;
  default:
    return errno_of(e);
  }
}

static err_t exec_from_user(struct exec_args *args, uint64_t path, uint64_t argv, uint64_t envp) {
  uint64_t length;
  args->used = 0;
  err_t e = copy_string_from_user(args->path, path, sizeof args->path, &length);
  if (e == ERR_OK)
    e = add_user_strings(args, argv, &args->argc);
  if (e == ERR_OK)
    e = add_user_strings(args, envp, &args->envc);
  return e == ERR_OK ? process_exec(args) : e;
}

int64_t sys_execve(uint64_t path, uint64_t argv, uint64_t envp) {
  pfn_t frame;
  err_t e = page_alloc(0, GFP_KERNEL | ALLOC_RETURN_CORE, &frame);
  if (e != ERR_OK)
    return errno_of(e);
  e = exec_from_user(port_frame_ptr(frame), path, argv, envp);
  page_free(frame, 0);
  return e == ERR_OK ? 0 : exec_errno(e);
}
