# The fuzz targets (clang's libFuzzer). Each of FUZZ_TARGETS is tests/fuzz/fuzz_NAME.c, its corpus tests/fuzz/corpus/NAME.
# What a run learns stays in $(FUZZ_BUILD)/found/NAME, what it breaks in $(FUZZ_BUILD)/finds.

FUZZ_TARGETS := request body codec message guard receipt machine story table
FUZZ_BUILD   := $(BUILD)/fuzz
FUZZ_SECONDS ?= 60

.PHONY: fuzz fuzz-short fuzz-build fuzz-merge
## make fuzz         the fuzz targets, each for FUZZ_SECONDS, 60
fuzz: fuzz-build
	tests/fuzz/run.sh $(FUZZ_BUILD) $(FUZZ_SECONDS) $(FUZZ_TARGETS)

# Just long enough to see that nothing obvious is wrong: part of make test.
fuzz-short: fuzz-build
	tests/fuzz/run.sh $(FUZZ_BUILD) 5 $(FUZZ_TARGETS)

fuzz-build: packages-test
	@$(PARTS) BUILD=$(FUZZ_BUILD) CC=clang OPT='-O1 -g -fno-omit-frame-pointer' \
	    SANITIZE='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined' \
	    $(patsubst %,$(FUZZ_BUILD)/fuzz_%,$(FUZZ_TARGETS))

# The smallest inputs, of the corpora and of what the last runs learnt, that reach all that they reach: in
# $(FUZZ_BUILD)/merged, for somebody to choose from.
fuzz-merge: fuzz-build
	tests/fuzz/merge.sh $(FUZZ_BUILD) $(FUZZ_TARGETS)

# Made by the recursive call above, where BUILD is FUZZ_BUILD.
FUZZ_FRONT := $(BUILD)/tests/fuzz/front.o
$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(FUZZ_FRONT) $(LIBRARY)
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer $^ $(LIBS) -ljansson -o $@
.SECONDARY: $(patsubst %,$(BUILD)/tests/fuzz/fuzz_%.o,$(FUZZ_TARGETS)) $(FUZZ_FRONT)
