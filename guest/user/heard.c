/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads one line from the console, whichever it is, and says it again. */
#include "user.h"

int main(int argc, char **argv, char **envp) {
  char line[64];
  unsigned n = 0;
  (void)argc, (void)argv, (void)envp;
  print("heard: say something\n");
  while (n < sizeof line - 1 && sys_read(0, &line[n], 1) == 1 && line[n] != '\n')
    n++;
  line[n] = '\0';
  print("heard: <%s>\n", line);
  return n == 0;
}
