/* SPDX-License-Identifier: BSD-2-Clause */
/* The smallest program: says who it is and what it was given. */
#include "user.h"

int main(int argc, char **argv, char **envp) {
  (void)envp;
  print("hello: pid %ld at EL0, %d argument%s\n", sys_getpid(), argc - 1, argc == 2 ? "" : "s");
  for (int i = 1; i < argc; i++)
    print("hello: argv[%d] = %s\n", i, argv[i]);
  return 0;
}
