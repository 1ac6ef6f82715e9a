/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_LIST_H
#define CORE_LIST_H

/* Intrusive doubly linked circular list. The lock of a list is its owner's business. An unlinked node points to itself. */

#include "core/compiler.h"
#include <stdbool.h>

struct list_node {
  struct list_node *next, *prev;
};

static inline void list_init(struct list_node *n) {
  n->next = n;
  n->prev = n;
}

static inline bool list_is_empty(const struct list_node *head) {
  return head->next == head;
}

static inline void list_insert_between(struct list_node *n, struct list_node *prev, struct list_node *next) {
  n->prev = prev;
  n->next = next;
  prev->next = n;
  next->prev = n;
}

static inline void list_push_front(struct list_node *head, struct list_node *n) {
  list_insert_between(n, head, head->next);
}

static inline void list_push_back(struct list_node *head, struct list_node *n) {
  list_insert_between(n, head->prev, head);
}

/* Unlink and leave pointing to itself, so that a second removal does no harm. */
static inline void list_remove(struct list_node *n) {
  n->prev->next = n->next;
  n->next->prev = n->prev;
  list_init(n);
}

/* First node, or NULL when empty. */
static inline struct list_node *list_first(struct list_node *head) {
  return list_is_empty(head) ? NULL : head->next;
}

#define list_entry(node_, type_, member_) container_of(node_, type_, member_)

#define list_for_each(pos_, head_) for (struct list_node * (pos_) = (head_)->next; (pos_) != (head_); (pos_) = (pos_)->next)

/* As list_for_each, but the body may unlink `pos_`. */
#define list_for_each_safe(pos_, next_, head_)                                                                                             \
  for (struct list_node * (pos_) = (head_)->next, *(next_) = (pos_)->next; (pos_) != (head_); (pos_) = (next_), (next_) = (pos_)->next)

#endif
