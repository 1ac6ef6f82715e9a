/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_RBTREE_H
#define CORE_RBTREE_H

/*
 * Intrusive red-black tree (Cormen et al., ch. 13) with an optional augment callback that recomputes a node's summary from its
 * children. The caller searches and links; the tree balances. The lock is the owner's business.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rb_node {
  struct rb_node *parent, *left, *right;
  bool red;
};

struct rb_root {
  struct rb_node *node;
};

/*
 * Recompute the summary of `n` from its children and what is its own; true if it changed, so that those above are due as well. NULL where
 * the tree is plain.
 */
typedef bool rb_augment_fn(struct rb_node *n);

/* Link `n` as the child of `parent` at `*link` (found by the caller's own descent), then rebalance. */
void rb_insert(struct rb_root *root, struct rb_node *n, struct rb_node *parent, struct rb_node **link, rb_augment_fn *augment);
void rb_erase(struct rb_root *root, struct rb_node *n, rb_augment_fn *augment);
/* After a change to `n` or below it that its ancestors summarise: up as far as it makes a difference. */
void rb_augment_path(struct rb_node *n, rb_augment_fn *augment);

struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *n);
struct rb_node *rb_prev(const struct rb_node *n);

#endif
