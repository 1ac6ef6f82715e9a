/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The red-black tree against a sorted array: random insertions and removals, after each of which order, links, colours and black
 * heights are checked from scratch, and an augmented summary (largest value and size of the subtree) against a recount.
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
  int value;
  /* of the subtree */
  int largest;
  unsigned size;
};

static struct item *item_of(const struct rb_node *n) {
  return (struct item *)(uintptr_t)n;
}

static int largest_of(const struct rb_node *n) {
  return n ? item_of(n)->largest : -1;
}

static unsigned size_of(const struct rb_node *n) {
  return n ? item_of(n)->size : 0;
}

static bool sizes_count = true; /* without them, most changes make no difference some way up */

static bool summarise(struct rb_node *n) {
  struct item *i = item_of(n);
  int below = largest_of(n->left) > largest_of(n->right) ? largest_of(n->left) : largest_of(n->right);
  struct item old = *i;
  i->largest = i->value > below ? i->value : below;
  i->size = sizes_count ? 1 + size_of(n->left) + size_of(n->right) : 1;
  return i->largest != old.largest || i->size != old.size;
}

static void insert(struct rb_root *root, struct item *i, rb_augment_fn *augment) {
  struct rb_node **link = &root->node, *parent = NULL;
  while (*link) {
    parent = *link;
    link = i->key < item_of(parent)->key ? &parent->left : &parent->right;
  }
  rb_insert(root, &i->node, parent, link, augment);
}

/* Returns the black height; recounts what the augment callback keeps. */
static unsigned check_subtree(const struct rb_node *n, const struct rb_node *parent, bool augmented) {
  if (!n)
    return 1;
  assert_ptr_equal(n->parent, parent);
  if (n->red)
    assert_false((n->left && n->left->red) || (n->right && n->right->red));
  unsigned left = check_subtree(n->left, n, augmented), right = check_subtree(n->right, n, augmented);
  assert_int_equal(left, right);
  if (augmented) {
    struct item copy = *item_of(n);
    summarise(&copy.node);
    assert_int_equal(copy.largest, item_of(n)->largest);
    assert_int_equal(copy.size, item_of(n)->size);
  }
  return left + !n->red;
}

static int by_key(const void *a, const void *b) {
  return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

static void check(const struct rb_root *root, const int *keys, unsigned count, bool augmented) {
  const struct rb_node *n = rb_first(root), *last = NULL;
  assert_true(!root->node || !root->node->red);
  check_subtree(root->node, NULL, augmented);
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

static void random_work(unsigned seed, int key_range, rb_augment_fn *augment) {
  static struct item items[ITEMS];
  struct rb_root root = {0};
  int keys[ITEMS];
  bool in[ITEMS] = {0};
  memset(items, 0xa5, sizeof(items));
  srand(seed);
  for (unsigned step = 0; step < 4000; step++) {
    unsigned at = (unsigned)rand() % ITEMS, count = 0;
    if (in[at]) {
      rb_erase(&root, &items[at].node, augment);
    } else {
      items[at].key = rand() % key_range;
      items[at].value = rand() % 1000;
      insert(&root, &items[at], augment);
    }
    in[at] = !in[at];
    for (unsigned i = 0; i < ITEMS; i++) {
      if (in[i])
        keys[count++] = items[i].key;
    }
    qsort(keys, count, sizeof(keys[0]), by_key);
    check(&root, keys, count, augment != NULL);
  }
}

static void a_plain_tree_stays_balanced(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 4; seed++) {
    random_work(seed, 1000, NULL);
    random_work(seed, 10, NULL); /* many equal keys */
  }
}

static void an_augmented_tree_stays_summed(void **state) {
  (void)state;
  for (unsigned seed = 10; seed <= 14; seed++)
    random_work(seed, 1000, summarise);
  sizes_count = false;
  for (unsigned seed = 20; seed <= 24; seed++)
    random_work(seed, 1000, summarise);
  sizes_count = true;
}

static void a_changed_value_reaches_the_root(void **state) {
  (void)state;
  static struct item items[ITEMS];
  struct rb_root root = {0};
  for (int i = 0; i < ITEMS; i++) {
    items[i] = (struct item){.key = i * 7 % ITEMS, .value = i};
    insert(&root, &items[i], summarise);
  }
  for (int i = 0; i < ITEMS; i++) {
    items[i].value = 5000 + i;
    rb_augment_path(&items[i].node, summarise);
    assert_int_equal(item_of(root.node)->largest, 5000 + i);
    check_subtree(root.node, NULL, true);
  }
}

static void an_empty_tree_has_no_ends(void **state) {
  (void)state;
  struct rb_root root = {0};
  assert_null(rb_first(&root));
  assert_null(rb_last(&root));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_plain_tree_stays_balanced),
      cmocka_unit_test(an_augmented_tree_stays_summed),
      cmocka_unit_test(a_changed_value_reaches_the_root),
      cmocka_unit_test(an_empty_tree_has_no_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
