/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * printf-style formatting (C11 7.21.6.1 without floating point and %n), and the number parser of command lines and boot arguments.
 *
 * Every conversion goes through emit(), the only writer of the destination: it counts all and stores what fits, so truncation needs no
 * second look anywhere. Takes no lock, allocates nothing. An unknown conversion is copied out as it stands, so that a typing error in a
 * message shows instead of eating its arguments.
 */
#include "core/format.h"
#include "core/string.h"

struct sink {
  char *to;
  size_t cap;  /* bytes at `to`, the NUL included */
  size_t used; /* what the whole would have had so far */
};

enum {
  LEFT = 1,
  ZERO = 2,
  ALT = 4,
  PLUS = 8,
  SPACE = 16
};

struct spec {
  unsigned flags;
  int width;
  int precision; /* -1: none */
  int length;    /* bytes of the argument: 1, 2, 4, 8 */
};

static void emit(struct sink *s, char c) {
  if (s->used + 1 < s->cap)
    s->to[s->used] = c;
  s->used++;
}

static void emit_repeat(struct sink *s, char c, int count) {
  for (; count > 0; count--)
    emit(s, c);
}

static void emit_bytes(struct sink *s, const char *from, size_t bytes) {
  while (bytes--)
    emit(s, *from++);
}

/* A field of text: `bytes` of it padded to the width. */
static void emit_field(struct sink *s, const struct spec *spec, const char *from, size_t bytes) {
  int pad = spec->width > (int)bytes ? spec->width - (int)bytes : 0;
  if (!(spec->flags & LEFT))
    emit_repeat(s, ' ', pad);
  emit_bytes(s, from, bytes);
  if (spec->flags & LEFT)
    emit_repeat(s, ' ', pad);
}

/* Digits of `value`, ending before `end`; returns the first. A zero has no digits here. */
static char *digits(char *end, uint64_t value, unsigned base, bool upper) {
  const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  for (; value != 0; value /= base)
    *--end = set[value % base];
  return end;
}

/*
 *   [spaces] prefix [zeros] digits [spaces]
 *
 * Zeros come from the precision or, without one, from the flag '0' when the field is not left-justified.
 */
static void emit_number(struct sink *s, const struct spec *spec, const char *prefix, const char *first, int count) {
  int prefix_bytes = (int)strlen(prefix);
  int least = spec->precision < 0 ? 1 : spec->precision;
  int zeros = least > count ? least - count : 0;
  int pad = spec->width - prefix_bytes - zeros - count;
  if ((spec->flags & (ZERO | LEFT)) == ZERO && spec->precision < 0 && pad > 0) {
    zeros += pad;
    pad = 0;
  }
  if (!(spec->flags & LEFT))
    emit_repeat(s, ' ', pad);
  emit_bytes(s, prefix, (size_t)prefix_bytes);
  emit_repeat(s, '0', zeros);
  emit_bytes(s, first, (size_t)count);
  if (spec->flags & LEFT)
    emit_repeat(s, ' ', pad);
}

static void emit_signed(struct sink *s, const struct spec *spec, int64_t value) {
  char buffer[24], *end = buffer + sizeof(buffer);
  const char *prefix = value < 0 ? "-" : spec->flags & PLUS ? "+" : spec->flags & SPACE ? " " : "";
  uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  char *first = digits(end, magnitude, 10, false);
  emit_number(s, spec, prefix, first, (int)(end - first));
}

static void emit_unsigned(struct sink *s, const struct spec *spec, uint64_t value, char conversion) {
  char buffer[24], *end = buffer + sizeof(buffer);
  unsigned base = conversion == 'o' ? 8 : conversion == 'u' ? 10 : 16;
  const char *prefix = "";
  char *first = digits(end, value, base, conversion == 'X');
  if (spec->flags & ALT && value != 0 && base == 16)
    prefix = conversion == 'X' ? "0X" : "0x";
  if (spec->flags & ALT && base == 8 && spec->precision <= (int)(end - first) && (value != 0 || spec->precision == 0))
    *--first = '0'; /* the alternative form of octal raises the precision so that the first digit is 0 */
  emit_number(s, spec, prefix, first, (int)(end - first));
}

static void emit_string(struct sink *s, const struct spec *spec, const char *text) {
  if (!text)
    text = "(null)";
  emit_field(s, spec, text, spec->precision < 0 ? strlen(text) : strnlen(text, (size_t)spec->precision));
}

static unsigned flag_of(char c) {
  switch (c) {
  case '-':
    return LEFT;
  case '0':
    return ZERO;
  case '#':
    return ALT;
  case '+':
    return PLUS;
  case ' ':
    return SPACE;
  default:
    return 0;
  }
}

/* A decimal number at *p; stops growing before it could overflow. */
static int take_int(const char **p) {
  int n = 0;
  for (; **p >= '0' && **p <= '9'; (*p)++)
    n = n < 100000 ? n * 10 + (**p - '0') : n;
  return n;
}

static const char *take_length(const char *p, struct spec *spec) {
  spec->length = (int)sizeof(int);
  switch (*p) {
  case 'h':
    spec->length = p[1] == 'h' ? 1 : 2;
    return p[1] == 'h' ? p + 2 : p + 1;
  case 'l':
    spec->length = 8;
    return p[1] == 'l' ? p + 2 : p + 1;
  case 'z':
  case 't':
  case 'j':
    spec->length = 8;
    return p + 1;
  default:
    return p;
  }
}

/* C leaves a va_list in no defined state after passing it by value: it travels in a struct. */
struct arguments {
  va_list list;
};

static const char *take_spec(const char *p, struct spec *spec, struct arguments *args) {
  *spec = (struct spec){.precision = -1};
  for (unsigned flag; (flag = flag_of(*p)) != 0; p++)
    spec->flags |= flag;
  if (*p == '*') {
    p++;
    spec->width = va_arg(args->list, int);
    if (spec->width < 0) {
      spec->flags |= LEFT;
      spec->width = -spec->width;
    }
  } else {
    spec->width = take_int(&p);
  }
  if (*p == '.') {
    p++;
    if (*p == '*') {
      p++;
      spec->precision = va_arg(args->list, int);
    } else {
      spec->precision = take_int(&p);
    }
  }
  return take_length(p, spec);
}

static int64_t take_signed(const struct spec *spec, struct arguments *args) {
  if (spec->length == 8)
    return va_arg(args->list, int64_t);
  int value = va_arg(args->list, int);
  return spec->length == 1 ? (signed char)value : spec->length == 2 ? (short)value : value;
}

static uint64_t take_unsigned(const struct spec *spec, struct arguments *args) {
  if (spec->length == 8)
    return va_arg(args->list, uint64_t);
  unsigned value = va_arg(args->list, unsigned);
  return spec->length == 1 ? (unsigned char)value : spec->length == 2 ? (unsigned short)value : value;
}

static void emit_pointer(struct sink *s, struct spec *spec, const void *value) {
  spec->flags |= ALT;
  if (value)
    emit_unsigned(s, spec, (uint64_t)(uintptr_t)value, 'x');
  else
    emit_field(s, spec, "(nil)", 5);
}

/* One conversion; false if it is unknown. */
static bool convert(struct sink *s, struct spec *spec, char conversion, struct arguments *args) {
  char c;
  switch (conversion) {
  case 'd':
  case 'i':
    emit_signed(s, spec, take_signed(spec, args));
    return true;
  case 'u':
  case 'x':
  case 'X':
  case 'o':
    emit_unsigned(s, spec, take_unsigned(spec, args), conversion);
    return true;
  case 'c':
    c = (char)va_arg(args->list, int);
    emit_field(s, spec, &c, 1);
    return true;
  case 's':
    emit_string(s, spec, va_arg(args->list, const char *));
    return true;
  case 'p':
    emit_pointer(s, spec, va_arg(args->list, void *));
    return true;
  case '%':
    emit(s, '%');
    return true;
  default:
    return false;
  }
}

int format_v(char *to, size_t cap, const char *fmt, va_list args) {
  struct sink s = {.to = to, .cap = cap};
  struct arguments arguments;
  struct spec spec;
  va_copy(arguments.list, args);
  for (const char *p = fmt; *p; p++) {
    if (*p != '%') {
      emit(&s, *p);
      continue;
    }
    const char *start = p;
    p = take_spec(p + 1, &spec, &arguments);
    if (convert(&s, &spec, *p, &arguments))
      continue;
    emit_bytes(&s, start, (size_t)(p - start) + (*p != 0));
    if (*p == 0)
      break;
  }
  va_end(arguments.list);
  if (cap != 0)
    to[s.used < cap ? s.used : cap - 1] = 0;
  return (int)s.used;
}

int format(char *to, size_t cap, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  int length = format_v(to, cap, fmt, args);
  va_end(args);
  return length;
}

static int digit_of(char c, unsigned base) {
  int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  return digit < (int)base ? digit : -1;
}

static unsigned suffix_shift(char c) {
  switch (c) {
  case 'K':
  case 'k':
    return 10;
  case 'M':
  case 'm':
    return 20;
  case 'G':
  case 'g':
    return 30;
  default:
    return 0;
  }
}

bool parse_u64(const char *s, uint64_t *out) {
  unsigned base = 10;
  uint64_t value = 0;
  if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
    base = 16;
    s += 2;
  }
  if (digit_of(*s, base) < 0)
    return false;
  for (int digit; (digit = digit_of(*s, base)) >= 0; s++) {
    if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, (uint64_t)digit, &value))
      return false;
  }
  unsigned shift = suffix_shift(*s);
  if (shift != 0)
    s++;
  if (*s != 0 || (value << shift) >> shift != value)
    return false;
  *out = value << shift;
  return true;
}
