/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The physical PL011 and everything that is said on it.
 *
 * Lines are the unit: a guest's bytes gather in a buffer per VM and go out as "name| line" when complete, with control characters
 * made visible, so that no guest can steer the terminal or forge a line of EL2. Below the lines stands the foot: the monitor's
 * prompt with what is being typed, or the unfinished line of the focused guest. It is taken away before a line goes out and drawn
 * anew after it. Without a person at the console there is no foot and the output is lines only.
 * The focused guest's bytes pass through as they are, since its user wants them so.
 *
 * Locks: con.lock covers the UART's data register and all of `con` but guests' unfinished lines. Each of those has a lock of its own, so
 * that guests that talk at once meet at the ends of their lines only; the focused guest's is drawn too, and changes with con.lock held as
 * well. The order is a guest's, then con.lock; nothing is called with either held. A new line wakes the timeline after they are let go.
 */

#include "hyp/ctl/console.h"

#include "arch/lock.h"
#include "arch/pl011.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/catch.h"
#include "hyp/ctl/line_editor.h"
#include "hyp/ctl/monitor.h"
#include "hyp/ctl/timeline.h"
#include "hyp/dev/virtio/console.h"

#define PROMPT "sluice> "
#define KEY_TO_MONITOR 0x1d   /* Ctrl-] */
#define KEY_TO_MONITOR_2 0x14 /* Ctrl-T */
#define INPUT_PER_IRQ 64u

struct guest_line {
  struct spinlock lock;
  uint16_t length; /* prefix included; 0: nothing yet */
  uint8_t prefix;
  char text[LOG_LINE_MAX];
};

static struct {
  struct spinlock lock;
  volatile void *uart;
  bool emergency, closed, quiet, interactive, prompt, foot_shown;
  unsigned focus;
  struct line_editor editor;
  struct line_log log;
  struct guest_line guest[VMS_MAX + 1]; /* by VM id */
} con;

static void take(struct spinlock *lock) {
  if (!con.emergency)
    spin_lock(lock);
}

static void give(struct spinlock *lock) {
  if (!con.emergency)
    spin_unlock(lock);
}

static void lock(void) {
  take(&con.lock);
}

static void unlock(void) {
  give(&con.lock);
}

/* --- drawing; con.lock held --- */

static void put(const char *text, unsigned length) {
  if (!con.uart || con.closed)
    return;
  for (unsigned i = 0; i < length; i++)
    pl011_write_byte(con.uart, (unsigned char)text[i]);
}

static void put_string(const char *s) {
  put(s, (unsigned)strlen(s));
}

static void hide_foot(void) {
  if (con.foot_shown)
    put_string("\r\033[K");
  con.foot_shown = false;
}

static void show_prompt(void) {
  char back[16];
  if (!con.interactive || !con.prompt)
    return;
  put_string(PROMPT);
  put(con.editor.text, con.editor.length);
  if (con.editor.cursor < con.editor.length) {
    format(back, sizeof back, "\033[%uD", con.editor.length - con.editor.cursor);
    put_string(back);
  }
  con.foot_shown = true;
}

static void show_foot(void) {
  if (con.focus == 0) {
    show_prompt();
  } else if (con.guest[con.focus].length > 0) {
    put(con.guest[con.focus].text, con.guest[con.focus].length);
    con.foot_shown = true;
  }
}

static void redraw_foot(void) {
  hide_foot();
  show_foot();
}

static void add_line(const char *text, unsigned length, unsigned prefix, bool shown) {
  line_log_append(&con.log, text, length, prefix);
  if (!shown)
    return;
  hide_foot();
  put(text, length);
  put("\n", 1);
}

/* --- EL2's own lines --- */

/* Lines of `message`, each on its own, then the foot. */
static void add_message(const char *message, bool shown) {
  while (*message) {
    const char *end = strchr(message, '\n');
    unsigned length = end ? (unsigned)(end - message) : (unsigned)strlen(message);
    add_line(message, length, 0, shown);
    message += length + (end != NULL);
  }
  if (shown && !con.foot_shown)
    show_foot();
}

static void message_v(bool note, const char *fmt, va_list args) {
  char message[CONSOLE_MESSAGE_MAX + 1];
  format_v(message, sizeof message, fmt, args);
  lock();
  add_message(message, !(note && con.quiet));
  unlock();
  timeline_line_ready();
}

void hyp_printf(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  message_v(false, fmt, args);
  va_end(args);
}

void hyp_note(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  message_v(true, fmt, args);
  va_end(args);
}

/* --- guests' lines --- */

static void begin_guest_line(struct guest_line *g, const struct vm *vm) {
  size_t name = strlcpy(g->text, vm->config.name, VM_NAME_MAX);
  g->text[name] = '|';
  g->text[name + 1] = ' ';
  g->prefix = (uint8_t)(name + 2);
  g->length = g->prefix;
}

/* The line is over. Of a focused guest it stands on the screen already, as the foot. */
static void end_guest_line(struct guest_line *g, unsigned id, bool shown) {
  line_log_append(&con.log, g->text, g->length, g->prefix);
  if (con.focus == id) {
    put("\n", 1);
    con.foot_shown = false;
  } else if (shown) {
    hide_foot();
    put(g->text, g->length);
    put("\n", 1);
    show_foot();
  }
  g->length = 0;
}

static void keep_byte(struct guest_line *g, uint8_t byte) {
  if (byte == '\b')
    g->length -= g->length > g->prefix;
  else if (byte == '\t')
    g->text[g->length++] = ' ';
  else if (byte != '\r')
    g->text[g->length++] = byte >= ' ' && byte <= '~' ? (char)byte : '?';
}

static void echo_byte(const struct guest_line *g, bool first, uint8_t byte) {
  if (first) {
    hide_foot();
    put(g->text, g->prefix);
  }
  put((const char *)&byte, 1);
  con.foot_shown = true;
}

static bool is_complete(const struct guest_line *g, uint8_t byte) {
  return byte == '\n' || g->length == sizeof g->text;
}

/* A byte of a guest that nobody watches. True if the line is complete with it. g->lock held. */
static bool add_byte(struct guest_line *g, const struct vm *vm, uint8_t byte) {
  if (g->length == 0)
    begin_guest_line(g, vm);
  if (byte != '\n')
    keep_byte(g, byte);
  return is_complete(g, byte);
}

/* The same and on the screen, if the guest still has the focus. Both locks held. */
static bool add_focused_byte(struct guest_line *g, const struct vm *vm, uint8_t byte) {
  bool first = g->length == 0, complete = add_byte(g, vm, byte);
  if (con.focus == vm->id && byte != '\n')
    echo_byte(g, first, byte);
  return complete;
}

/* True if a line was completed; then its text, without the name, is in `line`. g->lock held. */
static bool guest_byte(struct guest_line *g, const struct vm *vm, uint8_t byte, char line[LOG_LINE_MAX + 1]) {
  bool focused = atomic_load_relaxed(&con.focus) == vm->id; /* it gets the focus under g->lock only */
  if (!focused && !add_byte(g, vm, byte))
    return false;
  lock();
  bool complete = !focused || add_focused_byte(g, vm, byte);
  if (complete) {
    memcpy(line, g->text + g->prefix, g->length - g->prefix);
    line[g->length - g->prefix] = '\0';
    end_guest_line(g, vm->id, !con.quiet && !vm->config.console_quiet);
  }
  unlock();
  return complete;
}

void console_guest_byte(struct vm *vm, uint8_t byte) {
  struct guest_line *g = &con.guest[vm->id];
  char line[LOG_LINE_MAX + 1];
  take(&g->lock);
  bool complete = guest_byte(g, vm, byte, line);
  give(&g->lock);
  if (complete) {
    (void)catch_line(vm, line);
    timeline_line_ready();
  }
}

void console_guest_gone(unsigned id) {
  take(&con.guest[id].lock);
  lock();
  if (con.guest[id].length > 0)
    end_guest_line(&con.guest[id], id, !con.quiet);
  if (con.focus == id) {
    atomic_store_relaxed(&con.focus, 0u);
    show_foot();
  }
  unlock();
  give(&con.guest[id].lock);
}

/* --- input --- */

static void submit_line(char line[EDITOR_LINE_MAX + 1]) {
  hide_foot();
  put_string(PROMPT);
  put(con.editor.text, con.editor.length);
  put("\n", 1);
  strlcpy(line, con.editor.text, EDITOR_LINE_MAX + 1);
  editor_reset(&con.editor);
}

static void monitor_key(uint8_t byte) {
  char line[EDITOR_LINE_MAX + 1];
  lock();
  con.interactive = true;
  enum editor_event event = editor_key(&con.editor, byte);
  if (event == EDITOR_LINE)
    submit_line(line);
  else if (event != EDITOR_NONE || !con.foot_shown)
    redraw_foot();
  unlock();
  if (event == EDITOR_LINE)
    monitor_submit(line);
  else if (event == EDITOR_INTERRUPT)
    monitor_interrupt();
}

bool console_give(struct vm *vm, uint8_t byte) {
  return virtio_console_receive(vm, byte) || vuart_receive(vm, byte);
}

static void guest_key(unsigned id, uint8_t byte) {
  struct vm *vm = vm_by_id(id);
  if (!vm || !console_give(vm, byte)) {
    lock();
    put("\a", 1);
    unlock();
  }
}

static void key(uint8_t byte) {
  unsigned focus = atomic_load_relaxed(&con.focus);
  if (focus == 0)
    monitor_key(byte);
  else if (byte == KEY_TO_MONITOR || byte == KEY_TO_MONITOR_2)
    console_set_focus(0);
  else
    guest_key(focus, byte);
}

bool console_poll(unsigned max) {
  for (unsigned i = 0; i < max; i++) {
    int byte = pl011_read_byte(con.uart);
    if (byte < 0)
      return false;
    key((uint8_t)byte);
  }
  return true;
}

/* Cleared before reading: the PL011 raises its interrupt as the FIFO fills, so a clear after the last read could swallow a byte's. */
void console_irq(void) {
  mmio_write32(con.uart, PL011_ICR, PL011_INT_RX | PL011_INT_RT);
  if (console_poll(INPUT_PER_IRQ))
    monitor_poll_input();
}

/* --- set-up and modes --- */

void console_init(volatile void *pl011_base) {
  con.uart = pl011_base;
  con.prompt = true;
  mmio_write32(pl011_base, PL011_LCR_H, PL011_LCR_H_FEN | PL011_LCR_H_WLEN8);
  mmio_write32(pl011_base, PL011_CR, PL011_CR_UARTEN | PL011_CR_TXE | PL011_CR_RXE);
  mmio_write32(pl011_base, PL011_IMSC, PL011_INT_RX | PL011_INT_RT);
}

void console_emergency(void) {
  con.emergency = true;
}

void console_set_quiet(bool quiet) {
  con.quiet = quiet;
}

void console_set_interactive(void) {
  lock();
  con.interactive = true;
  redraw_foot();
  unlock();
}

void console_set_prompt(bool shown) {
  lock();
  con.prompt = shown;
  redraw_foot();
  unlock();
}

void console_set_focus(unsigned id) {
  take(&con.guest[id].lock); /* of 0, the monitor, it covers nothing */
  lock();
  hide_foot();
  atomic_store_relaxed(&con.focus, id);
  show_foot();
  unlock();
  give(&con.guest[id].lock);
}

uint64_t console_log_head(void) {
  lock();
  uint64_t head = con.log.head;
  unlock();
  return head;
}

bool console_log_read(uint64_t *at, struct log_line *out) {
  lock();
  bool found = line_log_read(&con.log, at, out);
  unlock();
  return found;
}

void console_replay(const struct log_line *line) {
  lock();
  hide_foot();
  put(line->text, line->length);
  put("\n", 1);
  show_foot();
  unlock();
}

static void drain(void) {
  while (con.uart && mmio_read32(con.uart, PL011_FR) & PL011_FR_BUSY)
    cpu_relax();
}

bool console_close(const char *fmt, ...) {
  char message[CONSOLE_MESSAGE_MAX + 1];
  va_list args;
  va_start(args, fmt);
  format_v(message, sizeof message, fmt, args);
  va_end(args);
  lock();
  bool first = !con.closed;
  con.prompt = false;
  atomic_store_relaxed(&con.focus, 0u);
  add_message(message, true);
  drain();
  con.closed = true;
  unlock();
  return first;
}
