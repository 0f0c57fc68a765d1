#include "service/config.h"

#include "handlers/text_parse.h"
#include "service/arguments.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the environment and the file --------------------------------------------------------------------------------- */

/* RINGHOLD_LOG_LEVEL of log-level. */
static void variable_name(const struct setting *setting, char ret[64])
{
    int len = snprintf(ret, 64, "RINGHOLD_%s", setting->flag);
    for (int i = 0; i < len; i++) {
        ret[i] = ret[i] == '-' ? '_' : (char)toupper((unsigned char)ret[i]);
    }
}

/* The variable's value; NULL where it is missing or empty. */
static const char *variable(char *const environment[], const char *name)
{
    size_t len = strlen(name);
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=') {
            return (*environment)[len + 1] == '\0' ? NULL : *environment + len + 1;
        }
    }
    return NULL;
}

static char *trim(char *s)
{
    while (isspace((unsigned char)*s)) {
        s++;
    }
    size_t len = strlen(s);
    while (len > 0 && isspace((unsigned char)s[len - 1])) {
        s[--len] = '\0';
    }
    return s;
}

/* One line of the file, of which `given` says where it stands. */
static bool read_line(struct given *given, char *line, struct config *config)
{
    char *flag = trim(line);
    if (*flag == '\0' || *flag == '#') {
        return true;
    }
    char *equals = strchr(flag, '=');
    if (equals == NULL) {
        given->value = flag;
        return setting_wrong(given, "of the form flag = value");
    }
    *equals = '\0';
    flag = trim(flag);
    given->setting = setting_find(text_of(flag));
    if (given->setting == NULL || given->setting == &settings[SETTING_CONFIG]) {
        snprintf(given->why, CONFIG_WHY_BYTES,
                 "%.200s: there is no setting \"%.80s\"; ringhold --help lists them all.",
                 given->where, flag);
        return false;
    }
    given->value = trim(equals + 1);
    size_t len = strlen(given->where);
    snprintf(given->where + len, sizeof given->where - len, ": %s", given->setting->flag);
    return setting_take(given, config);
}

static bool read_file(const char *path, struct config *config, char *why)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        snprintf(why, CONFIG_WHY_BYTES, "Cannot read the config file %.300s: %s.", path,
                 strerror(errno));
        return false;
    }
    char *line = NULL;
    size_t room = 0;
    bool fine = true;
    for (int number = 1; fine && getline(&line, &room, file) >= 0; number++) {
        struct given given = {.why = why};
        snprintf(given.where, sizeof given.where, "%.180s, line %d", path, number);
        fine = read_line(&given, line, config);
    }
    if (fine && ferror(file)) {
        snprintf(why, CONFIG_WHY_BYTES, "Cannot read the config file %.300s.", path);
        fine = false;
    }
    free(line);
    fclose(file);
    return fine;
}

/* ---- all together ------------------------------------------------------------------------------------------------- */

static bool take_flag(const struct setting *setting, const char *value, struct config *config,
                      char *why)
{
    struct given given = {.setting = setting, .value = value, .why = why};
    snprintf(given.where, sizeof given.where, "--%s", setting->flag);
    return value == NULL || setting_take(&given, config);
}

static bool take_variable(const struct setting *setting, char *const environment[],
                          struct config *config, char *why)
{
    struct given given = {.setting = setting, .why = why};
    variable_name(setting, given.where);
    given.value = variable(environment, given.where);
    return given.value == NULL || setting_take(&given, config);
}

static void set_defaults(struct config *config)
{
    *config = (struct config){.listen = {"127.0.0.1", 7480},
                              .data_dir = "./ringhold-data",
                              .durable = true,
                              .log_level = LOG_INFO};
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *setting = &settings[i];
        if (setting->type == TYPE_INT || setting->type == TYPE_BYTES) {
            memcpy((char *)config + setting->offset, &setting->otherwise, sizeof(int64_t));
        }
    }
}

/* The host's name, made a valid one. */
static void name_after_host(struct config *config)
{
    if (gethostname(config->node, sizeof config->node) != 0) {
        config->node[0] = '\0';
    }
    config->node[sizeof config->node - 1] = '\0';
    for (char *c = config->node; *c != '\0'; c++) {
        *c = name_valid((struct text){c, 1}) ? *c : '-';
    }
    if (config->node[0] == '\0') {
        strcpy(config->node, "ringhold");
    }
}

static bool read_sources(const struct arguments *arguments, char *const environment[],
                         struct config *config, char *why)
{
    const struct setting *file = &settings[SETTING_CONFIG];
    if (!take_variable(file, environment, config, why) ||
        !take_flag(file, arguments->values[SETTING_CONFIG], config, why) ||
        (config->config_file[0] != '\0' && !read_file(config->config_file, config, why))) {
        return false;
    }
    for (size_t i = 0; i < SETTING_CONFIG; i++) {
        if (!take_variable(&settings[i], environment, config, why)) {
            return false;
        }
    }
    for (size_t i = 0; i < SETTING_CONFIG; i++) {
        if (!take_flag(&settings[i], arguments->values[i], config, why)) {
            return false;
        }
    }
    return true;
}

/* What a cluster is made with counts later too where it was given: it must not contradict the cluster. */
static bool settle_sizes(struct config_cluster *cluster)
{
    cluster->partitions_given = cluster->partitions != 0;
    cluster->replicas_given = cluster->replicas != 0;
    if (!cluster->partitions_given) {
        cluster->partitions = setting_find(TEXT("partitions"))->otherwise;
    }
    if (!cluster->replicas_given) {
        cluster->replicas = setting_find(TEXT("replicas"))->otherwise;
    }
    return true;
}

static bool take_file(const char *operand, struct config *config, char *why)
{
    const struct setting file = {
        .flag = "FILE", .type = TYPE_PATH, .offset = offsetof(struct config, file)};
    struct given given = {&file, operand, "FILE", why};
    return operand == NULL || setting_take(&given, config);
}

static bool take_name(const char *operand, char ret[CONFIG_NODE_BYTES], char *why)
{
    if (operand != NULL && !name_valid(text_of(operand))) {
        snprintf(why, CONFIG_WHY_BYTES, "%.200s is no member's name.", operand);
        return false;
    }
    snprintf(ret, CONFIG_NODE_BYTES, "%s", operand == NULL ? "" : operand);
    return true;
}

static bool take_url(const char *url, struct config *config, char *why)
{
    static const char *const OTHERWISE = "http://127.0.0.1:7480";
    bool good = url == NULL || (strncmp(url, "http://", 7) == 0 && strlen(url) < CONFIG_HOST_BYTES);
    if (!good) {
        snprintf(why, CONFIG_WHY_BYTES, "--url must be http://HOST:PORT, not \"%.80s\".", url);
        return false;
    }
    snprintf(config->url, sizeof config->url, "%s", url == NULL ? OTHERWISE : url);
    return true;
}

/* Where a command's operands and options go. */
static bool take_words(const struct arguments *arguments, struct config *config, char *why)
{
    bool file = arguments->command == CONFIG_BACKUP || arguments->command == CONFIG_RESTORE;
    config->force = arguments->options[OPTION_FORCE] != NULL;
    config->no_wait = arguments->options[OPTION_NO_WAIT] != NULL;
    config->json = arguments->options[OPTION_JSON] != NULL;
    return (file ? take_file(arguments->operands[0], config, why)
                 : take_name(arguments->operands[0], config->member, why) &&
                       take_name(arguments->operands[1], config->successor, why)) &&
           take_url(arguments->options[OPTION_URL], config, why);
}

bool config_read(int argc, char *const argv[], char *const environment[], struct config *ret,
                 enum config_command *ret_command, char ret_why[CONFIG_WHY_BYTES])
{
    struct arguments arguments;
    struct config config;
    set_defaults(&config);
    config.cluster.partitions = config.cluster.replicas = 0;
    if (!arguments_read(argc, argv, &arguments, ret_why) ||
        !read_sources(&arguments, environment, &config, ret_why) ||
        !take_words(&arguments, &config, ret_why) || !settle_sizes(&config.cluster) ||
        (arguments.command == CONFIG_SERVE && !config_check_cluster(&config, ret_why))) {
        return false;
    }
    if (config.node[0] == '\0') {
        name_after_host(&config);
    }
    *ret = config;
    *ret_command = arguments.command;
    return true;
}

static void help_setting(FILE *out, const struct setting *setting)
{
    char form[64];
    snprintf(form, sizeof form, "--%s %s", setting->flag,
             setting->value_name == NULL ? "" : setting->value_name);
    fprintf(out, "  %-26s %s", form, setting->help);
    if (setting->type == TYPE_INT) {
        fprintf(out, " (%" PRId64 ")", setting->otherwise);
    } else if (setting->type == TYPE_BYTES) {
        fprintf(out, " (%" PRId64 "M)", setting->otherwise >> 20);
    }
    fputc('\n', out);
}

void config_help(FILE *out)
{
    fputs("Ringhold: sessions, locks and queues over HTTP/JSON.\n\n", out);
    arguments_help(out);
    fputs("\nSettings, with their defaults:\n\n", out);
    for (size_t i = 0; i < SETTINGS; i++) {
        help_setting(out, &settings[i]);
    }
    fputs("\nEach is also RINGHOLD_<SETTING> in the environment (RINGHOLD_LOG_LEVEL=debug) and a "
          "line\n"
          "of the config file (log-level = debug). Flags come before the environment, the\n"
          "environment before the file.\n",
          out);
}
