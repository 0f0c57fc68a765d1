# Ringhold. `make run` and `make test` are all it takes on a fresh Debian 12 or 13, as root or with sudo: they install
# what is missing from Debian's packages, build, and serve or test.
#
#   make run [ARGS="--listen 0.0.0.0:7480"]    build, then serve
#   make test                                  every test
#   make lint                                  every check that runs nothing
#   make help                                  the other targets; V=1 shows every command

BUILD    ?= build
CC       ?= cc
OPT      ?= -O2 -g
SANITIZE ?=
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wswitch-enum -Wformat=2 $(if $(CI),-Werror)
CFLAGS   := -std=c17 -D_GNU_SOURCE -I. $(OPT) $(WARN) -pthread -fno-strict-aliasing -MMD -MP $(SANITIZE)
# libmicrohttpd is linked statically, so that some of its functions can be replaced (service/mhd_pages.c).
WRAP     := -Wl,--wrap=MHD_create_response_from_buffer \
            -Wl,--wrap=MHD_create_response_from_buffer_static -Wl,--wrap=sendmsg \
            -Wl,--wrap=MHD_parse_arguments_ -Wl,--wrap=MHD_strx_to_uint64_n_
# libraft is linked statically too: the version that was tested is the one that runs.
LIBS     := -l:libmicrohttpd.a -lgnutls -lsqlite3 -lxxhash -lzstd -lnettle -l:libraft.a -luv -lcurl -lm
LDFLAGS  := -pthread $(WRAP) $(SANITIZE)

DB       := $(wildcard db/*.c)
HANDLERS := $(wildcard handlers/*.c)
SERVICE  := $(wildcard service/*.c service/*/*.c)
UNIT     := $(wildcard tests/unit/*.c) $(filter-out tests/crash/check_db.c,$(wildcard tests/crash/*.c))
SOURCES  := $(DB) $(HANDLERS) $(SERVICE) $(UNIT) $(wildcard bench/*.c tests/*/*.c)

objects   = $(patsubst %.c,$(BUILD)/%.o,$(1))
# All but main, for programs that have a main of their own.
LIBRARY  := $(call objects,$(DB) $(HANDLERS) $(filter-out service/main.c,$(SERVICE)))

CLANG_FORMAT ?= clang-format-19
JOBS         ?= $(shell nproc)
Q            := $(if $(V),,@)
# Targets below that stand for work, not for a file, do their parts in order, each built with all cores.
PARTS         = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

.PHONY: help build run cluster test members unit history check-asan check-tsan lint format bench bench-cluster \
        coverage docs image clean compiled packages-build packages-test always
build: packages-build
	@$(PARTS) $(BUILD)/ringhold

help:
	@sed -n 's/^## //p' Makefile tests/*/*.mk

## make build        build/ringhold
## make run          build it and serve; ARGS="…" are its flags
run: build
	$(BUILD)/ringhold $(ARGS)

## make cluster      three members of a cluster and HAProxy in front on this machine, until Ctrl-C
cluster:
	@tools/install-packages build cluster
	@$(PARTS) $(BUILD)/ringhold
	@tools/cluster $(BUILD)/ringhold $(BUILD)/cluster-demo

packages-build:
	@tools/install-packages build
packages-test:
	@tools/install-packages build cluster test

# ---- programs --------------------------------------------------------------------------------------------------------

$(BUILD)/ringhold: $(call objects,$(DB) $(HANDLERS) $(SERVICE)) $(BUILD)/flags
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(LIBS) -o $@

$(BUILD)/unit: $(call objects,$(UNIT)) $(LIBRARY) $(BUILD)/flags
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(LIBS) -ljansson -lcriterion -o $@

$(BUILD)/cluster: $(call objects,$(wildcard tests/cluster/*.c)) $(LIBRARY) $(BUILD)/flags
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(LIBS) -lcriterion -o $@

$(BUILD)/cluster-node: $(call objects,$(wildcard tests/cluster_node/*.c)) $(LIBRARY) $(BUILD)/flags
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(LIBS) -o $@

$(BUILD)/history: $(call objects,$(wildcard tests/history/*.c) $(DB)) $(BUILD)/flags
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(LIBS) -ljansson -o $@

$(BUILD)/drive-proxy: $(BUILD)/tests/proxy/drive_proxy.o $(LIBRARY) $(BUILD)/flags
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(LIBS) -o $@

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CFLAGS) -c $< -o $@

# Every source, without linking.
compiled: $(call objects,$(SOURCES))
	@:

# The document is part of the program (handlers/openapi.c).
$(BUILD)/handlers/openapi.o: openapi.yaml

$(BUILD)/bench-load: $(call objects,$(filter-out bench/hello.c,$(wildcard bench/*.c))) $(BUILD)/flags
	@echo "  LINK $@"
	$(Q)$(CC) -pthread $(SANITIZE) $(filter %.o,$^) -lm -o $@

$(BUILD)/bench-hello: $(BUILD)/bench/hello.o $(BUILD)/flags
	@echo "  LINK $@"
	$(Q)$(CC) $(SANITIZE) -pthread $(filter %.o,$^) -lmicrohttpd -o $@

# Changes when the compiler, its flags or the list of sources change, and makes everything build anew.
$(BUILD)/flags: always
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS) $(LDFLAGS) $(LIBS) $(SOURCES)' | cmp -s - $@ || \
	    echo '$(CC) $(CFLAGS) $(LDFLAGS) $(LIBS) $(SOURCES)' >$@

-include $(shell find $(BUILD) -name '*.d' -type f 2>/dev/null)

# ---- tests -----------------------------------------------------------------------------------------------------------

# Two at a time: what takes long in them is waiting.
members_of = printf '%s\n' tests/members/*.test.mjs | xargs -P 2 -n 1 tests/http/run.sh $(1)

## make test         every test: units, histories, the program, the HTTP front, the contract, short crash and fuzz runs
test: packages-test
	@$(PARTS) $(BUILD)/ringhold $(BUILD)/unit $(BUILD)/history $(BUILD)/cluster $(BUILD)/cluster-node \
	    $(BUILD)/drive-proxy $(BUILD)/sim node_modules/.done
	$(BUILD)/unit
	$(BUILD)/cluster
	tests/cluster/backports.sh
	node tests/cluster_node/kill.mjs $(BUILD)/cluster-node --rounds 4
	$(BUILD)/history
	tests/process/run.sh $(BUILD)/ringhold
	tests/process/proxy.sh $(BUILD)/ringhold $(BUILD)/drive-proxy
	tests/process/readme.sh $(BUILD)/ringhold
	tests/process/cluster_tour.sh $(BUILD)/ringhold
	tests/http/run.sh $(BUILD)/ringhold tests/process/balancer.test.mjs
	tests/http/run.sh $(BUILD)/ringhold
	$(call members_of,$(BUILD)/ringhold)
	node tests/contract/run.mjs --server $(BUILD)/ringhold
	@$(MAKE) --no-print-directory crash-short fuzz-short sim-short chaos-short

## make unit         the unit tests alone
unit: packages-test
	@$(PARTS) $(BUILD)/unit
	$(BUILD)/unit

## make members      clusters of real members: joining, losing and stopping one, refusals
members: packages-test
	@$(PARTS) $(BUILD)/ringhold
	$(call members_of,$(BUILD)/ringhold)

## make history      random histories of commands beside a model, for some minutes
history: packages-test
	@$(PARTS) $(BUILD)/history
	$(BUILD)/history --seed $$(date +%s) --seeds 10000

-include tests/fuzz/fuzz.mk
-include tests/crash/crash.mk
-include tests/sim/sim.mk
-include tests/chaos/chaos.mk

# Under Criterion a leak found by AddressSanitizer would still exit 0, hence abort_on_error.
SANITIZED := ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
## make check-asan   the same tests under AddressSanitizer and UndefinedBehaviorSanitizer
check-asan: packages-test
	@$(PARTS) BUILD=$(BUILD)/asan OPT='-O1 -g -fno-omit-frame-pointer' \
	    SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=undefined' \
	    $(BUILD)/asan/ringhold $(BUILD)/asan/unit $(BUILD)/asan/cluster $(BUILD)/asan/drive-proxy \
	    $(BUILD)/asan/cluster-node $(BUILD)/asan/history $(BUILD)/asan/sim node_modules/.done
	$(SANITIZED) $(BUILD)/asan/unit
	$(SANITIZED) $(BUILD)/asan/cluster
	$(SANITIZED) node tests/cluster_node/kill.mjs $(BUILD)/asan/cluster-node --rounds 4
	$(SANITIZED) $(BUILD)/asan/history
	$(SANITIZED) $(BUILD)/asan/sim --seed 1 --seeds 50
	$(SANITIZED) tests/process/run.sh $(BUILD)/asan/ringhold
	$(SANITIZED) tests/process/proxy.sh $(BUILD)/asan/ringhold $(BUILD)/asan/drive-proxy
	$(SANITIZED) tests/http/run.sh $(BUILD)/asan/ringhold
	$(SANITIZED) node tests/contract/run.mjs --server $(BUILD)/asan/ringhold
	export $(SANITIZED); $(call members_of,$(BUILD)/asan/ringhold)

## make check-tsan   the server under ThreadSanitizer and load, and members of clusters
check-tsan: packages-test
	@$(PARTS) $(BUILD)/bench-load $(BUILD)/ringhold
	@$(PARTS) BUILD=$(BUILD)/tsan OPT='-O1 -g' SANITIZE=-fsanitize=thread \
	    $(BUILD)/tsan/ringhold $(BUILD)/tsan/drive-proxy
	tests/process/tsan.sh $(BUILD)/tsan/ringhold $(BUILD)/bench-load
	tests/process/proxy.sh $(BUILD)/ringhold $(BUILD)/tsan/drive-proxy
	tests/members/tsan.sh $(BUILD)/tsan/ringhold

## make bench        Ringhold beside its peers on this machine; writes docs/benchmarks.md (bench/README.md)
bench: packages-build
	@tools/install-packages bench
	@$(PARTS) $(BUILD)/ringhold $(BUILD)/bench-load $(BUILD)/bench-hello
	python3 bench/run.py

## make bench-cluster  three members beside three of etcd; writes its section of docs/benchmarks.md
bench-cluster: packages-build
	@tools/install-packages bench
	@$(PARTS) $(BUILD)/ringhold $(BUILD)/bench-load $(BUILD)/bench-hello
	python3 bench/run.py --cluster

## make coverage     the tests again, and which lines they reached: build/coverage/index.html
coverage: packages-test
	@tools/install-packages coverage
	@$(PARTS) BUILD=$(BUILD)/coverage OPT='-O0 -g' SANITIZE=--coverage \
	    $(BUILD)/coverage/ringhold $(BUILD)/coverage/unit node_modules/.done
	$(BUILD)/coverage/unit
	tests/process/run.sh $(BUILD)/coverage/ringhold
	tests/http/run.sh $(BUILD)/coverage/ringhold
	node tests/contract/run.mjs --server $(BUILD)/coverage/ringhold
	gcovr --root . --filter '(db|handlers|service)/' --html-details $(BUILD)/coverage/index.html \
	    --print-summary $(BUILD)/coverage

# ---- checks that run nothing -----------------------------------------------------------------------------------------

C_FILES := $(wildcard db/*.[ch] handlers/*.[ch] service/*.[ch] service/*/*.[ch] bench/*.[ch] tests/*/*.[ch])

## make lint         compilers' warnings, format, layers, sizes, shell scripts, openapi.yaml
lint: packages-test
	@echo "  FORMAT"
	@$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)
	tools/check-layers
	tools/check-sizes
	shellcheck -x tools/cluster tools/install-packages tools/promtool tools/ready tools/check-* .ci/run tests/*/*.sh
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --error-exitcode=1 -I. \
	    --suppressions-list=tools/cppcheck-suppressions -j$(JOBS) db handlers service
	@echo "  CLANG"
	@clang -fsyntax-only -Werror $(filter-out -MMD -MP,$(CFLAGS)) $(SOURCES)
	@$(PARTS) CI=1 BUILD=$(BUILD)/lint compiled
	@$(PARTS) $(BUILD)/ringhold node_modules/.done
	tests/contract/lint.sh $(BUILD)/ringhold
	tools/check-deploy $(BUILD)/ringhold

## make format       clang-format over everything
format:
	$(CLANG_FORMAT) -i $(C_FILES)

node_modules/.done: package-lock.json
	npm ci --no-progress
	@touch $@

# ---- the rest --------------------------------------------------------------------------------------------------------

## make docs         the HTTP API as a page: build/docs/api.html
docs: packages-test node_modules/.done
	@mkdir -p $(BUILD)/docs
	REDOCLY_TELEMETRY=off node_modules/.bin/redocly build-docs openapi.yaml --output $(BUILD)/docs/api.html

## make image        the container image ringhold, with docker, podman or buildah
image:
	$(or $(shell command -v docker || command -v podman || command -v buildah),\
	    $(error make image needs docker, podman or buildah)) build -t ringhold .

## make clean        forget everything that was built
clean:
	rm -rf $(BUILD)
