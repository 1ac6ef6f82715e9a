/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The red-black tree against a sorted array: random insertions and removals, after each of which order, links, colours and black heights
 * are checked from scratch. Bounds never fall below what they bound, whatever values do, and once they are tightened from below they are
 * the maxima.
 */
// sources: mm/lib/rbtree.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/compiler.h"
#include "core/rbtree.h"

struct item {
  struct rb_node node;
  int key;
  uint64_t value;
};

static struct item *item_of(const struct rb_node *n) {
  return (struct item *)(uintptr_t)n;
}

static void insert(struct rb_root *root, struct item *i) {
  struct rb_node **link = &root->node, *parent = NULL;
  while (*link) {
    parent = *link;
    link = i->key < item_of(parent)->key ? &parent->left : &parent->right;
  }
  i->node.bound = i->value;
  rb_insert(root, &i->node, parent, link);
}

/* Returns the black height. */
static unsigned check_subtree(const struct rb_node *n, const struct rb_node *parent) {
  if (!n)
    return 1;
  assert_ptr_equal(n->parent, parent);
  assert_true(n->bound >= item_of(n)->value && (!parent || n->bound <= parent->bound));
  if (n->red)
    assert_false((n->left && n->left->red) || (n->right && n->right->red));
  unsigned left = check_subtree(n->left, n), right = check_subtree(n->right, n);
  assert_int_equal(left, right);
  return left + !n->red;
}

/* Tighten from the leaves up, as a search does that finds nothing; returns the largest value. */
static uint64_t tighten_all(struct rb_node *n) {
  if (!n)
    return 0;
  uint64_t largest = item_of(n)->value, left = tighten_all(n->left), right = tighten_all(n->right);
  largest = left > largest ? left : largest;
  largest = right > largest ? right : largest;
  rb_tighten(n, item_of(n)->value);
  assert_int_equal(n->bound, largest);
  return largest;
}

static int by_key(const void *a, const void *b) {
  return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

static void check(const struct rb_root *root, const int *keys, unsigned count) {
  const struct rb_node *n = rb_first(root), *last = NULL;
  assert_true(!root->node || !root->node->red);
  check_subtree(root->node, NULL);
  for (unsigned i = 0; i < count; i++, last = n, n = rb_next(n)) {
    assert_non_null(n);
    assert_int_equal(item_of(n)->key, keys[i]);
    assert_ptr_equal(rb_prev(n), last);
  }
  assert_null(n);
  assert_ptr_equal(rb_last(root), last);
}

enum {
  ITEMS = 120
};

static void random_work(unsigned seed, int key_range, uint64_t value_range) {
  static struct item items[ITEMS];
  struct rb_root root = {0};
  int keys[ITEMS];
  bool in[ITEMS] = {0};
  memset(items, 0xa5, sizeof(items));
  srand(seed);
  for (unsigned step = 0; step < 4000; step++) {
    unsigned at = (unsigned)rand() % ITEMS, count = 0;
    if (in[at]) {
      rb_erase(&root, &items[at].node);
    } else {
      items[at].key = rand() % key_range;
      items[at].value = (uint64_t)rand() % value_range;
      insert(&root, &items[at]);
    }
    in[at] = !in[at];
    for (unsigned i = 0; i < ITEMS; i++) {
      if (in[i])
        keys[count++] = items[i].key;
    }
    qsort(keys, count, sizeof(keys[0]), by_key);
    check(&root, keys, count);
    if (step % 64 == 0)
      tighten_all(root.node);
  }
}

static void a_tree_stays_balanced_and_bounded(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 6; seed++) {
    random_work(seed, 1000, 1000);
    random_work(seed, 10, 4); /* many equal keys */
  }
}

static void a_changed_value_stays_bounded(void **state) {
  (void)state;
  static struct item items[ITEMS];
  struct rb_root root = {0};
  for (int i = 0; i < ITEMS; i++) {
    items[i] = (struct item){.key = i * 7 % ITEMS, .value = (uint64_t)i};
    insert(&root, &items[i]);
  }
  for (unsigned i = 0; i < ITEMS; i++) {
    items[i].value = 5000 + i;
    rb_raise(&items[i].node, items[i].value);
    assert_int_equal(root.node->bound, 5000 + i);
    check_subtree(root.node, NULL);
  }
  for (unsigned i = 0; i < ITEMS; i += 2)
    items[i].value = 3;
  check_subtree(root.node, NULL);
  assert_int_equal(tighten_all(root.node), 5000 + ITEMS - 1);
}

static void an_empty_tree_has_no_ends(void **state) {
  (void)state;
  struct rb_root root = {0};
  assert_null(rb_first(&root));
  assert_null(rb_last(&root));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_tree_stays_balanced_and_bounded),
      cmocka_unit_test(a_changed_value_stays_bounded),
      cmocka_unit_test(an_empty_tree_has_no_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
