# The crash test. CRASH_SEED repeats a run as far as its choices go.

.PHONY: crash crash-short crash-build
CRASH_KILLS ?= 100
CRASH_RUN    = RINGHOLD=$(BUILD)/ringhold CHECK_DB=$(BUILD)/check-db \
               node tests/crash/crash.mjs $(if $(CRASH_SEED),--seed $(CRASH_SEED))

## make crash        kill the server CRASH_KILLS times, 100, under load; break the storage at every call
crash: crash-build
	$(CRASH_RUN) --kills $(CRASH_KILLS)
	RINGHOLD_FAULTS=all $(BUILD)/unit --filter '*faults/*'

# The short form: part of make test.
crash-short: crash-build
	$(CRASH_RUN) --kills 6

crash-build: packages-test
	@$(PARTS) $(BUILD)/ringhold $(BUILD)/check-db $(BUILD)/unit

$(BUILD)/check-db: $(BUILD)/tests/crash/check_db.o $(LIBRARY) $(BUILD)/flags
	@echo "  LINK $@"
	$(Q)$(CC) $(LDFLAGS) $(filter %.o,$^) $(LIBS) -o $@
