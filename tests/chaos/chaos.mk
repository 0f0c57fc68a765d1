# Clusters of real members under faults. SEED repeats what a run did to which member; SIZES, ROUNDS and KINDS say of how
# many members, how often, and which faults; KEEP=1 keeps the history and the members' logs also when all was well.

.PHONY: chaos chaos-short chaos-build
SIZES  ?= 3,5
ROUNDS ?= 2
CHAOS   = RINGHOLD=$(BUILD)/ringhold tests/chaos/enter.sh node tests/chaos/chaos.mjs $(if $(SEED),--seed $(SEED))

## make chaos        clusters under faults, ROUNDS times each kind; the histories of their clients are judged (SEED=…)
chaos: chaos-build
	$(CHAOS) --sizes $(SIZES) --rounds $(ROUNDS) --figures $(if $(KINDS),--kinds '$(KINDS)') $(if $(KEEP),--keep)

# The short form: part of make test.
chaos-short: chaos-build
	tests/http/run.sh $(BUILD)/ringhold tests/chaos/*.test.mjs tests/chaos/check/*.test.mjs
	tests/chaos/enter.sh tests/http/run.sh $(BUILD)/ringhold tests/silence/*.test.mjs
	$(CHAOS) --short --sizes 3 --rounds 1 --seconds 40

chaos-build: packages-test
	@$(PARTS) $(BUILD)/ringhold
