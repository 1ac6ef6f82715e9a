# SPDX-License-Identifier: BSD-2-Clause
#
# Sluice: every entry point is here. `make help` lists them.
#
#   tools/make/help.mk        what `make help` shows, and which words and variables there are
#   tools/make/toolchain.mk   compilers, flags, how a command is shown
#   tools/make/linux.mk       Debian's Linux as a guest
#   tools/make/image.mk       hypervisor, guest kernel, user programs, initramfs, payloads, device trees
#   tools/make/host.mk        host tests, fuzzers, mutants
#   tools/make/bench.mk       benchmarks of the memory core
#   tools/make/check.mk       layer check, clang-tidy, cppcheck, format

MAKEFLAGS += --no-builtin-rules --no-builtin-variables --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.DEFAULT_GOAL := all

BUILD ?= build
export BUILD
DEPS := build/deps
PYTHON := /usr/bin/python3
JOBS ?= $(shell nproc)

include tools/make/help.mk
include tools/make/toolchain.mk
include tools/make/linux.mk
include tools/make/image.mk
include tools/make/host.mk
include tools/make/bench.mk
include tools/make/check.mk

# What a caller says about the machine; the scenario's own wishes stand where nothing is said.
LAUNCH = $(if $(CPUS),--cpus $(CPUS)) $(if $(MEM),--mem $(MEM)) $(if $(CPU),--cpu $(CPU)) $(if $(NODES),--nodes $(NODES)) $(if $(TIMEOUT),--timeout $(TIMEOUT))

# A scenario that needs more than all others do is fetched and built only when it is asked for.
SCENARIO_SETUP = $(if $(filter $(LINUX_SCENARIOS),$(SCENARIO)),linux)
SCENARIO_BLOB = $(if $(SCENARIO_SETUP),$(BUILD)/dts/$(SCENARIO).dtb)

# The targets that people start from set up the machine first, then build in a make of their own: what is missing before
# is there by then.
build_then = $(Q)tools/setup $(1) && $(MAKE) -j$(JOBS) $(2)

.PHONY: all run experiment sweep test bench bench-balloon soak soak-everything gdb setup clean

all: images dtbs ## build: the hypervisor, the guest kernel with its programs, and every scenario

run: known-scenario ## run: boot a scenario and stay at its console [SCENARIO CPUS MEM CPU NODES]
	$(call build_then,run $(SCENARIO_SETUP),all $(SCENARIO_BLOB))
	$(Q)tools/sluice run $(SCENARIO) $(LAUNCH)

experiment: known-scenario ## run: headless and repeatable to its verdict; leaves build/experiments/SCENARIO [SCENARIO SET CPUS MEM CPU NODES TIMEOUT]
	$(call build_then,run $(SCENARIO_SETUP),all $(SCENARIO_BLOB))
	$(Q)tools/sluice experiment $(SCENARIO) $(LAUNCH) $(foreach s,$(SET),--set '$(s)')

sweep: known-scenario ## run: with properties varied, side by side; one CSV, one report [SCENARIO OVER SET JOBS CPUS MEM CPU NODES TIMEOUT]
	$(call build_then,run $(SCENARIO_SETUP),all $(SCENARIO_BLOB))
	$(Q)tools/sluice sweep $(SCENARIO) $(LAUNCH) --jobs $(JOBS) $(foreach s,$(SET),--set '$(s)') $(foreach o,$(OVER),--over '$(o)')

gdb: known-scenario ## run: stop at the hypervisor's entry with symbols of EL2 and the guests [SCENARIO CPUS MEM CPU NODES]
	$(call build_then,gdb $(SCENARIO_SETUP),all $(SCENARIO_BLOB))
	$(Q)tools/sluice gdb $(SCENARIO) $(LAUNCH)

test: known-values ## test: all: host tests, mutants, fuzzers, every scenario; 20 minutes [PYTEST TEST_JOBS]
	$(call build_then,test,all host-tests fuzzers)
	$(Q)$(PYTHON) -m pytest -n $(TEST_JOBS) --ignore tests/qemu/linux $(PYTEST) tests

soak: ## test: a million moves of pages under VMs that write; a quarter of an hour
	$(call build_then,run,all)
	$(Q)tools/sluice experiment soak-moves

soak-everything: ## test: every mechanism at once on four racing CPUs for 20 minutes, the trace checked all the while
	$(call build_then,run,all)
	$(Q)tools/sluice experiment soak-everything --real-time --check-trace

bench: ## measure: exact instruction counts, beside the peers' and the targets; several minutes [BENCH]
	$(call build_then,bench,all bench-host)
	$(Q)$(PYTHON) tests/bench/bench.py $(BENCH)

bench-balloon: ## measure: taking memory from a guest and giving it back, by pages, blocks and reports [BENCH]
	$(call build_then,bench,all)
	$(Q)$(PYTHON) tests/bench/balloon.py $(BENCH)

setup: ## build: install what run, test, check and gdb need
	$(Q)tools/setup run test check gdb

clean: ## build: remove everything that was built (what was fetched for it stays: build/deps)
	$(Q)if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -path build/deps -exec rm -rf {} +; fi

SCENARIO ?= two-guests
# two at a time: a scenario without icount uses a thread for each of its CPUs
TEST_JOBS ?= 2
