/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Words and lists of words: look-ups in small tables, string lists of the blob, and the nearest known name for a misspelt one.
 * Pure functions over memory that the caller owns; no lock, no state.
 */

#include "core/bits.h"
#include "core/string.h"
#include "hyp/ctl/scenario.h"

#define NEAREST_LENGTH_MAX 32u

const char *scenario_next_string(const struct scenario_strings *list, uint32_t *at) {
  if (*at >= list->bytes)
    return NULL;
  const char *s = list->data + *at;
  *at += (uint32_t)strlen(s) + 1;
  return s;
}

unsigned scenario_string_count(const struct scenario_strings *list) {
  uint32_t at = 0;
  unsigned count = 0;
  while (scenario_next_string(list, &at))
    count++;
  return count;
}

int scenario_word_index(const char *const *words, unsigned count, const char *word) {
  for (unsigned i = 0; i < count; i++)
    if (strcmp(words[i], word) == 0)
      return (int)i;
  return -1;
}

/* Levenshtein's distance, one row at a time. Both lengths are at most NEAREST_LENGTH_MAX. */
static unsigned distance(const char *a, unsigned a_length, const char *b, unsigned b_length) {
  uint8_t row[NEAREST_LENGTH_MAX + 1];
  for (unsigned j = 0; j <= b_length; j++)
    row[j] = (uint8_t)j;
  for (unsigned i = 1; i <= a_length; i++) {
    uint8_t diagonal = row[0];
    row[0] = (uint8_t)i;
    for (unsigned j = 1; j <= b_length; j++) {
      uint64_t replaced = (uint64_t)diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = (uint8_t)min_u64(replaced, min_u64(row[j], row[j - 1]) + 1u);
    }
  }
  return row[b_length];
}

const char *scenario_nearest(const char *const *names, unsigned count, const char *name) {
  unsigned length = (unsigned)strnlen(name, NEAREST_LENGTH_MAX + 1), best = length / 3 + 1;
  const char *nearest = NULL;
  if (length > NEAREST_LENGTH_MAX)
    return NULL;
  for (unsigned i = 0; i < count; i++) {
    unsigned other = (unsigned)strnlen(names[i], NEAREST_LENGTH_MAX + 1);
    if (other > NEAREST_LENGTH_MAX)
      continue;
    unsigned d = distance(name, length, names[i], other);
    if (d <= best && d < other) {
      nearest = names[i];
      best = d - (d > 0);
      if (d == 0)
        break;
    }
  }
  return nearest;
}
