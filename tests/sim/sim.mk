# The simulation (tests/sim): what of the program runs in it, and what it is linked with in the place of the rest.

SIM_PROGRAM := $(DB) service/clock.c service/jobs.c service/cluster/hosted.c service/cluster/hosted_machine.c \
               service/cluster/freshness.c service/cluster/message.c \
               $(filter-out service/cluster/replica_uv.c service/cluster/replica_disk.c,$(wildcard service/cluster/replica*.c))
SIM_OBJECTS := $(call objects,$(SIM_PROGRAM) $(wildcard tests/sim/*.c))
SIM_LIBS    := -Wl,--wrap=clock_gettime -Wl,--wrap=unlink -lsqlite3 -lxxhash -l:libraft.a -lm
SIM_SEEDS   ?= 2000
# A mutant has so many seeds to be found in. MUTANTS= names some; without, it is all.
MUTANT_SEEDS ?= 1000

.PHONY: sim sim-first-half sim-second-half sim-short sim-mutants

$(BUILD)/sim: $(SIM_OBJECTS) $(BUILD)/flags
	@echo "  LINK $@"
	$(Q)$(CC) -pthread $(SANITIZE) $(filter %.o,$^) $(SIM_LIBS) -o $@

## make sim          the replicas in simulation: 2,000 seeds (SIM_SEEDS=), then what it must find
sim: packages-test
	@$(PARTS) $(BUILD)/sim
	@$(MAKE) --no-print-directory -j2 sim-first-half sim-second-half
	@$(MAKE) --no-print-directory sim-mutants

# A seed keeps one core busy.
SIM_HALF = $(shell expr $(SIM_SEEDS) / 2)
sim-first-half: $(BUILD)/sim
	$(BUILD)/sim --seed 1 --seeds $(SIM_HALF) --tally
sim-second-half: $(BUILD)/sim
	$(BUILD)/sim --seed $(shell expr $(SIM_HALF) + 1) --seeds $(SIM_HALF) --tally

# The short form: part of make test. A seed is one history, however often it is run.
sim-short: $(BUILD)/sim
	$(BUILD)/sim --seeds 150
	$(BUILD)/sim --seeds 10 --twice

# That the simulation finds what is broken on purpose.
sim-mutants: $(BUILD)/sim
	CC='$(CC)' CFLAGS='$(CFLAGS)' SIM_LIBS='$(SIM_LIBS)' SIM_OBJECTS='$(SIM_OBJECTS)' \
	    tests/sim/mutants.sh $(BUILD) $(MUTANT_SEEDS) $(MUTANTS)
