# SPDX-License-Identifier: BSD-2-Clause
#
# What runs on the build machine: one cmocka binary per tests/host/test_*.c, one libFuzzer binary per tests/host/fuzz/fuzz_*.c.
# The first lines of such a file say what is built together with it (see tests/host/README.md):
#
#   // sources: mm/buddy.c mm/lib/string.c      may stand more than once
#   // cflags: -DSMALL_TABLES
#   // libs: -lfdt

HOST_TESTS := $(sort $(basename $(notdir $(wildcard tests/host/test_*.c))))
FUZZERS := $(sort $(basename $(notdir $(wildcard tests/host/fuzz/fuzz_*.c))))

SANITIZE := address,undefined
FUZZ_SANITIZE := fuzzer,address,undefined
HOST_CFLAGS := -std=gnu11 -O1 -g -fno-omit-frame-pointer -fno-common -fno-sanitize-recover=all -DSLUICE_HOST \
               -Iinclude -I. -Itests/host/port -Itests/host
HOST_WARN := $(filter-out -Wmissing-prototypes -Wcast-qual,$(WARN))

.PHONY: host-tests fuzzers mutants
host-tests: $(HOST_TESTS:%=$(BUILD)/host/%) ## build: the host tests, build/host/test_*
fuzzers: $(FUZZERS:%=$(BUILD)/host/%) ## build: the fuzzers, build/host/fuzz_* (clang)

# A name that ends in / stands for every .c in that folder.
in_folders = $(foreach s,$(1),$(if $(filter %/,$(s)),$(sort $(wildcard $(s)*.c)),$(s)))
directives = $(shell sed -n '1,40s,^[/* ]*$(2): *,,p' $(1) | sed 's,\*/.*,,')

# To read the first lines of all tests takes a second. Where nothing but these is asked for, the rules of this file are left out.
NO_HOST_GOALS := all images hyp guest payloads dtbs image-size run experiment sweep gdb scenarios test test-linux soak soak-everything bench bench-balloon setup clean help
ifneq ($(filter-out $(NO_HOST_GOALS) $(BUILD)/dts/%,$(or $(MAKECMDGOALS),all)),)

# A source that many tests share is compiled once for all that have the same flags: objects lie in a folder for each set of flags, named by
# their checksum.
#
# $(call host_test,name,source,compiler,sanitizers)
define host_test
$(1)_SRCS := $(2) $$(call in_folders,$$(call directives,$(2),sources))
$(1)_CC := $(3) $(HOST_CFLAGS) $(HOST_WARN) -fsanitize=$(4) $$(call directives,$(2),cflags)
$(1)_SET := $$(firstword $$(shell echo '$$($(1)_CC)' | cksum))
$(1)_DIR := $(BUILD)/host/obj/$$($(1)_SET)
$$($(1)_DIR)_CC := $$($(1)_CC)
$(1)_OBJS := $$(patsubst %.c,$$($(1)_DIR)/%.o,$$($(1)_SRCS))
$(1)_LIBS := $(if $(filter fuzz_%,$(1)),,-lcmocka) $$(call directives,$(2),libs)
$(1)_LINK := $(3) -g -fsanitize=$(4)
endef
$(foreach t,$(HOST_TESTS),$(eval $(call host_test,$(t),tests/host/$(t).c,$(HOST_CC),$(SANITIZE))))
$(foreach t,$(FUZZERS),$(eval $(call host_test,$(t),tests/host/fuzz/$(t).c,clang,$(FUZZ_SANITIZE))))

# $(call host_objects,folder)
define host_objects
$(1)/%.o: %.c
	$$(call say,HOSTCC,$$<)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$($(1)_CC) -MMD -MP -MF $$(@:.o=.d) -c $$< -o $$@
endef
$(foreach d,$(sort $(foreach t,$(HOST_TESTS) $(FUZZERS),$($(t)_DIR))),$(eval $(call host_objects,$(d))))
-include $(wildcard $(sort $(foreach t,$(HOST_TESTS) $(FUZZERS),$($(t)_OBJS:.o=.d))))

# All that there is to know about a test, a line each; tools/pylib/mutants.py reads it.
host_parts = 'compile $($(1)_CC)' 'link $($(1)_LINK)' 'libs $($(1)_LIBS)' $(foreach s,$($(1)_SRCS),'source $(s) $($(1)_DIR)/$(s:.c=.o)')

# $(call host_link,name): again when its list of parts has changed
define host_link
$(BUILD)/host/$(1): $$($(1)_OBJS) $(BUILD)/host/parts/$(1)
	$$(call say,HOSTLD,$$@)
	$$(Q)$$($(1)_LINK) $$($(1)_OBJS) $$($(1)_LIBS) -o $$@

$(BUILD)/host/parts/$(1): FORCE
	@mkdir -p $$(@D); set -- $$(call host_parts,$(1)); printf '%s\n' "$$$$@" | cmp -s - $$@ || printf '%s\n' "$$$$@" > $$@
endef
$(foreach t,$(HOST_TESTS) $(FUZZERS),$(eval $(call host_link,$(t))))

endif

MUTANT ?=
.PHONY: known-mutants
known-mutants:
	@for m in $(MUTANT); do [ -f "tests/host/mutants/$$m.mutant" ] || { echo "no mutant '$$m': see tests/host/mutants" >&2; exit 1; }; done

mutants: known-mutants host-tests ## test: break the code in known ways; a test must notice each [MUTANT]
	$(Q)tools/mutants $(MUTANT)
