/* SPDX-License-Identifier: BSD-2-Clause */
/* What our programs share beyond system calls: text, checks, children. Nothing here keeps state but the count of failures. */
#include "user.h"

char **environ;
unsigned failures;

_Noreturn void sys_exit(int code) {
  syscall1(LINUX_NR_exit_group, code);
  for (;;)
    __asm__ volatile("brk #0");
}

void sleep_us(unsigned long us) {
  struct linux_timespec ts = {(int64_t)(us / 1000000), (int64_t)(us % 1000000 * 1000)};
  syscall2(LINUX_NR_nanosleep, &ts, 0);
}

void sleep_ms(unsigned long ms) {
  sleep_us(ms * 1000);
}

uint64_t now_ns(void) {
  struct linux_timespec ts = {0, 0};
  syscall2(LINUX_NR_clock_gettime, LINUX_CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

size_t str_len(const char *s) {
  size_t n = 0;
  while (s[n] != '\0')
    n++;
  return n;
}

bool str_starts(const char *s, const char *prefix) {
  while (*prefix != '\0')
    if (*s++ != *prefix++)
      return false;
  return true;
}

unsigned long str_number(const char *s) {
  unsigned long v = 0;
  for (; *s >= '0' && *s <= '9'; s++)
    v = v * 10 + (unsigned long)(*s - '0');
  return v;
}

const char *env_get(const char *name) {
  size_t n = str_len(name);
  for (char **e = environ; *e != NULL; e++)
    if (str_starts(*e, name) && (*e)[n] == '=')
      return *e + n + 1;
  return NULL;
}

struct sluice_fault_counts fault_counts(void) {
  struct sluice_fault_counts c = {0};
  syscall2(SLUICE_NR_fault_counts, &c, sizeof c);
  return c;
}

unsigned long minor_faults(void) {
  struct linux_rusage usage = {0};
  sys_getrusage(LINUX_RUSAGE_SELF, &usage);
  return (unsigned long)usage.ru_minflt;
}

void expect(bool holds, const char *what, unsigned long got, unsigned long want) {
  if (holds)
    return;
  failures++;
  print("  FAILED: %s is %lu (0x%lx), not %lu (0x%lx)\n", what, got, got, want, want);
}

int verdict(const char *name) {
  if (failures == 0)
    print("%s: PASS\n", name);
  else
    print("%s: FAIL (%u)\n", name, failures);
  return failures != 0;
}

int in_child(int (*fn)(void *), void *arg) {
  int status = 0;
  long pid = sys_fork();
  if (pid == 0)
    sys_exit(fn(arg));
  if (pid < 0)
    return (int)pid;
  long waited = sys_wait4(pid, &status, 0);
  return waited == pid ? status : (int)waited;
}

/* The compiler may ask for these. */
void *memset(void *to, int byte, size_t bytes);
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);

void *memset(void *to, int byte, size_t bytes) {
  for (unsigned char *p = to; bytes > 0; bytes--)
    *p++ = (unsigned char)byte;
  return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  unsigned char *d = to;
  for (const unsigned char *s = from; bytes > 0; bytes--)
    *d++ = *s++;
  return to;
}
