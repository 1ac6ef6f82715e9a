# SPDX-License-Identifier: BSD-2-Clause
#
# Sluice: every entry point is here. `make help` lists them.
#
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

include tools/make/toolchain.mk
include tools/make/linux.mk
include tools/make/image.mk
include tools/make/host.mk
include tools/make/bench.mk
include tools/make/check.mk

# What a caller says about the machine; the scenario's own wishes stand where nothing is said.
LAUNCH = $(if $(CPUS),--cpus $(CPUS)) $(if $(MEM),--mem $(MEM)) $(if $(CPU),--cpu $(CPU)) $(if $(NODES),--nodes $(NODES)) $(if $(TIMEOUT),--timeout $(TIMEOUT))

# A scenario that needs more than all others do is built only when it is asked for.
SCENARIO_SETUP = $(if $(filter $(LINUX_SCENARIOS),$(SCENARIO)),linux)
SCENARIO_BLOB = $(BUILD)/dts/$(SCENARIO).dtb

# The targets that people start from set up the machine first, then build in a make of their own: what is missing before
# is there by then.
build_then = $(Q)tools/setup $(1) && $(MAKE) -j$(JOBS) $(2)

.PHONY: all run experiment sweep test bench bench-balloon soak soak-everything gdb setup clean help

all: images dtbs ## Build the hypervisor, the guest kernel with its programs, and every scenario

run: known-scenario ## Boot a scenario and stay at its console  [SCENARIO=two-guests CPUS=n MEM=size CPU=type NODES=n]
	$(call build_then,run $(SCENARIO_SETUP),all $(SCENARIO_BLOB))
	$(Q)tools/sluice run $(SCENARIO) $(LAUNCH)

experiment: known-scenario ## Run a scenario headless to its verdict; leaves build/experiments/SCENARIO  [SCENARIO SET='node/property=value ...' CPUS MEM CPU NODES TIMEOUT]
	$(call build_then,run $(SCENARIO_SETUP),all $(SCENARIO_BLOB))
	$(Q)tools/sluice experiment $(SCENARIO) $(LAUNCH) $(foreach s,$(SET),--set '$(s)')

sweep: known-scenario ## Run a scenario with properties varied, side by side; one CSV, one report  [SCENARIO OVER='node/property=v1,v2 ...' SET JOBS]
	$(call build_then,run $(SCENARIO_SETUP),all $(SCENARIO_BLOB))
	$(Q)tools/sluice sweep $(SCENARIO) $(LAUNCH) --jobs $(JOBS) $(foreach s,$(SET),--set '$(s)') $(foreach o,$(OVER),--over '$(o)')

test: ## Run all tests: host tests, mutants, fuzzers, every scenario  [PYTEST=args]
	$(call build_then,test,all host-tests fuzzers)
	$(Q)$(PYTHON) -m pytest -n $(TEST_JOBS) --ignore tests/qemu/linux $(PYTEST) tests

bench: ## Measure exact instruction counts and print them beside the peers'  [BENCH=args]
	$(call build_then,bench,all bench-host)
	$(Q)$(PYTHON) tests/bench/bench.py $(BENCH)

bench-balloon: ## Measure what taking memory from a guest and giving it back costs: by pages, blocks and reports  [BENCH=args]
	$(call build_then,bench,all)
	$(Q)$(PYTHON) tests/bench/balloon.py $(BENCH)

soak: ## Run a million moves of pages under VMs that write, a quarter of an hour or so
	$(call build_then,run,all)
	$(Q)tools/sluice experiment soak-moves

soak-everything: ## Run everything at once for 20 minutes, the trace checked all the while
	$(call build_then,run,all)
	$(Q)tools/sluice experiment soak-everything --real-time --check-trace

gdb: known-scenario ## Stop at the hypervisor's entry with symbols of EL2 and the guests  [SCENARIO CPUS MEM CPU NODES]
	$(call build_then,gdb $(SCENARIO_SETUP),all $(SCENARIO_BLOB))
	$(Q)tools/sluice gdb $(SCENARIO) $(LAUNCH)

setup: ## Install what run, test, check and gdb need
	$(Q)tools/setup run test check gdb

clean: ## Remove everything that was built (what was fetched for it stays: build/deps)
	$(Q)if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -path build/deps -exec rm -rf {} +; fi

help: ## Show this
	@echo 'usage: make TARGET [VARIABLE=value]'; echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile tools/make/*.mk | awk -F '\t' '{printf "  %-12s %s\n", $$1, $$2}'
	@echo
	@echo '  COMPILER=gcc|clang   DEBUG=1 (-Og)   V=1 (whole commands)   BUILD=dir   JOBS=n'
	@echo '  scenarios: $(sort $(basename $(notdir $(wildcard dts/*.dts))))'

SCENARIO ?= two-guests
# two at a time: a scenario without icount uses a thread for each of its CPUs
TEST_JOBS ?= 2

.PHONY: known-scenario
known-scenario:
	@[ -f 'dts/$(SCENARIO).dts' ] || { echo "no scenario '$(SCENARIO)': there are $(sort $(basename $(notdir $(wildcard dts/*.dts))))" >&2; exit 1; }
