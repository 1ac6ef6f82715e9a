/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a process for lack of memory, as Linux chooses it: the largest goes, whoever asked goes on. A sleeper that holds nearly all
 * there is must be the victim of a small process that faults, of the kernel's copy to user memory, of exec and fork; one that may not be
 * killed is spared, and the small one goes; nobody else notices. "oomtest: PASS" at the end.
 */
#include "user.h"

#define LEFT_PAGES 256ul  /* what the sleeper leaves */
#define SMALL_PAGES 768ul /* what the small process wants: more than that, and far less than the sleeper has */
#define BYSTANDER_PAGES 64ul
#define SLACK_PAGES 128ul /* what caches and tables may keep from one measure to the next */

static volatile unsigned long *shared; /* with the children: pages taken, and whether the sleeper holds all it wants */
#define taken shared[0]
#define settled shared[1]

static unsigned char *map(unsigned long pages) {
  unsigned char *p = sys_mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  expect(!is_error(p), "mmap", (unsigned long)p, 0);
  return p;
}

static void take(volatile unsigned char *p, unsigned long pages) {
  for (unsigned long i = 0; i < pages; i++) {
    p[i * PAGE] = (unsigned char)(i * 7 + 1);
    taken = i + 1;
  }
}

static unsigned long wrong(const volatile unsigned char *p, unsigned long pages) {
  unsigned long bad = 0;
  for (unsigned long i = 0; i < pages; i++)
    bad += p[i * PAGE] != (unsigned char)(i * 7 + 1);
  return bad;
}

static int take_all(void *arg) {
  (void)arg;
  unsigned long pages = (4096ul << 20) / PAGE;
  take(map(pages), pages);
  return 0;
}

/* ---- the sleeper ---- */

struct sleeper {
  unsigned long pages;
  int adj;
};

static int hold(const struct sleeper *s) {
  if (syscall1(SLUICE_NR_oom_score_adj, s->adj) != 0)
    return 1;
  take(map(s->pages), s->pages);
  settled = 1;
  sleep_ms(1000000);
  return 2;
}

static long start_sleeper(unsigned long pages, int adj) {
  struct sleeper s = {pages, adj};
  settled = 0;
  long pid = sys_fork();
  if (pid == 0)
    sys_exit(hold(&s));
  while (!settled)
    sleep_ms(1);
  return pid;
}

static int end_of(long pid) {
  int status = -1;
  EXPECT_EQ(sys_wait4(pid, &status, 0), pid);
  return status;
}

/* ---- who finds no memory ---- */

static int touch(void *arg) {
  (void)arg;
  unsigned char *p = map(SMALL_PAGES);
  take(p, SMALL_PAGES);
  return wrong(p, SMALL_PAGES) != 0;
}

/* It is the kernel that writes where nothing is yet. */
static int copy(void *arg) {
  unsigned char *p = map(SMALL_PAGES);
  (void)arg;
  for (unsigned long i = 0; i < SMALL_PAGES; i++)
    if (syscall3(LINUX_NR_getrandom, p + i * PAGE, 16, 0) != 16)
      return 1;
  return 0;
}

static int run_true(void *arg) {
  char name[] = "true", *argv[] = {name, NULL};
  unsigned long pages = (unsigned long)arg;
  take(map(pages), pages);
  return (int)-sys_execve("/bin/true", argv, environ);
}

/* Sooner or later in all that a new process needs, and at the latest when it takes more than there is. */
static int fork_often(void *arg) {
  int failed = 0;
  (void)arg;
  for (unsigned long pages = LEFT_PAGES / 2; pages <= SMALL_PAGES; pages += 16)
    failed += in_child(run_true, (void *)pages) != 0;
  return failed;
}

static const struct {
  const char *what;
  int (*fn)(void *);
} causes[] = {{"fault", touch}, {"copy", copy}, {"exec and fork", fork_often}};

/* `fn` needs memory that a sleeper has. */
static void one_victim(const char *what, int (*fn)(void *), unsigned long all) {
  long sleeper = start_sleeper(all - LEFT_PAGES, 0);
  EXPECT_EQ(in_child(fn, NULL), 0);
  EXPECT_EQ(end_of(sleeper), LINUX_SIGKILL);
  print("oomtest: %s: done\n", what);
}

/* The sleeper is not to be killed: whoever asks is the largest of the others. */
static void spared(unsigned long all) {
  long sleeper = start_sleeper(all - LEFT_PAGES, -1000);
  EXPECT_EQ(in_child(touch, NULL), LINUX_SIGKILL);
  sys_kill(sleeper, LINUX_SIGBUS);
  EXPECT_EQ(end_of(sleeper), LINUX_SIGBUS);
  EXPECT_EQ(syscall1(SLUICE_NR_oom_score_adj, 1001), -LINUX_EINVAL);
}

int main(int argc, char **argv, char **envp) {
  (void)argc, (void)argv, (void)envp;
  shared = sys_mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  unsigned char *bystander = map(BYSTANDER_PAGES);
  take(bystander, BYSTANDER_PAGES);
  EXPECT_EQ(in_child(take_all, NULL), LINUX_SIGKILL);
  unsigned long all = taken;
  for (unsigned i = 0; i < sizeof causes / sizeof *causes; i++)
    one_victim(causes[i].what, causes[i].fn, all);
  spared(all);
  EXPECT_EQ(in_child(take_all, NULL), LINUX_SIGKILL);
  expect(taken + SLACK_PAGES >= all && all + SLACK_PAGES >= taken, "pages to be had at the end", taken, all);
  EXPECT_EQ(wrong(bystander, BYSTANDER_PAGES), 0);
  return verdict("oomtest");
}
