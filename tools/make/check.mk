# SPDX-License-Identifier: BSD-2-Clause
#
# What is checked without running anything.

C_FILES := $(sort $(shell find include mm hyp guest tests -name '*.[ch]' 2>/dev/null))
tidy_home = $(sort $(filter $(1),$(filter %.c,$(C_FILES))))

.PHONY: check check-all check-layers check-tidy check-tidy-target check-tidy-host check-cppcheck check-format format
check: ## test: layers, clang-tidy, cppcheck, format, without running anything
	$(Q)tools/setup check && $(MAKE) -j$(JOBS) all host-tests && $(MAKE) check-all

check-all: check-layers check-format check-cppcheck check-tidy

check-layers:
	$(call say,CHECK,layers)
	$(Q)tools/layers $(BUILD)

check-format:
	$(call say,CHECK,format)
	$(Q)clang-format --dry-run -Werror $(C_FILES)

# Files are checked with the flags that they are built with; mm/ with the hypervisor's.
TIDY_FLAGS = --target=aarch64-linux-gnu $(filter-out -mno-outline-atomics,$(TARGET_CFLAGS)) -nostdlibinc $(FDT_FLAGS)
tidy = $(if $(3),printf '%s\n' $(3) | xargs -P$(JOBS) -n4 sh -c 'clang-tidy --quiet "$$@" -- $(2) 2>/dev/null || exit 1' tidy)

# A host test's own files, with the flags of the first test that they are part of.
tidy_host_flags = $(filter-out gcc clang -fsanitize=% -fno-sanitize-recover=%,$($(1)_CC))

check-tidy: check-tidy-target check-tidy-host

check-tidy-target:
	$(call say,TIDY,hyp mm)
	$(Q)$(call tidy,hyp,$(TIDY_FLAGS) $(hyp_INC),$(call tidy_home,hyp/% mm/%))
	$(call say,TIDY,guest)
	$(Q)$(call tidy,guest,$(TIDY_FLAGS) $(guest_INC) $(user_INC),$(call tidy_home,guest/%))
	$(call say,TIDY,payloads)
	$(Q)$(call tidy,payload,$(TIDY_FLAGS) $(payload_INC),$(call tidy_home,tests/qemu/% tests/bench/payload/%))

check-tidy-host:
	$(call say,TIDY,host tests)
	$(Q)mkdir -p $(BUILD)/host && rm -f $(BUILD)/host/tidy
	@$(foreach t,$(HOST_TESTS) $(FUZZERS),$(foreach s,$(filter tests/host/%,$($(t)_SRCS)),echo '$(s) -- $(call tidy_host_flags,$(t))' >> $(BUILD)/host/tidy;))
	$(Q)awk '!seen[$$1]++' $(BUILD)/host/tidy | xargs -P$(JOBS) -L1 sh -c 'clang-tidy --quiet --checks=-clang-analyzer-security.insecureAPI.strcpy "$$@" -Wno-unknown-warning-option 2>/dev/null || exit 1' tidy

check-cppcheck:
	$(call say,CPPCHECK,hyp guest mm)
	$(Q)cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr -j$(JOBS) \
	  --suppressions-list=tools/cppcheck.suppress -D__aarch64__ -D__GNUC__ -DSLUICE_CHECK -Iinclude -I. -Ihyp/arch/port \
	  $(wildcard hyp guest mm)

format: ## build: format every C file in place
	$(Q)clang-format -i $(C_FILES)
