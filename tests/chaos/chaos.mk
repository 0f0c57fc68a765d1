# Clusters of real members under faults. SEED repeats what a run did to which member; SIZES and ROUNDS make it longer.

.PHONY: chaos chaos-short chaos-build
SIZES  ?= 3,5
ROUNDS ?= 2
CHAOS   = RINGHOLD=$(BUILD)/ringhold tests/chaos/enter.sh node tests/chaos/chaos.mjs $(if $(SEED),--seed $(SEED))

## make chaos        clusters under faults, ROUNDS times each kind; the histories of their clients are judged (SEED=…)
chaos: chaos-build
	$(CHAOS) --sizes $(SIZES) --rounds $(ROUNDS) --figures

# The short form: part of make test.
chaos-short: chaos-build
	tests/http/run.sh $(BUILD)/ringhold tests/chaos/*.test.mjs tests/chaos/check/*.test.mjs
	$(CHAOS) --short --sizes 3 --rounds 1

chaos-build: packages-test
	@$(PARTS) $(BUILD)/ringhold
