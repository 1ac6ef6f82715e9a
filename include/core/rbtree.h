/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_RBTREE_H
#define CORE_RBTREE_H

/*
 * Intrusive red-black tree (Cormen et al., ch. 13). The caller searches and links; the tree balances. The lock is the owner's business.
 *
 * For owners who search for a node whose value is large enough there is `bound`: at least the node's own value and at least its
 * children's bounds, so that a subtree whose bound is too small need not be entered. It is an upper bound and not the maximum, which
 * makes it cheap: what takes another's place takes its bound as well, a value that grows is raised along its path, one that shrinks is
 * left alone, and a search that was led astray tightens what it comes past. An over-estimate is paid for once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rb_node {
  struct rb_node *parent, *left, *right;
  uint64_t bound; /* set by the owner before rb_insert(): the node's own value, or 0 where bounds are not used */
  bool red;
};

struct rb_root {
  struct rb_node *node;
};

/* Link `n` as the child of `parent` at `*link` (found by the caller's own descent), then rebalance. */
void rb_insert(struct rb_root *root, struct rb_node *n, struct rb_node *parent, struct rb_node **link);
void rb_erase(struct rb_root *root, struct rb_node *n);

/* The value of `n` is `value` now, more than before perhaps: up as far as bounds are less. */
static inline void rb_raise(struct rb_node *n, uint64_t value) {
  for (; n && n->bound < value; n = n->parent)
    n->bound = value;
}

/* Lower the bound of `n`, whose own value is `value`, as far as its children allow. */
static inline void rb_tighten(struct rb_node *n, uint64_t value) {
  if (n->left && n->left->bound > value)
    value = n->left->bound;
  if (n->right && n->right->bound > value)
    value = n->right->bound;
  n->bound = value;
}

struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *n);
struct rb_node *rb_prev(const struct rb_node *n);

#endif
