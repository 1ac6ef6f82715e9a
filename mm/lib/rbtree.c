/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intrusive red-black tree: Cormen, Leiserson, Rivest, Stein, "Introduction to Algorithms", ch. 13, with NULL as the black leaf.
 *
 * Invariants between calls: the root is black; a red node has no red child; every path from a node to a leaf below it passes the
 * same number of black nodes; no node's bound is less than its children's. Takes no lock, allocates nothing, refuses nothing: order and
 * values are the caller's.
 */
#include "core/rbtree.h"

static bool is_red(const struct rb_node *n) {
  return n && n->red;
}

/* Put `to` (may be NULL) where `from` hangs below its parent. */
static void replace_child(struct rb_root *root, struct rb_node *from, struct rb_node *to) {
  struct rb_node *parent = from->parent;
  if (!parent)
    root->node = to;
  else if (parent->left == from)
    parent->left = to;
  else
    parent->right = to;
  if (to)
    to->parent = parent;
}

/*
 *     n              r
 *    / \            / \
 *   a   r    ->    n   c        and the mirror image when `left` is false
 *      / \        / \
 *     b   c      a   b
 */
static void rotate(struct rb_root *root, struct rb_node *n, bool left) {
  struct rb_node *r = left ? n->right : n->left;
  struct rb_node *b = left ? r->left : r->right;
  replace_child(root, n, r);
  if (left) {
    n->right = b;
    r->left = n;
  } else {
    n->left = b;
    r->right = n;
  }
  if (b)
    b->parent = n;
  n->parent = r;
  r->bound = n->bound;
}

/* `n` is red and so may be its parent: move the clash up, or rotate it away. */
void rb_insert_fixup(struct rb_root *root, struct rb_node *n) {
  while (is_red(n->parent)) {
    struct rb_node *parent = n->parent, *grand = parent->parent;
    bool on_left = parent == grand->left;
    struct rb_node *uncle = on_left ? grand->right : grand->left;
    if (is_red(uncle)) {
      parent->red = false;
      uncle->red = false;
      grand->red = true;
      n = grand;
      continue;
    }
    if (n == (on_left ? parent->right : parent->left)) {
      rotate(root, parent, on_left);
      parent = n;
    }
    parent->red = false;
    grand->red = true;
    rotate(root, grand, !on_left);
    break;
  }
  root->node->red = false;
}

/* `parent`'s sibling pair, seen from a child `n` (NULL allowed) that lacks one black. Returns the sibling, made black by rotation. */
static struct rb_node *black_sibling(struct rb_root *root, struct rb_node *parent, bool on_left) {
  struct rb_node *s = on_left ? parent->right : parent->left;
  if (!s->red)
    return s;
  s->red = false;
  parent->red = true;
  rotate(root, parent, on_left);
  return on_left ? parent->right : parent->left;
}

/* Paths through `n`, child of `parent`, lack one black node. */
static void erase_fixup(struct rb_root *root, struct rb_node *n, struct rb_node *parent) {
  while (n != root->node && !is_red(n)) {
    bool on_left = n == parent->left;
    struct rb_node *s = black_sibling(root, parent, on_left);
    struct rb_node *near = on_left ? s->left : s->right, *far = on_left ? s->right : s->left;
    if (!is_red(near) && !is_red(far)) {
      s->red = true;
      n = parent;
      parent = n->parent;
      continue;
    }
    if (!is_red(far)) {
      near->red = false;
      s->red = true;
      rotate(root, s, !on_left);
      far = s;
      s = near;
    }
    s->red = parent->red;
    parent->red = false;
    far->red = false;
    rotate(root, parent, on_left);
    n = root->node;
    break;
  }
  if (n)
    n->red = false;
}

static struct rb_node *leftmost(struct rb_node *n) {
  while (n->left)
    n = n->left;
  return n;
}

static struct rb_node *rightmost(struct rb_node *n) {
  while (n->right)
    n = n->right;
  return n;
}

/* `n` has two children: its successor `s`, the leftmost of its right subtree, takes its place, colour and bound. */
static struct rb_node *splice_successor(struct rb_root *root, struct rb_node *n, struct rb_node *s, struct rb_node **orphan) {
  struct rb_node *parent = s;
  *orphan = s->right;
  if (s->parent != n) {
    parent = s->parent;
    replace_child(root, s, s->right);
    s->right = n->right;
    s->right->parent = s;
  }
  replace_child(root, n, s);
  s->left = n->left;
  s->left->parent = s;
  s->red = n->red;
  s->bound = n->bound;
  return parent;
}

void rb_erase_inner(struct rb_root *root, struct rb_node *n) {
  struct rb_node *orphan, *parent;
  bool lost_black;
  if (n->left && n->right) {
    struct rb_node *successor = leftmost(n->right);
    lost_black = !successor->red;
    parent = splice_successor(root, n, successor, &orphan);
  } else {
    lost_black = !n->red;
    orphan = n->left ? n->left : n->right;
    parent = n->parent;
    replace_child(root, n, orphan);
  }
  if (lost_black)
    erase_fixup(root, orphan, parent);
}

struct rb_node *rb_first(const struct rb_root *root) {
  return root->node ? leftmost(root->node) : NULL;
}

struct rb_node *rb_last(const struct rb_root *root) {
  return root->node ? rightmost(root->node) : NULL;
}

struct rb_node *rb_next(const struct rb_node *n) {
  if (n->right)
    return leftmost(n->right);
  while (n->parent && n == n->parent->right)
    n = n->parent;
  return n->parent;
}

struct rb_node *rb_prev(const struct rb_node *n) {
  if (n->left)
    return rightmost(n->left);
  while (n->parent && n == n->parent->left)
    n = n->parent;
  return n->parent;
}
