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

/* Rebalancing, for rb_insert() and rb_erase() alone. */
void rb_insert_fixup(struct rb_root *root, struct rb_node *n);
void rb_erase_inner(struct rb_root *root, struct rb_node *n);

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

/*
 * Link `n` as the child of `parent` at `*link` (found by the caller's own descent), then rebalance: half of the time there is nothing to
 * do.
 */
static inline void rb_insert(struct rb_root *root, struct rb_node *n, struct rb_node *parent, struct rb_node **link) {
  n->parent = parent;
  n->left = NULL;
  n->right = NULL;
  n->red = true;
  *link = n;
  rb_raise(parent, n->bound); /* before the first rotation: what comes up takes over the bound it finds */
  if (!parent || parent->red)
    rb_insert_fixup(root, n);
}

/* A red leaf just goes: what was inserted last, as a rule. */
static inline void rb_erase(struct rb_root *root, struct rb_node *n) {
  struct rb_node *parent = n->parent;
  if (!n->red || n->left || n->right)
    rb_erase_inner(root, n);
  else if (parent->left == n)
    parent->left = NULL;
  else
    parent->right = NULL;
}

struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *n);
struct rb_node *rb_prev(const struct rb_node *n);

#endif
