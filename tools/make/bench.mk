# SPDX-License-Identifier: BSD-2-Clause
#
# Benchmarks of the memory core on the build machine: one program per tests/bench/host/*.c, a release build without sanitizers.

BENCH_HOST := $(sort $(basename $(notdir $(wildcard tests/bench/host/*.c))))
BENCH_HOST_SRCS := $(sort $(wildcard mm/*.c)) mm/lib/format.c $(addprefix tests/host/,port/port_host.c host_zone.c layouts.c alloc_trace.c compact_oracle.c layout_judge.c)
BENCH_HOST_DIR := $(BUILD)/bench/host/obj
BENCH_HOST_CC := $(HOST_CC) -std=gnu11 -O2 -g -fno-common -fno-pie -ftls-model=local-exec -DSLUICE_HOST -DPORT_HOST_RELEASE -Iinclude -I. -Itests/host/port -Itests/host $(HOST_WARN)
BENCH_HOST_OBJS := $(BENCH_HOST_SRCS:%.c=$(BENCH_HOST_DIR)/%.o)

.PHONY: bench-host
bench-host: $(BENCH_HOST:%=$(BUILD)/bench/host/%) ## build: the benchmarks of the memory core

$(BENCH_HOST_DIR)/%.o: %.c $(BENCH_HOST_DIR)/.flags
	$(call say,HOSTCC,$< [bench])
	$(Q)mkdir -p $(@D)
	$(Q)$(BENCH_HOST_CC) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

$(BENCH_HOST_DIR)/.flags: FORCE
	@mkdir -p $(@D); echo '$(BENCH_HOST_CC)' | cmp -s - $@ || echo '$(BENCH_HOST_CC)' > $@

# an archive: each program takes of it what it needs
$(BENCH_HOST_DIR)/core.a: $(BENCH_HOST_OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BENCH_HOST:%=$(BUILD)/bench/host/%): $(BUILD)/bench/host/%: $(BENCH_HOST_DIR)/tests/bench/host/%.o $(BENCH_HOST_DIR)/core.a
	$(call say,HOSTLD,$@)
	$(Q)$(HOST_CC) -no-pie $^ -lm -lpthread -o $@

-include $(wildcard $(BENCH_HOST_OBJS:.o=.d) $(BENCH_HOST:%=$(BENCH_HOST_DIR)/tests/bench/host/%.d))
