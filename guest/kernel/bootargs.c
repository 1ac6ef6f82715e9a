/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line. Owns `bootargs`, constant after bootargs_parse(). The words stay where they are in the line. */
#include "guest/kernel/bootargs.h"

#include "core/string.h"

struct bootargs bootargs = {.poweroff = true, .reporting_ms = 20};

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

/* Decimal, at most BOOTARG_MS_MAX; what is no number is 0. */
static unsigned milliseconds(const char *text) {
  unsigned value = 0;
  for (; *text >= '0' && *text <= '9' && value < BOOTARG_MS_MAX; text++)
    value = value * 10 + (unsigned)(*text - '0');
  if (*text >= '0' && *text <= '9')
    return BOOTARG_MS_MAX;
  return *text != '\0' ? 0 : value < BOOTARG_MS_MAX ? value : BOOTARG_MS_MAX;
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
  else if (strcmp(word, "console=hvc0") == 0)
    bootargs.console_hvc = true;
  else if (strcmp(word, "console=ttyAMA0") == 0)
    bootargs.console_uart = true;
  else if (strncmp(word, "compact=", 8) == 0)
    bootargs.compact_ms = milliseconds(word + 8);
  else if (strncmp(word, "shuffle=", 8) == 0)
    bootargs.shuffle_ms = milliseconds(word + 8);
  else if (strncmp(word, "reporting=", 10) == 0)
    bootargs.reporting_ms = milliseconds(word + 10);
  else if (strcmp(word, "poison") == 0)
    bootargs.poison = true;
  else
    return false;
  return true;
}

static void keep(const char **list, unsigned *count, const char *word) {
  if (*count < INIT_ARGS_MAX)
    list[(*count)++] = word;
}

static void keep_for_init(const char *word, bool as_argument) {
  if (as_argument)
    keep(bootargs.argv, &bootargs.argc, word);
  else
    keep(bootargs.envp, &bootargs.envc, word);
}

void bootargs_parse(char *line) {
  char *word;
  bool rest_for_init = false;
  while ((word = next_word(&line)) != NULL) {
    if (!rest_for_init && strcmp(word, "--") == 0)
      rest_for_init = true;
    else if (rest_for_init || !kernel_takes(word))
      keep_for_init(word, rest_for_init || strchr(word, '=') == NULL);
  }
}
