/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slabs under real threads, one per CPU, with ThreadSanitizer watching: objects of a plain, a constructed and a debugged cache and of
 * mem_alloc() are passed on and freed on another CPU than they came from, while each CPU now and then shrinks, describes, makes and
 * destroys. An object handed to two threads is found by its owner's mark; at the end every frame is there.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
// cflags: -fno-sanitize=address,undefined -fsanitize=thread
// libs: -fno-sanitize=address,undefined -fsanitize=thread -lpthread
#include "core/atomic.h"
#include "mm/slab.h"
#include "mm_world.h"
#include <pthread.h>
#include <string.h>

enum {
  CPUS = 4,
  HELD = 150,
  STEPS = 40000,
  KINDS = 4, /* of caches; one more is mem_alloc() */
  BOXES = 64
};

struct object {
  uint64_t mark; /* cpu + 1 while somebody has it; 0 when it comes */
  uint64_t self; /* its address, where it is constructed */
  uint64_t kind;
};

static const struct world_config map = {"one bank", {{{0x40000}, {0x40000 + F(24)}}}, {{{0}, {0}}}, 0x50000};
static struct world w;
static struct slab_cache *caches[KINDS];
static struct object *boxes[BOXES]; /* to be freed by whoever finds it */

struct cpu_work {
  unsigned cpu;
  struct object *held[HELD];
  unsigned count;
  uint64_t seed;
};

static void construct(void *p) {
  *(struct object *)p = (struct object){.self = (uintptr_t)p};
}

static const struct slab_ops ops = {.construct = construct};

static void claim(struct object *o, unsigned cpu, unsigned kind) {
  if (o->mark != 0 || (kind == 1 && o->self != (uintptr_t)o))
    port_host_die("an object was handed out twice, or not as it should be");
  o->mark = cpu + 1;
  o->kind = kind;
}

static void release(struct object *o) {
  unsigned kind = (unsigned)o->kind;
  o->mark = 0;
  if (kind == KINDS)
    mem_free(o);
  else
    slab_free(caches[kind], o);
}

static void do_alloc(struct cpu_work *k, uint64_t r) {
  unsigned kind = (unsigned)(r >> 8) % (KINDS + 1);
  if (k->count == HELD)
    return;
  struct object *o = kind == KINDS ? mem_alloc(24 + (r >> 16) % 600) : slab_alloc(caches[kind]);
  if (!o)
    port_host_die("no memory");
  claim(o, k->cpu, kind);
  k->held[k->count++] = o;
}

static void do_free(struct cpu_work *k, uint64_t r) {
  if (k->count == 0)
    return;
  unsigned i = (unsigned)(r >> 8) % k->count;
  struct object *o = k->held[i];
  k->held[i] = k->held[--k->count];
  if (o->mark != k->cpu + 1)
    port_host_die("an object changed hands");
  if (r >> 40 & 1)
    o = atomic_exchange(&boxes[(r >> 41) % BOXES], o);
  if (o)
    release(o);
}

static void do_rarely(uint64_t r) {
  struct slab_cache *own;
  struct slab_info info;
  switch (r >> 8 & 3) {
  case 0:
    slab_shrink(caches[(r >> 16) % KINDS]);
    break;
  case 1:
    slab_shrink_all(5);
    break;
  case 2:
    for (unsigned i = 0; slab_describe_nth(i, &info); i++) {
      if (info.used_objects > info.slabs * info.per_slab)
        port_host_die("more objects than there is room for");
    }
    break;
  default:
    if (slab_create("own", 40, 0, &own) != ERR_OK)
      port_host_die("no cache");
    slab_free(own, slab_alloc(own));
    slab_destroy(own);
  }
}

static void *run(void *arg) {
  struct cpu_work *k = arg;
  port_host_cpu = k->cpu;
  for (unsigned step = 0; step < STEPS; step++) {
    uint64_t r = world_random(&k->seed);
    if ((r >> 50 & 255) == 0)
      do_rarely(r);
    else if (r >> 60 & (step & 512 ? 3 : 1)) /* now more, now fewer are held */
      do_alloc(k, r);
    else
      do_free(k, r);
  }
  while (k->count)
    do_free(k, 0);
  return NULL;
}

static void objects_pass_between_cpus(void **state) {
  (void)state;
  static struct cpu_work work[CPUS];
  pthread_t thread[CPUS];
  struct slab_info info;
  world_create(&w, &map);
  uint64_t before = page_free_frames();
  assert_int_equal(slab_create("plain", 100, 0, &caches[0]), ERR_OK);
  assert_int_equal(slab_create_with("constructed", sizeof(struct object), 0, &ops, 0, &caches[1]), ERR_OK);
  assert_int_equal(slab_create_with("debugged", sizeof(struct object), 0, NULL, SLAB_DEBUG_ALL, &caches[2]), ERR_OK);
  assert_int_equal(slab_create("large", 3000, 0, &caches[3]), ERR_OK);
  for (unsigned i = 0; i < CPUS; i++) {
    work[i] = (struct cpu_work){.cpu = i, .seed = 777 + i * 99991};
    pthread_create(&thread[i], NULL, run, &work[i]);
  }
  for (unsigned i = 0; i < CPUS; i++)
    pthread_join(thread[i], NULL);
  for (unsigned i = 0; i < BOXES; i++) {
    if (boxes[i])
      release(boxes[i]);
  }
  for (unsigned i = 0; slab_describe_nth(i, &info); i++) {
    if (strcmp(info.name, "slab_cache") != 0 && strncmp(info.name, "magazine", 8) != 0)
      assert_int_equal(info.used_objects, 0);
  }
  for (unsigned i = 0; i < KINDS; i++)
    slab_destroy(caches[i]);
  slab_shrink_all(~(uint64_t)0);
  struct ledger l;
  ledger_read(&l);
  assert_true(l.frames[FRAME_CORE] <= 8); /* the caches of mem_alloc() themselves */
  assert_int_equal(page_free_frames() + l.frames[FRAME_CORE], before);
  world_destroy(&w);
}

static bool busy;

/* CPU 1 drains as fast as it can what CPU 0 works with. */
static void *drain(void *arg) {
  (void)arg;
  port_host_cpu = 1;
  while (atomic_load_relaxed(&busy))
    slab_shrink(caches[0]);
  return NULL;
}

static void a_drain_disturbs_nobody(void **state) {
  (void)state;
  struct object *o[8];
  pthread_t thread;
  world_create(&w, &map);
  uint64_t before = page_free_frames();
  assert_int_equal(slab_create("drained", 100, 0, &caches[0]), ERR_OK);
  atomic_store_relaxed(&busy, true);
  pthread_create(&thread, NULL, drain, NULL);
  for (unsigned round = 0; round < 20000; round++) {
    for (unsigned i = 0; i < 8; i++) {
      o[i] = slab_alloc(caches[0]);
      claim(o[i], 0, 0);
    }
    for (unsigned i = 0; i < 8; i++)
      release(o[i]);
  }
  atomic_store_relaxed(&busy, false);
  pthread_join(thread, NULL);
  slab_destroy(caches[0]);
  slab_shrink_all(~(uint64_t)0);
  assert_int_equal(page_free_frames(), before);
  world_destroy(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(objects_pass_between_cpus), cmocka_unit_test(a_drain_disturbs_nobody)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
