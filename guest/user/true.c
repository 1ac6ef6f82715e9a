/* SPDX-License-Identifier: BSD-2-Clause */
/* Does nothing, successfully: the smallest program to exec. */
#include "user.h"

int main(int argc, char **argv, char **envp) {
  (void)argc, (void)argv, (void)envp;
  return 0;
}
