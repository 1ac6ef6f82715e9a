/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line. Owns `bootargs`, constant after bootargs_parse(). The words stay where they are in the line. */
#include "guest/kernel/bootargs.h"

#include "core/string.h"

struct bootargs bootargs = {.poweroff = true};

/* The next word, unquoted in place and terminated; NULL at the end. */
static char *next_word(char **rest) {
  char *in = *rest, *word, *out;
  bool quoted = false;
  while (*in == ' ')
    in++;
  if (*in == '\0')
    return NULL;
  for (word = out = in; *in != '\0' && (quoted || *in != ' '); in++) {
    if (*in == '"')
      quoted = !quoted;
    else
      *out++ = *in;
  }
  *rest = *in == '\0' ? in : in + 1;
  *out = '\0';
  return word;
}

static bool kernel_takes(const char *word) {
  if (strncmp(word, "init=", 5) == 0)
    bootargs.init = word + 5;
  else if (strcmp(word, "trace") == 0)
    bootargs.trace = true;
  else if (strcmp(word, "probe") == 0)
    bootargs.probe = true;
  else if (strcmp(word, "quiet") == 0)
    bootargs.quiet = true;
  else if (strncmp(word, "poweroff=", 9) == 0)
    bootargs.poweroff = strcmp(word + 9, "off") != 0;
  else
    return false;
  return true;
}

static void keep(const char **list, unsigned *count, const char *word) {
  if (*count < INIT_ARGS_MAX)
    list[(*count)++] = word;
}

void bootargs_parse(char *line) {
  char *word;
  bool for_init = false;
  while ((word = next_word(&line)) != NULL) {
    if (for_init)
      keep(bootargs.argv, &bootargs.argc, word);
    else if (strcmp(word, "--") == 0)
      for_init = true;
    else if (kernel_takes(word))
      continue;
    else if (strchr(word, '=') != NULL)
      keep(bootargs.envp, &bootargs.envc, word);
    else
      keep(bootargs.argv, &bootargs.argc, word);
  }
}
