/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_CATCH_H
#define HYP_CTL_CATCH_H

/*
 * Catching a VM in the act: it is paused at the very instruction by which it completes a line with a certain text, and the first address
 * behind that text (a word of at least four hexadecimal digits, with or without 0x) is kept under a name, for `walk alpha $name`.
 */

#include "core/err.h"
#include "core/types.h"

struct log_line;
struct vm;

#define CATCH_NAME_MAX 16u
#define CATCH_TEXT_MAX 64u

/* Catch `vm` (its name) once. `variable` may be NULL. ERR_NOSPC if too many are set, ERR_INVAL if a string is too long. */
MUST_CHECK err_t catch_set(const char *vm, const char *text, const char *variable);
/*
 * A VM completed a line, on the CPU that runs it: true if it was to be caught, and pauses it then. Cheap when nothing is set. No lock held.
 */
bool catch_line(struct vm *vm, const char *line);
/* The value of a variable as "0x...", valid until it is caught anew; NULL if there is none. */
const char *catch_variable(const char *name);

#endif
