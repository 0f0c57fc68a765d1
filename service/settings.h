/*
 * The settings: each has a name, a type, bounds and a place in struct config. For config.c and arguments.c, which read
 * them from where they come from.
 */
#ifndef RINGHOLD_SERVICE_SETTINGS_H
#define RINGHOLD_SERVICE_SETTINGS_H

#include "db/text.h"
#include "service/config.h"

enum setting_type {
    TYPE_ADDRESS,
    TYPE_PEER,
    TYPE_HOST,
    TYPE_PATH,
    TYPE_DURABILITY,
    TYPE_LEVEL,
    TYPE_NODE,
    TYPE_INT,
    TYPE_BYTES,
    TYPE_YES
};

struct setting {
    const char *flag; /* without its dashes */
    const char *value_name;
    const char *help;
    enum setting_type type;
    size_t offset;    /* ADDRESS, HOST, PATH, INT, BYTES, YES: of the member in struct config */
    int64_t min, max; /* INT, BYTES */
    int64_t otherwise;
};

enum { SETTINGS = 20, SETTING_CONFIG = SETTINGS - 1 };
extern const struct setting settings[SETTINGS];

/* A value that is to be taken, and where it came from, for the sentence when it is wrong. */
struct given {
    const struct setting *setting;
    const char *value;
    char where[CONFIG_PATH_BYTES + 64];
    char *why; /* CONFIG_WHY_BYTES */
};

/* The setting of that name; NULL: there is none. */
const struct setting *setting_find(struct text flag);
/* Puts the value into its place. False, with a sentence, where it is none. */
bool setting_take(const struct given *given, struct config *config);
/* Says that the value is not what it must be; false. */
bool setting_wrong(const struct given *given, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
