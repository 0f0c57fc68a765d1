#include "service/arguments.h"

#include <string.h>

/* What each command is, and what may stand behind it. */
static const struct command_form {
    const char *word;
    enum config_command command;
    unsigned operands_min, operands_max;
    unsigned options; /* bits by enum argument_option */
    const char *operand_names;
    const char *help; /* NULL: another word for one that is listed */
} FORMS[] = {
    {"serve", CONFIG_SERVE, 0, 0, 0, "", "serve until SIGTERM; what it does without a command"},
    {"backup", CONFIG_BACKUP, 1, 1, 0, "FILE",
     "copy the data directory's database, also while it is served"},
    {"restore", CONFIG_RESTORE, 1, 1, 0, "FILE", "put such a copy in the place of the database"},
    {"ring", CONFIG_RING, 0, 0, 1 << OPTION_URL | 1 << OPTION_JSON, "",
     "show members, partitions and what moves"},
    {"leave", CONFIG_LEAVE, 0, 1, 1 << OPTION_URL | 1 << OPTION_FORCE | 1 << OPTION_NO_WAIT,
     "[NAME]", "take a member out of its cluster: the one at --url, or NAME"},
    {"replace", CONFIG_REPLACE, 1, 2, 1 << OPTION_URL | 1 << OPTION_FORCE | 1 << OPTION_NO_WAIT,
     "OLD [NEW]", "have a member's places taken by NEW, or by whoever has room, at once"},
    {"recover", CONFIG_RECOVER, 0, 0, 1 << OPTION_FORCE, "",
     "after a majority is lost for good: go on with what --data holds"},
    {"--routes", CONFIG_ROUTES, 0, 0, 0, "", "print every method, path and operation"},
    {"--version", CONFIG_VERSION, 0, 0, 0, "", "print the version"},
    {"--help", CONFIG_HELP, 0, 0, 0, "", "print this"},
    {"-h", CONFIG_HELP, 0, 0, 0, "", NULL},
};
enum { FORM_COUNT = sizeof FORMS / sizeof FORMS[0] };

static const struct {
    const char *flag;
    const char *value_name; /* NULL: it takes none */
    const char *help;
} OPTION_FORMS[OPTIONS] = {
    [OPTION_URL] = {"--url", "URL",
                    "of any member, or of an instance alone (http://127.0.0.1:7480)"},
    [OPTION_FORCE] = {"--force", NULL, "do what would be refused; the refusal says what it costs"},
    [OPTION_NO_WAIT] = {"--no-wait", NULL, "do not wait until it is done"},
    [OPTION_JSON] = {"--json", NULL, "as JSON"},
};

/* The words that are left, and what has come of those before. */
struct reading {
    char *const *argv;
    struct arguments *arguments;
    const struct command_form *form; /* NULL: no command was named yet */
    unsigned operands;
    char *why;
};

static const struct command_form *form_of(const char *word)
{
    for (size_t i = 0; i < FORM_COUNT; i++) {
        if (strcmp(word, FORMS[i].word) == 0) {
            return &FORMS[i];
        }
    }
    return NULL;
}

/* A word that is no flag: an operand of the command, or the command. */
static bool read_word(struct reading *reading, const char *word)
{
    const struct command_form *form = form_of(word);
    bool operand = reading->form != NULL && reading->operands < reading->form->operands_max;
    if (operand && word[0] != '-') {
        reading->arguments->operands[reading->operands++] = word;
        return true;
    }
    if (form != NULL && reading->form == NULL) {
        reading->form = form;
        return true;
    }
    snprintf(reading->why, CONFIG_WHY_BYTES,
             "%.200s is not an argument that fits here; ringhold --help lists them all.", word);
    return false;
}

/* The value of the flag that the next word is: behind its =, or the word after it; NULL, with a sentence, where it has
   none. *ret_words: how many words they are. */
static const char *value_of(struct reading *reading, const char *flag, const char *value_name,
                            int *ret_words)
{
    const char *equals = strchr(reading->argv[0], '=');
    const char *value = equals != NULL ? equals + 1 : reading->argv[1];
    *ret_words = equals != NULL ? 1 : 2;
    if (value == NULL) {
        snprintf(reading->why, CONFIG_WHY_BYTES, "%s needs a value: %s.", flag, value_name);
    }
    return value;
}

/* Reads the next words into ret[0]; returns how many they were, 0 when they are wrong. */
static int read_flag(struct reading *reading, const char *flag, const char *value_name,
                     const char *bare, const char **ret)
{
    int words = 1;
    bool takes_value = value_name != NULL || strchr(reading->argv[0], '=') != NULL;
    *ret = takes_value ? value_of(reading, flag, value_name, &words) : bare;
    return *ret == NULL ? 0 : words;
}

static int read_option(struct reading *reading, struct text flag)
{
    for (unsigned i = 0; i < OPTIONS; i++) {
        bool bare = OPTION_FORMS[i].value_name == NULL;
        if (text_equal(flag, text_of(OPTION_FORMS[i].flag)) &&
            !(bare && strchr(reading->argv[0], '=') != NULL)) {
            return read_flag(reading, OPTION_FORMS[i].flag, OPTION_FORMS[i].value_name, "",
                             &reading->arguments->options[i]);
        }
    }
    return read_word(reading, reading->argv[0]) ? 1 : 0;
}

static int read_argument(struct reading *reading)
{
    const char *word = reading->argv[0];
    struct text flag = {word, strcspn(word, "=")};
    const struct setting *setting = NULL;
    if (flag.len > 2 && memcmp(word, "--", 2) == 0) {
        setting = setting_find((struct text){word + 2, flag.len - 2});
    }
    if (setting == NULL) {
        return read_option(reading, flag);
    }
    char name[80];
    snprintf(name, sizeof name, "--%s", setting->flag);
    return read_flag(reading, name, setting->value_name, "true",
                     &reading->arguments->values[setting - settings]);
}

/* What the command needs is there, and nothing that it does not know. */
static bool check(const struct reading *reading, const struct command_form *form)
{
    if (reading->operands < form->operands_min) {
        const char *also = (form->options >> OPTION_URL & 1) != 0 ? "" : " --data DIR";
        snprintf(reading->why, CONFIG_WHY_BYTES, "%s needs %s %.*s, as in: ringhold %s %s%s.",
                 form->word, strchr("AEIOU", form->operand_names[0]) != NULL ? "an" : "a",
                 (int)strcspn(form->operand_names, " "), form->operand_names, form->word,
                 form->operand_names, also);
        return false;
    }
    for (unsigned i = 0; i < OPTIONS; i++) {
        if (reading->arguments->options[i] != NULL && (form->options >> i & 1) == 0) {
            snprintf(reading->why, CONFIG_WHY_BYTES, "%s says nothing to %s.", OPTION_FORMS[i].flag,
                     form->word);
            return false;
        }
    }
    return true;
}

bool arguments_read(int argc, char *const argv[], struct arguments *ret,
                    char ret_why[CONFIG_WHY_BYTES])
{
    *ret = (struct arguments){.command = CONFIG_SERVE};
    struct reading reading = {.arguments = ret, .why = ret_why};
    for (int i = 1; i < argc;) {
        reading.argv = argv + i;
        int taken = read_argument(&reading);
        if (taken == 0) {
            return false;
        }
        i += taken;
    }
    const struct command_form *form = reading.form != NULL ? reading.form : &FORMS[0];
    ret->command = form->command;
    return check(&reading, form);
}

void arguments_help(FILE *out)
{
    for (size_t i = 0; i < FORM_COUNT; i++) {
        char form[64];
        snprintf(form, sizeof form, "%s %s", FORMS[i].word, FORMS[i].operand_names);
        if (FORMS[i].help != NULL) {
            fprintf(out, "  ringhold %-18s %s\n", form, FORMS[i].help);
        }
    }
    fputs("\nOptions of ring, leave, replace and recover:\n\n", out);
    for (unsigned i = 0; i < OPTIONS; i++) {
        char form[64];
        snprintf(form, sizeof form, "%s %s", OPTION_FORMS[i].flag,
                 OPTION_FORMS[i].value_name == NULL ? "" : OPTION_FORMS[i].value_name);
        fprintf(out, "  %-26s %s\n", form, OPTION_FORMS[i].help);
    }
}
