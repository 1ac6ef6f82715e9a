/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first process. Runs what the kernel command line asks for by run=: programs separated by ',' one after another, by '+' at the same
 * time, each with arguments after ':'.
 *
 *   run=memdemo,spin:1000+spin:2000,stress:16      memdemo; then two spins side by side; then stress with argument 16
 *
 * Without run= it is `hello`. Its exit code is the number of programs that failed; the kernel makes the VM's verdict of it.
 */
#include "user.h"

#define ARGS_MAX 12
#define GROUP_MAX 16

struct job {
  long pid;
  const char *name;
};

static unsigned bad;

/* Cut `text` at the first of `stops`; returns the rest after it and which it was ('\0' at the end). */
static char *cut(char *text, const char *stops, char *which) {
  for (; *text != '\0'; text++) {
    for (const char *s = stops; *s != '\0'; s++) {
      if (*text != *s)
        continue;
      *which = *s;
      *text = '\0';
      return text + 1;
    }
  }
  *which = '\0';
  return text;
}

static _Noreturn void become(char *spec) {
  char path[64] = "/bin/", *argv[ARGS_MAX + 1], which = ':';
  int argc = 0;
  char *rest = spec;
  while (which == ':' && argc < ARGS_MAX) {
    argv[argc++] = rest;
    rest = cut(rest, ":", &which);
  }
  argv[argc] = NULL;
  size_t n = str_len(argv[0]);
  if (n < sizeof path - 5) {
    for (size_t i = 0; i <= n; i++)
      path[5 + i] = argv[0][i];
    long e = sys_execve(path, argv, environ);
    print("init: cannot run %s: error %ld\n", path, -e);
  }
  sys_exit(127);
}

static struct job start(char *spec) {
  struct job j = {.pid = sys_fork(), .name = spec};
  if (j.pid == 0)
    become(spec);
  if (j.pid < 0) {
    print("init: cannot fork for %s: error %ld\n", spec, -j.pid);
    bad++;
  }
  return j;
}

static const char *name_of(const struct job *jobs, int count, long pid) {
  for (int i = 0; i < count; i++)
    if (jobs[i].pid == pid)
      return jobs[i].name;
  return NULL;
}

/* Until all of the group have ended; orphans that come by are reaped without a word. */
static void wait_for(const struct job *jobs, int count, int running) {
  while (running > 0) {
    int status = 0;
    long pid = sys_wait4(-1, &status, 0);
    const char *name = name_of(jobs, count, pid);
    if (pid < 0)
      return;
    if (name == NULL)
      continue;
    running--;
    if (status == 0)
      continue;
    bad++;
    if (status_is_exit(status))
      print("init: %s failed with code %d\n", name, status_exit_code(status));
    else
      print("init: %s was ended by signal %d\n", name, status_signal(status));
  }
}

static void run_all(char *list) {
  char which = ',';
  while (which != '\0') {
    struct job jobs[GROUP_MAX];
    int count = 0, running = 0;
    do {
      char *spec = list;
      list = cut(list, ",+", &which);
      jobs[count] = start(spec);
      running += jobs[count].pid > 0;
      count++;
    } while (which == '+' && count < GROUP_MAX);
    wait_for(jobs, count, running);
  }
}

/* At most cap - 1 characters, always terminated. */
static void copy_text(char *to, size_t cap, const char *from) {
  for (; cap > 1 && *from != '\0'; cap--)
    *to++ = *from++;
  *to = '\0';
}

int main(int argc, char **argv, char **envp) {
  static char list[256];
  const char *run = env_get("run");
  (void)argc, (void)argv, (void)envp;
  copy_text(list, sizeof list, run != NULL ? run : "hello");
  if (list[0] != '\0')
    run_all(list);
  if (bad == 0)
    print("init: all done\n");
  else
    print("init: %u failed\n", bad);
  return bad > 100 ? 100 : (int)bad;
}
