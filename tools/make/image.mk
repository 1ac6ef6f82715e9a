# SPDX-License-Identifier: BSD-2-Clause
#
# Everything that runs on the emulated machine. Sources are found per directory; an object of the hypervisor stands at
# build/hyp/<path of its source>.o, so that mm/ can be built into each home.

comma := ,
find_sources = $(sort $(shell find $(1) \( -name '*.c' -o -name '*.S' \) ! -name '*.lds.S' 2>/dev/null))
to_objects = $(patsubst %.c,$(BUILD)/$(1)/%.o,$(filter %.c,$(2))) $(patsubst %,$(BUILD)/$(1)/%.o,$(filter %.S,$(2)))

MM_SRCS := $(call find_sources,mm)
HYP_SRCS := $(call find_sources,hyp) $(MM_SRCS)
GUEST_SRCS := $(call find_sources,$(wildcard guest/arch guest/vm guest/kernel guest/fs guest/drivers)) $(MM_SRCS)
USER_LIB_SRCS := $(call find_sources,$(wildcard guest/user/lib))
USER_PROGS := $(sort $(basename $(notdir $(wildcard guest/user/*.c))))

# Bare EL1 programs: one per folder tests/qemu/payloads/NAME, and the benchmark's, all on top of payloads/common.
PAYLOAD_COMMON := tests/qemu/payloads/common
PAYLOADS := $(filter-out common,$(sort $(notdir $(patsubst %/,%,$(dir $(wildcard tests/qemu/payloads/*/*.[cS]))))))
BENCH_DIR := $(patsubst %/,%,$(dir $(firstword $(wildcard tests/bench/payload/*.[cS]))))

HYP_OBJS := $(call to_objects,hyp,$(HYP_SRCS))
GUEST_OBJS := $(call to_objects,guest,$(GUEST_SRCS))
USER_LIB_OBJS := $(call to_objects,user,$(USER_LIB_SRCS))
USER_OBJS := $(USER_PROGS:%=$(BUILD)/user/guest/user/%.o)
PAYLOAD_COMMON_OBJS := $(call to_objects,payload,$(call find_sources,$(wildcard $(PAYLOAD_COMMON))))

HYP_LDS := $(firstword $(wildcard hyp/arch/hyp.lds.S hyp/arch/hyp.lds))
GUEST_LDS := $(firstword $(wildcard guest/arch/guest.lds.S guest/arch/guest.lds))
USER_LDS := $(firstword $(wildcard guest/user/user.lds.S guest/user/lib/user.lds.S))
PAYLOAD_LDS := $(firstword $(wildcard $(PAYLOAD_COMMON)/*.lds.S tests/bench/payload/*.lds.S))

HYP_IMG := $(if $(HYP_LDS),$(BUILD)/hyp/sluice.img)
GUEST_IMG := $(if $(GUEST_LDS),$(BUILD)/guest/guest.img)
INITRAMFS := $(BUILD)/guest/initramfs.cpio
BENCH_IMG := $(if $(BENCH_DIR),$(BUILD)/bench/payload.img)
PAYLOAD_IMGS := $(PAYLOADS:%=$(BUILD)/payloads/%.img) $(BENCH_IMG)
DTBS := $(patsubst dts/%.dts,$(BUILD)/dts/%.dtb,$(filter-out $(LINUX_SCENARIOS:%=dts/%.dts),$(sort $(wildcard dts/*.dts dts/bad/*.dts))))

.PHONY: images hyp guest user payloads dtbs
hyp: $(HYP_IMG)
guest: $(GUEST_IMG) $(INITRAMFS)
user: $(USER_PROGS:%=$(BUILD)/user/%)
payloads: $(PAYLOAD_IMGS)
images: hyp guest payloads
.PHONY: image-size
image-size: hyp ## measure: where the bytes of the hypervisor's image are
	$(Q)tools/image-size $(BUILD)/hyp/sluice.elf
dtbs: $(DTBS)

# --- flags per home; a file of them makes objects follow when they change ------------------------------------------------------

INC := -Iinclude -I.
hyp_INC := $(INC) -Ihyp/arch/port
guest_INC := $(INC) -Iguest/arch/port
payload_INC := $(INC) -Itests/qemu/payloads -I$(PAYLOAD_COMMON)
user_INC := $(INC) -Iguest/user -Iguest/user/lib
# The hypervisor reaches all of its own image with ADR: one instruction for an address. Padding between functions and loops costs memory
# and, fetched, instructions.
hyp_FLAGS := $(KERNEL_CFLAGS) -mcmodel=tiny $(if $(filter gcc,$(COMPILER)),-falign-functions=4 -falign-jumps=1 -falign-loops=1)
guest_FLAGS := $(KERNEL_CFLAGS)
payload_FLAGS := $(KERNEL_CFLAGS)
user_FLAGS :=
# gcc compiles the hypervisor as a whole, at its link: what only one file calls, and with what, is known then.
hyp_LTO := $(if $(filter gcc-0,$(COMPILER)-$(DEBUG)),-flto)
# The hypervisor may be loaded anywhere: start.S moves the addresses that tools/relocations finds.
hyp_LDFLAGS := --emit-relocs
compile_flags = $(TARGET_CFLAGS) $($(1)_FLAGS) $($(1)_LTO) $(OPT) $(WARN) $(TARGET_NOLIBC) $($(1)_INC)
assemble_flags = $(TARGET_ASFLAGS) -g $(TARGET_NOLIBC) $($(1)_INC)

# libfdt's own headers want a few of C's: only files that include it see them.
FDT_FLAGS := -isystem $(DEPS)/include -isystem include/core/libc
LIBFDT := $(DEPS)/libfdt.a
FDT_USERS := $(shell grep -lE '^[[:space:]]*.[[:space:]]*include[[:space:]]*[<"]libfdt\.h[>"]' $(HYP_SRCS) $(GUEST_SRCS) /dev/null 2>/dev/null)
FDT_OBJS := $(call to_objects,hyp,$(filter $(HYP_SRCS),$(FDT_USERS))) $(call to_objects,guest,$(filter $(GUEST_SRCS),$(FDT_USERS)))
$(FDT_OBJS): FDT := $(FDT_FLAGS)
$(FDT_OBJS): $(LIBFDT)
LIB_OBJS := $(foreach home,hyp guest payload user,$(BUILD)/$(home)/mm/lib/string.o) $(USER_LIB_OBJS)
$(LIB_OBJS): LIB := $(LIB_CFLAGS)
# The compiler's own calls of memcpy and the like come last of all.
$(BUILD)/hyp/mm/lib/string.o: LIB += $(if $(hyp_LTO),-fno-lto)

# The hypervisor is built for size, but for what its counted paths run through: exits, switches, the guest's interrupts, faults, moving a page.
HOT_SRCS := $(addprefix hyp/arch/,cache.c fp.c switch.c tlb.c vttbr.c) $(addprefix hyp/core/,alarm.c exit.c inject.c load.c runqueue.c sched.c vcpu.c) \
  $(addprefix hyp/dev/,virtio/balloon_pages.c mmio.c psci.c smccc.c sysreg.c vtimer.c vuart.c) $(filter hyp/dev/vgic%,$(HYP_SRCS)) \
  $(addprefix hyp/mem/,fault.c given.c handover_frames.c managed.c managed_block.c managed_commit.c managed_policy.c managed_quota.c move.c reclaim.c stage2.c vmid.c) hyp/ctl/trace.c \
  $(addprefix mm/,migrate.c page_alloc.c page_free.c percpu.c pgtable.c pgtable_encode.c pgtable_map.c pgtable_unmap.c pgtable_write.c zero_pool.c) mm/lib/string.c
# The guest's devices are no slower without copies of their larger helpers.
COLD_FLAGS := $(if $(filter 1,$(DEBUG)),,-Os)
DEVICE_FLAGS := $(if $(filter gcc-0,$(COMPILER)-$(DEBUG)),-fno-inline-functions -freorder-blocks-algorithm=simple)
$(call to_objects,hyp,$(filter hyp/dev/%,$(HOT_SRCS))): OWN := $(DEVICE_FLAGS)
$(call to_objects,hyp,$(filter-out $(HOT_SRCS),$(HYP_SRCS))): OWN := $(COLD_FLAGS)
hyp_OWN := $(COLD_FLAGS) $(DEVICE_FLAGS) $(HOT_SRCS)

# `cflags:` in the first lines of a user program's source adds to its flags.
directive = $(shell sed -n '1,40s,^[/* ]*$(2): *,,p' $(1) | sed 's,\*/.*,,')

# $(call home_rules,name)
define home_rules
$(BUILD)/$(1)/.flags: FORCE
	@mkdir -p $$(@D); command -v $$(firstword $$(TARGET_CC)) >/dev/null || \
	  { echo '$$(firstword $$(TARGET_CC)) is missing: run tools/setup' >&2; exit 1; }
	@echo '$$(TARGET_CC) $$(call compile_flags,$(1)) $$(TARGET_ASFLAGS) $$($(1)_OWN)' | cmp -s - $$@ || \
	  echo '$$(TARGET_CC) $$(call compile_flags,$(1)) $$(TARGET_ASFLAGS) $$($(1)_OWN)' > $$@

$(BUILD)/$(1)/%.o: %.c $(BUILD)/$(1)/.flags
	$$(call say,CC,$$< [$(1)])
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(TARGET_CC) $$(call compile_flags,$(1)) $$(FDT) $$(LIB) $$(OWN) -MMD -MP -MF $$(@:.o=.d) -c $$< -o $$@

$(BUILD)/$(1)/%.S.o: %.S $(BUILD)/$(1)/.flags
	$$(call say,AS,$$< [$(1)])
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(TARGET_CC) $$(call assemble_flags,$(1)) -MMD -MP -MF $$(@:.o=.d) -c $$< -o $$@

$(BUILD)/$(1)/%.lds: %.lds.S $(BUILD)/$(1)/.flags
	$$(call say,LDS,$$<)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(TARGET_CC) -E -P -x assembler-with-cpp $$(INC) -D__ASSEMBLY__ -D__LINKER__ -MMD -MP -MF $$@.d -MT $$@ $$< -o $$@

$(BUILD)/$(1)/%.lds: %.lds
	$$(Q)mkdir -p $$(@D) && cp $$< $$@
endef
$(foreach home,hyp guest payload user,$(eval $(call home_rules,$(home))))

lds_of = $(patsubst %,$(BUILD)/$(1)/%,$(patsubst %.S,%,$(2)))

# $(call image_rules,home,elf,img,objects,lds,libs): the ELF is for people and gdb, the flat image is what boots
define image_rules
$(2): $(4) $(call lds_of,$(1),$(5)) $(6)
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(TARGET_LD) $$(TARGET_LDFLAGS) $$($(1)_LDFLAGS) -T $(call lds_of,$(1),$(5)) -Map=$$(@:.elf=.map) $(4) $(6) -o $$@

$(3): $(2)
	$$(call say,IMAGE,$$@)
	$$(Q)$$(OBJCOPY) -O binary $$< $$@
endef
ifneq ($(HYP_LDS),)
# Linked twice: the second time with tables of the first one's symbols and of the addresses in it.
HYP_TABLES := symbols relocations
HYP_NO_TABLES := $(HYP_TABLES:%=$(BUILD)/hyp/no-%.S.o)
HYP_WHOLE := $(HYP_OBJS)
ifneq ($(hyp_LTO),)
# What the compiler makes of all its files: it stands for them in both links. The image of this first link is thrown away.
HYP_APART := $(filter %.S.o %/lib/string.o,$(HYP_OBJS))
HYP_DEBUG := $(patsubst %,%.debug.temp.o,$(filter-out $(HYP_APART),$(HYP_OBJS)))
HYP_WHOLE := $(BUILD)/hyp/whole.o $(HYP_APART)
$(BUILD)/hyp/whole.o: $(HYP_OBJS) $(HYP_NO_TABLES) $(call lds_of,hyp,$(HYP_LDS)) $(LIBFDT)
	$(call say,LTO,$@)
	$(Q)rm -rf $(@D)/whole && mkdir -p $(@D)/whole
	$(Q)$(TARGET_CC) $(call compile_flags,hyp) -flto-partition=one -save-temps -nostdlib -static $(addprefix -Wl$(comma),$(TARGET_LDFLAGS)) \
	  -Wl,-T,$(call lds_of,hyp,$(HYP_LDS)) $(HYP_OBJS) $(HYP_NO_TABLES) $(LIBFDT) -o $(@D)/whole/image
	$(Q)$(TARGET_LD) -r $(@D)/whole/image.ltrans0.ltrans.o $(HYP_DEBUG) -o $@
	$(Q)rm -r $(@D)/whole $(HYP_DEBUG)
endif
$(eval $(call image_rules,hyp,$(BUILD)/hyp/bare.elf,$(BUILD)/hyp/bare.img,$(HYP_WHOLE) $(HYP_NO_TABLES),$(HYP_LDS),$(LIBFDT)))
$(eval $(call image_rules,hyp,$(BUILD)/hyp/sluice.elf,$(HYP_IMG),$(HYP_WHOLE) $(HYP_TABLES:%=$(BUILD)/hyp/%.S.o),$(HYP_LDS),$(LIBFDT)))

$(BUILD)/hyp/symbols.S: $(BUILD)/hyp/bare.elf tools/symbols
	$(call say,SYMBOLS,$@)
	$(Q)$(NM) -n $< | tools/symbols > $@

$(BUILD)/hyp/relocations.S: $(BUILD)/hyp/bare.elf tools/relocations
	$(call say,RELR,$@)
	$(Q)tools/relocations $< > $@

$(BUILD)/hyp/no-%.S: tools/%
	$(Q)mkdir -p $(@D) && $< < /dev/null > $@

$(foreach t,$(HYP_TABLES),$(BUILD)/hyp/$(t).S.o $(BUILD)/hyp/no-$(t).S.o): %.o: %
	$(Q)$(TARGET_CC) $(call assemble_flags,hyp) -c $< -o $@
endif
ifneq ($(GUEST_LDS),)
$(eval $(call image_rules,guest,$(BUILD)/guest/guest.elf,$(GUEST_IMG),$(GUEST_OBJS),$(GUEST_LDS),$(LIBFDT)))
endif

# $(call payload_rules,elf,img,folder)
define payload_rules
PAYLOAD_OBJS += $$(call to_objects,payload,$$(call find_sources,$(3)))
$(call image_rules,payload,$(1),$(2),$$(call to_objects,payload,$$(call find_sources,$(3))) $$(PAYLOAD_COMMON_OBJS),$(PAYLOAD_LDS),)
endef
$(foreach p,$(PAYLOADS),$(eval $(call payload_rules,$(BUILD)/payloads/$(p).elf,$(BUILD)/payloads/$(p).img,tests/qemu/payloads/$(p))))
$(if $(BENCH_DIR),$(eval $(call payload_rules,$(BUILD)/bench/payload.elf,$(BUILD)/bench/payload.img,$(BENCH_DIR))))

# --- user programs: one static ELF each, and the archive they travel in ---------------------------------------------------------

$(foreach prog,$(USER_PROGS),$(eval $(BUILD)/user/guest/user/$(prog).o: OWN := $(call directive,guest/user/$(prog).c,cflags)))

$(BUILD)/user/%: $(BUILD)/user/guest/user/%.o $(USER_LIB_OBJS) $(call lds_of,user,$(USER_LDS))
	$(call say,LD,$@)
	$(Q)$(TARGET_LD) $(TARGET_LDFLAGS) $(if $(USER_LDS),-T $(call lds_of,user,$(USER_LDS))) $(filter %.o,$^) -o $@

# The archive is the same for the same programs: fixed times, owners, inode numbers and order.
$(INITRAMFS): $(USER_PROGS:%=$(BUILD)/user/%)
	$(call say,CPIO,$@)
	$(Q)rm -rf $(BUILD)/guest/root && mkdir -p $(BUILD)/guest/root/bin
	$(Q)for p in $(USER_PROGS); do $(OBJCOPY) --strip-all $(BUILD)/user/$$p $(BUILD)/guest/root/bin/$$p; done
	$(Q)if [ -f $(BUILD)/guest/root/bin/init ]; then mv $(BUILD)/guest/root/bin/init $(BUILD)/guest/root/init; fi
	$(Q)find $(BUILD)/guest/root -exec touch -h -d @0 {} +
	$(Q)cd $(BUILD)/guest/root && find . -mindepth 1 | LC_ALL=C sort | \
	  cpio --quiet --reproducible -R 0:0 -H newc -o > $(abspath $@)

# --- scenarios ------------------------------------------------------------------------------------------------------------------

# /incbin/ names are relative to build/.
$(BUILD)/dts/%.dtb: dts/%.dts $(GUEST_IMG) $(INITRAMFS) $(PAYLOAD_IMGS)
	$(call say,DTC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(DTC) -q -I dts -O dtb -i $(BUILD) -i dts -d $@.d -o $@ $<

# --- libfdt for arm64 ---------------------------------------------------------------------------------------------------------

$(LIBFDT):
	$(Q)tools/setup deps

.PHONY: FORCE
FORCE:

-include $(wildcard $(HYP_OBJS:.o=.d) $(GUEST_OBJS:.o=.d) $(USER_OBJS:.o=.d) $(USER_LIB_OBJS:.o=.d) $(PAYLOAD_OBJS:.o=.d) $(PAYLOAD_COMMON_OBJS:.o=.d))
-include $(wildcard $(DTBS:=.d) $(foreach h,hyp guest user payload,$(BUILD)/$(h)/*/*/*.lds.d $(BUILD)/$(h)/*/*/*/*.lds.d))
