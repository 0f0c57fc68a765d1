/*
 * Compares an answer with what the model says it should have been. Integers that are UNKNOWN (model.h) are not
 * compared; JSON is compared by what it says, not by how it is spelled; holders of a lock are compared as a set.
 */
#ifndef RINGHOLD_TESTS_HISTORY_EXPECT_H
#define RINGHOLD_TESTS_HISTORY_EXPECT_H

#include "db/result.h"

/* False, with what is wrong in words, where they differ. */
bool expect_result(const struct result *want, const struct result *got, char *ret_wrong,
                   size_t room);

#endif
