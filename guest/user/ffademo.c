/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of one process to a process in another VM, by /dev/handover. ffademo:give:VM gives, ffademo:take:VM takes; VM is the other one's
 * id. The first region is one page that both see, a mailbox; by it the giver says what it gives next:
 *
 *      share    the taker reads what was written before, both write, each sees the other's
 *      lend     pages with a pattern; the taker checks it, writes its own, lets go; the giver has the new one
 *      donate   the pages leave the giver's process and kernel; the taker checks the pattern, then its kernel adopts them, and has so many free pages more
 *
 * "ffademo: PASS" means that every word was as it must be, and both kernels' counts as well.
 */
#include "user.h"

#include "abi/handover_dev.h"

#define LENT_PAGES 64u
#define DONATED_PAGES 300u
#define PLACE ((size_t)2 << 20) /* in the taker's window: where a loan goes */
#define WORDS (PAGE / sizeof(uint64_t))

struct mailbox {
  uint64_t asked, done; /* counts: the taker is at work while they differ */
  uint64_t handle, kind, pages;
  uint64_t from_giver, from_taker;
};

static int fd;
static uint16_t peer;

static void must(bool ok, const char *what, long value) {
  if (ok)
    return;
  print("ffademo: FAIL: %s: %ld\n", what, value);
  sys_exit(1);
}

/* The other VM may wait for this CPU. */
static void let_other_run(void) {
  __asm__ volatile("yield");
  (void)sys_yield();
}

static long control(unsigned request, struct handover_dev *call) {
  return syscall3(LINUX_NR_ioctl, fd, request, call);
}

static struct handover_dev info(void) {
  struct handover_dev call = {0};
  must(control(HANDOVER_DEV_INFO, &call) == 0, "info", 0);
  return call;
}

static uint64_t pattern(uint64_t page, uint64_t word, uint64_t salt) {
  uint64_t z = (page << 20 ^ word << 3 ^ salt << 50) * 0x9e3779b97f4a7c15ul;
  return z ^ z >> 29;
}

static void fill(uint64_t *at, uint64_t pages, uint64_t salt) {
  for (uint64_t p = 0; p < pages; p++)
    for (uint64_t w = 0; w < WORDS; w += 16)
      at[p * WORDS + w] = pattern(p, w, salt);
}

static void check(const uint64_t *at, uint64_t pages, uint64_t salt, const char *what) {
  for (uint64_t p = 0; p < pages; p++)
    for (uint64_t w = 0; w < WORDS; w += 16)
      must(at[p * WORDS + w] == pattern(p, w, salt), what, (long)p);
}

static void *map_memory(uint64_t pages) {
  void *at = sys_mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  must(!is_error(at), "mmap", (long)at);
  return at;
}

static void *map_window(size_t offset, uint64_t pages) {
  void *at = sys_mmap_file(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
  must(!is_error(at), "mmap of the window", (long)at);
  return at;
}

/* ---- the giver ---- */

static struct handover_dev give(void *at, uint32_t pages, enum handover_dev_kind kind) {
  struct handover_dev call = {.address = (uint64_t)at, .pages = pages, .vm = peer, .kind = (uint16_t)kind};
  long e = control(HANDOVER_DEV_GIVE, &call);
  must(e == 0, "give", e);
  return call;
}

static long reclaim(uint64_t handle) {
  struct handover_dev call = {.handle = handle};
  return control(HANDOVER_DEV_RECLAIM, &call);
}

static void ask(struct mailbox *box, uint64_t handle, enum handover_dev_kind kind, uint64_t pages) {
  box->handle = handle;
  box->kind = kind;
  box->pages = pages;
  uint64_t n = box->asked + 1;
  __atomic_store_n(&box->asked, n, __ATOMIC_RELEASE);
  while (__atomic_load_n(&box->done, __ATOMIC_ACQUIRE) != n)
    let_other_run();
}

static void lend(struct mailbox *box) {
  uint64_t *area = map_memory(LENT_PAGES);
  fill(area, LENT_PAGES, 1);
  struct handover_dev call = give(area, LENT_PAGES, HANDOVER_DEV_LEND);
  struct handover_dev twice = {.address = (uint64_t)area, .pages = 1, .vm = peer, .kind = HANDOVER_DEV_SHARE};
  must(control(HANDOVER_DEV_GIVE, &twice) != 0, "given twice", 0);
  ask(box, call.handle, HANDOVER_DEV_LEND, LENT_PAGES);
  must(reclaim(call.handle) == 0, "reclaim", 0);
  must(reclaim(call.handle) == -LINUX_ENOENT, "reclaimed twice", 0);
  check(area, LENT_PAGES, 2, "what came back");
  print("ffademo: %u pages lent, and back with what the taker wrote\n", LENT_PAGES);
}

static void donate(struct mailbox *box) {
  uint64_t *area = map_memory(DONATED_PAGES);
  fill(area, DONATED_PAGES, 3);
  struct handover_dev before = info();
  struct handover_dev call = give(area, DONATED_PAGES, HANDOVER_DEV_DONATE), after = info();
  print("ffademo: donated, first page at linear 0x%lx\n", 0xffffff8000000000ul + call.ipa);
  must(after.given_pages == before.given_pages + DONATED_PAGES, "pages withdrawn", (long)after.given_pages);
  must(sys_munmap(area, PAGE) == 0, "nothing is mapped there", 0);
  ask(box, call.handle, HANDOVER_DEV_DONATE, DONATED_PAGES);
  must(reclaim(call.handle) == -LINUX_ENOENT, "a donation reclaimed", 0);
  print("ffademo: %u pages donated, and gone\n", DONATED_PAGES);
}

static void give_all(void) {
  struct mailbox *box = map_memory(1);
  *box = (struct mailbox){.from_giver = pattern(0, 0, 9)};
  struct handover_dev call = give(box, 1, HANDOVER_DEV_SHARE);
  must(call.handle == ((uint64_t)info().vm << 32 | 1), "the first handle", (long)call.handle);
  ask(box, 0, HANDOVER_DEV_SHARE, 0);
  must(box->from_taker == pattern(0, 0, 10), "what the taker wrote", (long)box->from_taker);
  print("ffademo: a page is shared\n");
  lend(box);
  donate(box);
  ask(box, 0, HANDOVER_DEV_SHARE, 1);
  while (reclaim(call.handle) == -LINUX_EPERM) /* until the taker has let go of it */
    let_other_run();
}

/* ---- the taker ---- */

static long take(uint64_t handle, size_t offset, uint64_t pages, enum handover_dev_kind kind) {
  struct handover_dev call = {.handle = handle, .offset = offset, .pages = (uint32_t)pages, .kind = (uint16_t)kind};
  return control(HANDOVER_DEV_TAKE, &call);
}

static void relinquish(uint64_t handle) {
  struct handover_dev call = {.handle = handle};
  must(control(HANDOVER_DEV_RELINQUISH, &call) == 0, "relinquish", 0);
}

static void borrow(const struct mailbox *box) {
  must(take(box->handle, PLACE, box->pages + 1, HANDOVER_DEV_LEND) != 0, "more than it is", 0);
  must(take(box->handle, PLACE, box->pages, HANDOVER_DEV_DONATE) != 0, "a loan as a donation", 0);
  must(take(box->handle, PLACE, box->pages, HANDOVER_DEV_LEND) == 0, "take a loan", 0);
  uint64_t *area = map_window(PLACE, box->pages);
  check(area, box->pages, 1, "what was lent");
  fill(area, box->pages, 2);
  must(sys_munmap(area, box->pages * PAGE) == 0, "munmap", 0);
  relinquish(box->handle);
}

/* At the window's end, where the kernel can adopt it, once the mailbox is not mapped any more. */
static void own(const struct mailbox *box) {
  size_t offset = info().offset - box->pages * PAGE;
  must(take(box->handle, offset, box->pages, HANDOVER_DEV_DONATE) == 0, "take a donation", 0);
  uint64_t *area = map_window(offset, box->pages);
  check(area, box->pages, 3, "what was donated");
  print("ffademo: donated pages are here, at linear 0x%lx\n", 0xffffff8000000000ul + (1ul << 30) + (64ul << 20) + offset);
  must(sys_munmap(area, box->pages * PAGE) == 0, "munmap", 0);
}

static void adopt(uint32_t pages) {
  struct handover_dev before = info(), more = {.pages = pages + 1}, call = {.pages = pages};
  must(control(HANDOVER_DEV_ADOPT, &more) == -LINUX_EPERM, "more than was donated", 0);
  must(control(HANDOVER_DEV_ADOPT, &call) == 0, "adopt", 0);
  struct handover_dev after = info();
  must(after.adopted_pages == before.adopted_pages + pages, "adopted", (long)after.adopted_pages);
  must(after.free_pages >= before.free_pages + pages - 64, "free pages", (long)after.free_pages);
  must(after.offset == before.offset - pages * PAGE, "the window ends before them", (long)after.offset);
  print("ffademo: %u pages adopted, %lu free before, %lu after\n", pages, before.free_pages, after.free_pages);
}

/* All free memory once, so that the pages that came are used. */
static void use_all(void) {
  uint64_t pages = info().free_pages - 2048;
  uint64_t *area = map_memory(pages);
  fill(area, pages, 4);
  check(area, pages, 4, "memory that was adopted");
  must(sys_munmap(area, pages * PAGE) == 0, "munmap", 0);
}

static void take_all(void) {
  uint64_t handle = (uint64_t)peer << 32 | 1;
  while (take(handle, 0, 1, HANDOVER_DEV_SHARE) != 0)
    let_other_run();
  struct mailbox *box = map_window(0, 1);
  for (uint64_t n = 1, end = 0; !end; n++) {
    while (__atomic_load_n(&box->asked, __ATOMIC_ACQUIRE) != n)
      let_other_run();
    if (box->kind == HANDOVER_DEV_LEND)
      borrow(box);
    if (box->kind == HANDOVER_DEV_DONATE)
      own(box);
    must(box->from_giver == pattern(0, 0, 9), "what the giver wrote", (long)box->from_giver);
    box->from_taker = pattern(0, 0, 10);
    end = box->kind == HANDOVER_DEV_SHARE && box->pages != 0;
    __atomic_store_n(&box->done, n, __ATOMIC_RELEASE);
  }
  must(take(handle, PAGE, 1, HANDOVER_DEV_SHARE) != 0, "taken twice", 0);
  must(sys_munmap(box, PAGE) == 0, "munmap", 0);
  relinquish(handle);
  adopt(DONATED_PAGES);
  use_all();
}

int main(int argc, char **argv, char **envp) {
  (void)envp;
  must(argc == 3, "arguments: give or take, and the other VM's id", argc);
  peer = (uint16_t)(argv[2][0] - '0');
  fd = (int)sys_open(HANDOVER_DEV_PATH, LINUX_O_RDWR);
  must(fd >= 0, HANDOVER_DEV_PATH, fd);
  if (argv[1][0] == 'g')
    give_all();
  else
    take_all();
  print("ffademo: PASS\n");
  return 0;
}
