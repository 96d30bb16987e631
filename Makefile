# Graft. `make help` says what there is.

# Known to work: QEMU 10.0.2, Rust as pinned in rust-toolchain.toml, Debian 12. `make doctor` compares.

# What a command line may set: NAME=VALUE | the targets that it means something to | what it does. `make help` prints these
# lines, and tests/variables.awk refuses everything else before anything is installed or compiled.
#= CMD=LINE | run gdb | run this shell line and power off; make succeeds if the line does
#= BOARD=NAME | run gdb | virt (default) or raspi4b
#= SMP=N | run gdb | virt: cores (4)
#= MEM=SIZE | run gdb | virt: memory (1G)
#= CPU=NAME | run gdb | virt: processor, cortex-a72 (default) or max
#= GIC=N | run gdb | virt: version of the interrupt controller, 2 (default) or 3
#= SECURE=1 | run gdb | virt: with EL3
#= VIRT=1 | run gdb | virt: with EL2
#= DEVICES=1 | run gdb | the shell, and all that it starts, may hand out devices: everything, then
#= ICOUNT=1 | run gdb | count instructions: one is one nanosecond, the same in every run
#= ARCHIVE=FILE | run gdb | boot with this archive, tar or newc cpio, gzipped or not, instead of the one that is built
#= TIMEOUT=SECONDS | run | end the run after that time (with CMD: 300; 0 lifts it)
#= ONLY=TEXT | test | only tests whose names contain it
#= JOBS=N | test bench bench-linux | emulators at a time (one per core)
#= LINUX_ARGS=TEXT | bench-linux | more boot arguments for Linux
#= LINUX=FILE | bench-linux doctor | another kernel than Debian 13's
#= MISSES=1 | profile | show cache misses instead of instructions
#= TOUCH=SIZE | profile | memory that forkbench touches (4M; with MISSES 1G)
#= SHARE=DEPTHS | profile picture | what forks share: copy, l3, l2, l1; ipc: messages (profile: l3 l1 ipc; picture: l3)
#= HISTORIES=DIR | compare | folder of the histories, *.txt (tests/histories)
#= FIRMWARE=DIR | image | firmware of the Raspberry Pi 4, for a whole SD card
#= OPERATIONS=N | soak | how many operations it runs (10000000)
#= CALLS=N | soak | how many system calls it makes (1000000)
#= SEED=N | soak | the seed of the first of them (1)
#= SECONDS=N | fuzz | how long each of its targets runs (60)
#= SHARD=K/N | mutants | only this part of the changes
#= CRATE=NAME | mutants | only this crate of kernel/ (graft-kernel, graft-abi, graft-paging)
#= GRAFT_HISTORIES=N | test miri mutants | how many random histories the model's tests and the judge of calls run
#= GRAFT_FIRST_SEED=N | test miri | the seed of the first of them
#= EXTRA=DIR | build run test image gdb size profile | add static AArch64 ELF programs and other files to the archive
#= QEMU=PROGRAM | run gdb test bench bench-linux bench-accept picture profile trace-tables soak doctor | another emulator than qemu-system-aarch64
#= GDB=PROGRAM | gdb doctor | another debugger than gdb-multiarch
#= BUILD=DIR | * | folder for everything that is made (build)
#= CARGO=PROGRAM | * | another cargo
#= NO_INSTALL=1 | * | install nothing, say what is missing
#= DTB=FILE | * | device tree of the Raspberry Pi 4, instead of the one of Debian's kernel

ifneq ($(filter-out aarch64,$(ARCH)),)
ifeq ($(origin ARCH),command line)
$(error ARCH=$(ARCH): only aarch64 exists)
endif
endif

# Cargo's, rustc's, make's and the shell's variables are theirs. Of the environment only GRAFT_ names are ours alone.
GIVEN := $(filter-out ARCH PATH SHELL CARGO_% RUST% MAKE%,\
	$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
AROUND := $(filter-out GRAFT_LINE,$(filter GRAFT_%,$(foreach name,$(.VARIABLES),\
	$(if $(filter environment,$(origin $(name))),$(name)))))
ifneq ($(GIVEN)$(AROUND),)
REFUSAL := $(shell awk -v goals='$(or $(MAKECMDGOALS),build)' -v given='$(GIVEN)' -v around='$(AROUND)' \
	-f tests/variables.awk $(firstword $(MAKEFILE_LIST)))
ifneq ($(REFUSAL),)
$(error $(REFUSAL))
endif
endif

BOARD ?= virt
BUILD ?= build
CARGO ?= cargo
GDB ?= gdb-multiarch
export BUILD GDB

# rustup's programs, where a login shell has not put them on the path yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

TARGET := aarch64-unknown-none-softfloat
# For which the tree is compiled, too: see `check`.
OTHER_TARGET := x86_64-unknown-none
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
COMPILED := $(TARGET_DIR)/$(TARGET)/release
TOOL := $(TARGET_DIR)/debug/graft-tests --build $(BUILD)

# A program is a file of these folders, or a folder in them with a main.rs.
BINARIES := $(addsuffix /src/bin,user/programs user/servers user/drivers user/demos tests/guest)
PROGRAM_FILES := $(wildcard $(BINARIES:=/*.rs)) $(patsubst %/main.rs,%,$(wildcard $(BINARIES:=/*/main.rs)))
PROGRAMS := $(sort $(basename $(notdir $(PROGRAM_FILES))))
PROGRAM_PACKAGES := -p graft-programs -p graft-servers -p graft-drivers -p graft-demos -p graft-guest
# Everything that is compiled for the boards.
PACKAGES := -p graft-kernel -p graft-boot -p graft-rt $(PROGRAM_PACKAGES) -p graft-linux-bench

# The shell line exactly as it was given: make does not touch its dollar signs.
export GRAFT_LINE = $(value CMD)
MACHINE = --board $(BOARD) $(if $(CPU),--cpu $(CPU)) $(if $(SMP),--smp $(SMP)) $(if $(MEM),--mem $(MEM)) \
	$(if $(GIC),--gic $(GIC)) $(if $(SECURE),--secure) $(if $(VIRT),--virtualization) $(if $(ICOUNT),--icount) \
	$(if $(DEVICES),--devices) \
	$(if $(ARCHIVE),--archive "$(ARCHIVE)") \
	$(if $(value CMD),--cmd "$$GRAFT_LINE")

# cargo reports its progress where there is something to compile, and is silent where there is not.
STAMP := $(BUILD)/.compiled
CHANGED = $(shell find Cargo.lock Cargo.toml link.ld kernel boot user tests -newer $(STAMP) -type f -print -quit)
QUIET := $(if $(wildcard $(STAMP)),$(if $(CHANGED),,--quiet))

.PHONY: build help run test bench bench-linux bench-accept picture compare image gdb check doc size profile doctor clean

# What run, test and the others start with.
define compile
@$(CARGO) build $(QUIET) -p graft-tests
@$(CARGO) build $(QUIET) --release --target $(TARGET) -p graft-kernel
@$(CARGO) build $(QUIET) --release --target $(TARGET) $(PROGRAM_PACKAGES)
@$(TOOL) pack --compiled $(COMPILED) $(if $(EXTRA),--extra "$(EXTRA)") $(PROGRAMS)
@touch $(STAMP)
endef

# The plugins for QEMU that count cache lines and how long interrupts wait, and that record what happens to translation
# tables; they need Linux, and without them all of this is left out.
define plugin
@[ "$$(uname)" != Linux ] || { $(CARGO) build --quiet --release -p graft-cache-plugin -p graft-masked-plugin -p graft-table-plugin && \
	install -m 644 $(TARGET_DIR)/release/libgraft_cache_plugin.so $(BUILD)/cache-plugin.so && \
	install -m 644 $(TARGET_DIR)/release/libgraft_masked_plugin.so $(BUILD)/masked-plugin.so && \
	install -m 644 $(TARGET_DIR)/release/libgraft_table_plugin.so $(BUILD)/table-plugin.so; }
endef

build: ## kernel, programs and archive, into build/
	@tests/setup.sh build
	$(compile)

help: ## this text
	@echo 'make TARGET [VARIABLE=VALUE]...'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@awk -v help=1 -f tests/variables.awk $(firstword $(MAKEFILE_LIST))

run: ## boot into the shell, or run CMD
	@tests/setup.sh run $(filter raspi4b,$(BOARD))
	$(compile)
	@$(TOOL) run $(MACHINE) $(if $(TIMEOUT),--timeout $(TIMEOUT))

test: ## every test, host and QEMU; the last line is the count
	@tests/setup.sh test
	$(compile)
	$(plugin)
	@$(TOOL) test $(if $(JOBS),--jobs $(JOBS)) $(if $(ONLY),--only "$(ONLY)")

bench: ## what fork and all around it cost, in instructions and cache lines: tables, CSV and SVG charts
	@tests/setup.sh run
	$(compile)
	$(plugin)
	@$(TOOL) bench $(if $(JOBS),--jobs $(JOBS))

bench-linux: ## the same on Debian's Linux in the same machine, side by side (100 MB once, ten minutes)
	@tests/setup.sh run linux
	$(compile)
	$(plugin)
	@$(CARGO) build $(QUIET) --release --target $(TARGET) -p graft-linux-bench
	@$(TOOL) bench-linux --program $(COMPILED)/linux-bench $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(LINUX_ARGS),--arguments "$(LINUX_ARGS)")

bench-accept: ## accept what operations cost now: make test fails when they cost more
	@tests/setup.sh run
	$(compile)
	$(plugin)
	@$(TOOL) bench-accept

picture: ## the translation tables of two live processes before and after a write, as SVG
	@tests/setup.sh run
	$(compile)
	@$(TOOL) picture $(if $(SHARE),--share $(SHARE))

compare: ## AArch64 against x86_64, descriptor by descriptor: a table, CSV and SVG charts
	@tests/setup.sh build
	@$(CARGO) build --release -p graft-tests
	@$(TARGET_DIR)/release/graft-tests --build $(BUILD) compare $(if $(HISTORIES),--histories "$(HISTORIES)")

image: build ## build/rpi4/ for a Pi 4's boot partition; with FIRMWARE a whole SD card
	@$(TOOL) image $(if $(FIRMWARE),--firmware "$(FIRMWARE)")

gdb: ## debug the kernel; the guest's console is build/logs/gdb-console.log
	@tests/setup.sh run gdb $(filter raspi4b,$(BOARD))
	$(compile)
	@echo 'The machine waits before its first instruction. Try: hbreak kernel_main, continue, backtrace.'
	@$(GDB) $(BUILD)/kernel.elf -ex "target remote | $$($(TOOL) gdb-command $(MACHINE))"

check: ## formatting, lints with warnings denied, and the kernel's rooms
	@tests/setup.sh check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets -- --deny warnings
	$(CARGO) clippy --target $(TARGET) $(PACKAGES) -- --deny warnings
	$(CARGO) test --quiet --test rooms
	for features in '' commit snapshot; do \
		$(CARGO) clippy -p graft-paging --all-targets --no-default-features --features "$$features" -- --deny warnings && \
		$(CARGO) test --quiet -p graft-paging --no-default-features --features "$$features" || exit 1; done
	@[ -d "$$(rustc --print sysroot)/lib/rustlib/$(OTHER_TARGET)" ] || if [ "$(NO_INSTALL)" = 1 ]; then \
		echo 'missing: rustup target add $(OTHER_TARGET)' >&2; exit 1; else rustup target add $(OTHER_TARGET); fi
	for target in $(TARGET) $(OTHER_TARGET); do \
		$(CARGO) clippy -p graft-paging --example kernel --target $$target -- --deny warnings || exit 1; done
	$(CARGO) clippy -p graft-paging --examples --target $(TARGET) -- --deny warnings
	$(CARGO) fmt --check --manifest-path $(FUZZ)/Cargo.toml
	CARGO_TARGET_DIR=$(TARGET_DIR)/fuzz $(CARGO) clippy --locked --manifest-path $(FUZZ)/Cargo.toml --no-default-features -- \
		--deny warnings

doc: ## the documentation of every crate
	@tests/setup.sh build
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --no-deps
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --no-deps --target $(TARGET) -p graft-boot -p graft-rt
	@echo "Start at $(TARGET_DIR)/doc/graft_paging/index.html; what runs on the boards is in $(TARGET_DIR)/$(TARGET)/doc."

size: build ## bytes of kernel and programs in memory
	@$(TOOL) size

profile: build ## where the instructions of the measured figures go, by function; with MISSES=1 cache misses of forkbench's
	$(if $(MISSES),$(plugin))
	@$(TOOL) profile $(if $(MISSES),--misses) --icount --smp 1 --mem $(if $(MISSES),3G,1G) \
		--memory $(or $(TOUCH),$(if $(MISSES),1G,4M)) $(or $(SHARE),l3 l1$(if $(MISSES),, ipc))

doctor: ## tools found here, against those known to work
	@tests/setup.sh doctor

clean: ## remove what was built; what was downloaded stays
	$(CARGO) clean
	@find $(BUILD) -mindepth 1 -maxdepth 1 ! -name '*.dtb' ! -name 'linux-*.img' -exec rm -rf {} + 2>/dev/null || true

# --- the proof of kernel/paging, beyond `make test` ---------------------------------------------------------------

.PHONY: loom prove model trace-tables miri fuzz mutants soak

OPERATIONS ?= 10000000
CALLS ?= 1000000
SEED ?= 1
SECONDS ?= 60
# Of one history, and of both formats in one step of `soak`.
HISTORY := 400
STEP := 50
FUZZ := kernel/paging/fuzz
NIGHTLY := rustup run nightly cargo

# A cargo subcommand out of the registry, installed when it is missing.
define subcommand
@command -v $(1) >/dev/null || if [ "$(NO_INSTALL)" = 1 ]; then \
	echo 'missing: $(1): cargo install --locked $(1)' >&2; exit 1; \
else $(CARGO) install --locked $(1); fi
endef
# The nightly toolchain with these components, which Miri and the fuzzer need.
define nightly
@rustup component list --toolchain nightly --installed 2>/dev/null | grep -q '^$(firstword $(1))' || \
	if [ "$(NO_INSTALL)" = 1 ]; then \
		echo 'missing: rustup toolchain install nightly --profile minimal -c $(firstword $(1))' >&2; exit 1; \
	else \
		rustup toolchain install nightly --profile minimal --no-self-update && \
		rustup component add --toolchain nightly $(1); \
	fi
endef

loom: ## the protocols between cores, the tree's and the kernel's, in every order that a model checker finds
	@tests/setup.sh build
	RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=$(TARGET_DIR)/loom $(CARGO) test -p graft-paging --test loom
	RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=$(TARGET_DIR)/loom $(CARGO) test -p graft-kernel-loom --release

# What rustc makes of the functions that are proved, as text.
PROVED := $(TARGET_DIR)/prove/graft-paging.ll

prove: ## the laws of the descriptors and of the commit charge, for all 64-bit values, by z3
	@tests/setup.sh build prove
	@$(CARGO) build $(QUIET) -p graft-tests
	@CARGO_TARGET_DIR=$(TARGET_DIR)/prove $(CARGO) rustc $(QUIET) --release --target $(TARGET) -p graft-paging --lib -- \
		--cfg prove --emit=llvm-ir=$(PROVED) -C debuginfo=0
	@$(TOOL) prove $(PROVED)

model: ## calls, answers, deadlines and ends, as a model in which SPIN looks for what never ends
	@tests/setup.sh build model
	@$(CARGO) build $(QUIET) -p graft-tests
	@$(TOOL) model

trace-tables: ## traces of stores into tables, barriers and invalidations, on the host and of real runs: judged, and in build/traces/
	@tests/setup.sh run
	$(compile)
	$(plugin)
	@$(TOOL) trace-tables

miri: ## the tests of the tree, and the host's machine, under Miri (random ones too with GRAFT_HISTORIES=N: minutes each)
	@tests/setup.sh build
	$(call nightly,miri rust-src)
	CARGO_TARGET_DIR=$(TARGET_DIR)/miri $(NIGHTLY) miri test -p graft-paging --lib --test host
	CARGO_TARGET_DIR=$(TARGET_DIR)/miri MIRIFLAGS='-Zmiri-disable-isolation -Zmiri-ignore-leaks' \
		$(NIGHTLY) miri test -p graft-kernel --test host -- \
		--skip after_fork --skip killed --skip identifiers --skip never_give_way
	$(if $(GRAFT_HISTORIES),CARGO_TARGET_DIR=$(TARGET_DIR)/miri MIRIFLAGS=-Zmiri-env-forward=GRAFT_HISTORIES \
		$(NIGHTLY) miri test -p graft-paging --test model random)

fuzz: ## arbitrary descriptors, tables and histories, SECONDS each
	@tests/setup.sh build
	$(call nightly,rustc)
	$(call subcommand,cargo-fuzz)
	@for target in descriptors tables histories; do \
		$(NIGHTLY) fuzz run --fuzz-dir $(FUZZ) $$target -- \
			-max_total_time=$(SECONDS) -max_len=800 -len_control=0 -print_final_stats=1 || exit 1; \
	done

mutants: ## change the kernel bit by bit: does a test notice? (hours; a part with SHARD=K/N, CRATE=graft-paging)
	@tests/setup.sh build
	$(call subcommand,cargo-mutants)
	@mkdir -p $(BUILD)
	GRAFT_HISTORIES=$(or $(GRAFT_HISTORIES),20) \
		$(CARGO) mutants --jobs 1 --output $(BUILD) $(if $(CRATE),--package $(CRATE)) $(if $(SHARD),--shard $(SHARD) --sharding round-robin) || [ $$? -le 3 ]
	@cd $(BUILD)/mutants.out && missed=$$(wc -l <missed.txt) && caught=$$(cat caught.txt timeout.txt | wc -l) && \
		echo "mutants: $$caught caught, $$missed survived; see docs/mutants.md" && \
		[ $$((missed * 100)) -le $$(((missed + caught) * 5)) ]

soak: ## OPERATIONS random operations on the model, half of them in each format, CALLS random system calls and ten minutes of t-stress in QEMU
	@tests/setup.sh run
	$(compile)
	@mkdir -p $(BUILD)
	@$(CARGO) test --quiet -p graft-paging --test model --no-run
	@steps=$$(( ($(OPERATIONS) + 2 * $(HISTORY) * $(STEP) - 1) / (2 * $(HISTORY) * $(STEP)) )); step=0; \
	while [ $$step -lt $$steps ]; do \
		GRAFT_FIRST_SEED=$$((step * $(STEP) + 1)) GRAFT_HISTORIES=$(STEP) \
			$(CARGO) test --quiet -p graft-paging --test model random >$(BUILD)/soak.log 2>&1 || \
			{ echo; cat $(BUILD)/soak.log; exit 1; }; \
		step=$$((step + 1)); \
		printf '\rsoak: %d of %d operations' $$((step * 2 * $(HISTORY) * $(STEP))) $(OPERATIONS); \
	done; echo; echo 'soak: every history matched the oracle, and no frame was lost'
	@$(TOOL) run --timeout 0 --cmd 't-calls $(CALLS) $(SEED) && t-ipc-fuzz 1000 $(SEED) && t-stress 600'
