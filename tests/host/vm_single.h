/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_VM_SINGLE_H
#define TESTS_HOST_VM_SINGLE_H

/*
 * One address space in the modelled machine of vm_machine.h, for tests that take it through one thing at a time. Every frame and every page
 * of commitment is back at the end of each.
 */

#include "vm_file.h"
#include "vm_machine.h"

#define BASE ((uint64_t)0x40000000)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
#define RW (PROT_READ | PROT_WRITE)

extern struct mm_struct *mm;
extern uint64_t committed_at_start;

/* For cmocka: once, before each test, after each. */
int boot(void **state);
int setup(void **state);
int teardown(void **state);

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

/* The n-th page of a window at BASE, and what is mapped there in `mm`; all must succeed. */
uint64_t page(unsigned n);
void map(unsigned n, unsigned pages, unsigned prot, unsigned flags);

/* Accesses by the CPU, through its TLB. load and store must succeed; try says how it went. */
uint64_t load(struct mm_struct *m, uint64_t addr);
void store(struct mm_struct *m, uint64_t addr, uint64_t value);
enum vm_fault try(struct mm_struct *m, uint64_t addr, enum access kind);

/* What the tables say of an address, which must be mapped. */
struct machine_pte pte(struct mm_struct *m, uint64_t addr);

/* A copy of `mm`, both checked. */
struct mm_struct *fork_mm(void);

#endif
