/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random bytes and many lines: what the entropy and the console device are for. virtdemo:LINES prints so many lines (default 20), numbered
 * and full, reads 64 KiB of random bytes, and judges them: ones and zeroes balance, no 8 bytes come twice in a row. virtdemo:LINES:MS does
 * so again and again until MS milliseconds are over.
 */
#include "user.h"

#define CHUNK 256
#define CHUNKS 256
#define PAUSE_MS 500

static unsigned long number(const char *s) {
  unsigned long n = 0;
  for (; *s >= '0' && *s <= '9'; s++)
    n = n * 10 + (unsigned long)(*s - '0');
  return n;
}

static bool read_random(uint64_t *to) {
  return syscall3(LINUX_NR_getrandom, to, CHUNK, 0) == CHUNK;
}

/* Ones among CHUNKS * CHUNK bytes; 0 if a word repeats or none come. */
static unsigned long count_ones(void) {
  uint64_t words[CHUNK / 8], last = 0;
  unsigned long ones = 0;
  for (unsigned i = 0; i < CHUNKS; i++) {
    if (!read_random(words))
      return 0;
    for (unsigned w = 0; w < CHUNK / 8; w++) {
      if (words[w] == last)
        return 0;
      last = words[w];
      for (uint64_t v = last; v != 0; v &= v - 1)
        ones++;
    }
  }
  return ones;
}

static bool lines_and_bytes(unsigned long lines) {
  unsigned long half = CHUNKS * CHUNK * 4ul;
  for (unsigned long i = 1; i <= lines; i++)
    print("virtdemo: pid %ld line %lu of %lu ..................................................\n", sys_getpid(), i, lines);
  unsigned long ones = count_ones();
  print("virtdemo: pid %ld: %lu ones among %lu random bits\n", sys_getpid(), ones, 2 * half);
  return ones > half - half / 128 && ones < half + half / 128;
}

int main(int argc, char **argv, char **envp) {
  unsigned long lines = argc > 1 ? number(argv[1]) : 20, ms = argc > 2 ? number(argv[2]) : 0;
  uint64_t end = now_ns() + ms * 1000000;
  bool good = lines_and_bytes(lines);
  (void)envp;
  while (good && now_ns() < end) {
    sleep_ms(PAUSE_MS);
    good = lines_and_bytes(lines);
  }
  print("virtdemo: %s\n", good ? "PASS" : "FAIL");
  return good ? 0 : 1;
}
