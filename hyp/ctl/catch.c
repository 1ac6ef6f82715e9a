/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Catches and variables. A catch works once; variables stay. Both are few, in fixed tables, and cost a guest nothing while none is
 * set: console.c asks only when a line is complete.
 *
 * The VM is paused from within its own exit (the store to its UART), so it does not execute another instruction, however fast
 * the monitor's work comes to it. Other vCPUs of the VM stop as soon as their CPUs hear of it.
 * Lock: catch_lock covers both tables; a leaf.
 */

#include "hyp/ctl/catch.h"

#include "arch/lock.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/expect.h"

#define CATCHES_MAX 8u
#define VARIABLES_MAX 8u
#define ADDRESS_DIGITS 4u

struct variable {
  char name[CATCH_NAME_MAX];
  char value[20];
};

static struct spinlock catch_lock;
static uint32_t catch_count; /* catches that are set; read without the lock as a hint */
static struct {
  bool set;
  char vm[VM_NAME_MAX], text[CATCH_TEXT_MAX], variable[CATCH_NAME_MAX];
} catches[CATCHES_MAX];
static struct variable variables[VARIABLES_MAX];

static struct variable *find_variable(const char *name) {
  for (unsigned i = 0; i < VARIABLES_MAX; i++)
    if (strcmp(variables[i].name, name) == 0)
      return &variables[i];
  return NULL;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The word at `at` as hexadecimal, with or without 0x; false if it is no such word, or shorter than an address worth catching. */
static bool hex_word(const char *at, uint64_t *value) {
  unsigned digits = 0;
  at += at[0] == '0' && at[1] == 'x' ? 2 : 0;
  for (*value = 0; hex_digit(*at) >= 0; at++, digits++)
    *value = *value << 4 | (uint64_t)hex_digit(*at);
  bool ends = !(*at >= 'a' && *at <= 'z') && !(*at >= 'A' && *at <= 'Z') && *at != '_';
  return ends && digits >= ADDRESS_DIGITS;
}

/* The first address that follows `text` in `line`, 0 if there is none. */
static uint64_t number_after(const char *line, const char *text) {
  uint64_t value = 0;
  const char *at = line;
  while (*at && strncmp(at, text, strlen(text)) != 0)
    at++;
  at += *at ? strlen(text) : 0;
  for (char before = ' '; *at; before = *at++)
    if (before == ' ' && hex_word(at, &value))
      return value;
  return 0;
}

static void keep(const char *name, uint64_t value) {
  struct variable *v = find_variable(name);
  if (!v)
    v = find_variable("");
  if (!v)
    return;
  strlcpy(v->name, name, sizeof v->name);
  format(v->value, sizeof v->value, "0x%llx", (unsigned long long)value);
}

static err_t set_free(const char *vm, const char *text, const char *variable) {
  for (unsigned i = 0; i < CATCHES_MAX; i++) {
    if (catches[i].set)
      continue;
    strlcpy(catches[i].vm, vm, sizeof catches[i].vm);
    strlcpy(catches[i].text, text, sizeof catches[i].text);
    strlcpy(catches[i].variable, variable ? variable : "", sizeof catches[i].variable);
    catches[i].set = true;
    atomic_add_fetch(&catch_count, 1);
    return ERR_OK;
  }
  return ERR_NOSPC;
}

err_t catch_set(const char *vm, const char *text, const char *variable) {
  if (strlen(vm) >= VM_NAME_MAX || strlen(text) >= CATCH_TEXT_MAX || (variable && strlen(variable) >= CATCH_NAME_MAX))
    return ERR_INVAL;
  spin_lock(&catch_lock);
  err_t e = set_free(vm, text, variable);
  spin_unlock(&catch_lock);
  return e;
}

static bool take(const char *vm, const char *line) {
  for (unsigned i = 0; i < CATCHES_MAX; i++) {
    if (!catches[i].set || strcmp(catches[i].vm, vm) != 0 || !text_contains(line, catches[i].text))
      continue;
    if (catches[i].variable[0])
      keep(catches[i].variable, number_after(line, catches[i].text));
    catches[i].set = false;
    atomic_add_fetch(&catch_count, (uint32_t)-1);
    return true;
  }
  return false;
}

bool catch_line(struct vm *vm, const char *line) {
  if (atomic_load_relaxed(&catch_count) == 0)
    return false;
  spin_lock(&catch_lock);
  bool caught = take(vm->config.name, line);
  spin_unlock(&catch_lock);
  if (caught) {
    vm_pause_self(vm);
    hyp_note("sluice: %s: caught: %s\n", vm->config.name, line);
  }
  return caught;
}

const char *catch_variable(const char *name) {
  const struct variable *v = name[0] ? find_variable(name) : NULL;
  return v ? v->value : NULL;
}
