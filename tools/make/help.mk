# SPDX-License-Identifier: BSD-2-Clause
#
# What `make help` and `make scenarios` show, and what is said of a word or a value that makes no sense, before anything is built.
#
# A target that people use has `## GROUP: what it does [VARIABLES]` behind it. Variables stand here: name, what it says, what it is where nothing is said.
#
#= SCENARIO  | a file of dts/, without .dts; `make scenarios` lists them | two-guests
#= CPUS      | CPUs of the emulated machine | the scenario's wish
#= MEM       | its memory: 512M, 2G | the scenario's wish
#= CPU       | QEMU's CPU type: max, cortex-a72, ... | max
#= NODES     | nodes of memory, of equal size | the scenario's wish
#= TIMEOUT   | seconds of real time after which a headless run ends | the scenario's wish
#= SET       | properties of the scenario changed: 'vms/alpha/memory-mib=96 hypervisor/policy=wss' |
#= OVER      | what a sweep varies: 'vms/alpha/memory-mib=64,96,128 ...' |
#= JOBS      | compilers, and runs of a sweep, at a time | one for each processor
#= PYTEST    | arguments of pytest: '-k buddy' |
#= TEST_JOBS | tests at a time | 2
#= MUTANT    | one of tests/host/mutants, or several | all
#= BENCH     | arguments of the benchmark: '--only exits --cpu max', '--help' |
#= COMPILER  | gcc or clang | gcc
#= DEBUG     | 1: build at -Og | 0
#= V         | 1: show whole commands | 0
#= BUILD     | folder to build in | build

MAKE_FILES := Makefile $(wildcard tools/make/*.mk)
SCENARIOS := $(sort $(basename $(notdir $(wildcard dts/*.dts))))
GROUPS := run test measure build

.PHONY: help scenarios
help: ## build: this
	@printf 'usage: make TARGET [VARIABLE=value ...]       the first time: make run\n'
	@$(foreach g,$(GROUPS),printf '\n$(g)\n'; sed -n 's/^\([a-z-]*\):.*## $(g): \(.*\)/  \1|\2/p' $(MAKE_FILES) | awk -F '|' '{printf "%-18s%s\n", $$1, $$2}';)
	@printf '\nvariables\n'
	@sed -n 's/^#= //p' tools/make/help.mk | awk -F ' *[|] *' '{printf "  %-16s%s%s\n", $$1, $$2, length($$3) ? " (" $$3 ")" : ""}'

scenarios: ## run: list the scenarios, and what each is for
	@$(foreach s,$(SCENARIOS),printf '  %-20s%s\n' '$(s)' "$$(sed -n 's/^\tdescription = "\(.*\)";/\1/p' dts/$(s).dts)";)

# A variable that is given but that nobody reads is a slip of the pen.
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(v)))),$(v)))
ifneq ($(GIVEN),)
KNOWN := $(shell sed -n 's/^#= \([A-Z_]*\).*/\1/p' tools/make/help.mk) CROSS TEST
$(foreach v,$(filter-out $(KNOWN),$(GIVEN)),$(error no variable $(v): there are $(KNOWN)))
endif
$(foreach v,DEBUG V,$(if $(filter-out 0 1,$($(v))),$(error $(v)=$($(v)): say 0 or 1)))

# What was said about the machine is looked at before it is built for.
must_match = $(if $($(1)),echo '$($(1))' | grep -Eqx '$(2)' || { echo "$(1)='$($(1))': say $(3)" >&2; exit 1; };)
number = $(call must_match,$(1),[1-9][0-9]*,a number from 1)

.PHONY: known-values known-scenario
known-values:
	@$(foreach v,CPUS NODES TIMEOUT JOBS TEST_JOBS,$(call number,$(v)))$(call must_match,MEM,[1-9][0-9]*[MG]?,512M or 2G):
	@$(foreach s,$(SET) $(OVER),echo '$(s)' | grep -q '/.*=' || { echo "'$(s)': say node/property=value, for instance vms/alpha/memory-mib=96" >&2; exit 1; };):

known-scenario: known-values
	@[ -f 'dts/$(SCENARIO).dts' ] || { echo "no scenario '$(SCENARIO)': there are $(filter-out bench-%,$(SCENARIOS))" >&2; exit 1; }
