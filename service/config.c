#include "service/config.h"

#include "db/limits.h"
#include "handlers/text_parse.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

enum setting_type {
    TYPE_ADDRESS,
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

#define MEMBER(name) offsetof(struct config, name)
enum { SETTINGS = 20, SETTING_CONFIG = SETTINGS - 1 };
static const struct setting CONFIG_FLAGS[SETTINGS] = {
    {"listen", "ADDR:PORT", "where to serve (127.0.0.1:7480); port 0 picks a free one",
     TYPE_ADDRESS, MEMBER(listen), 0, 0, 0},
    {"data", "DIR", "where everything is kept (./ringhold-data); made when missing", TYPE_PATH,
     MEMBER(data_dir), 0, 0, 0},
    {"durability", "full|relaxed", "full: answer a write once it is fsynced (full)",
     TYPE_DURABILITY, 0, 0, 0, 0},
    {"log-level", "LEVEL", "error, warn, info or debug (info)", TYPE_LEVEL, 0, 0, 0, 0},
    {"node", "NAME", "this instance's name (the host's name)", TYPE_NODE, 0, 0, 0, 0},
    {"max-connections", "N", "open connections; one more is refused with 503", TYPE_INT,
     MEMBER(max_connections), 1, 1000000, CONNECTIONS_MAX_DEFAULT},
    {"max-parked", "N", "requests that wait at once; one more is refused with 503", TYPE_INT,
     MEMBER(max_parked), 0, 1000000, PARKED_MAX_DEFAULT},
    {"http-threads", "N", "threads that serve HTTP; 0: one a core", TYPE_INT, MEMBER(http_threads),
     0, 256, 0},
    {"drain-ms", "MS", "time between a failing /readyz and the end, on SIGTERM", TYPE_INT,
     MEMBER(drain_ms), 0, 10 * MINUTE_MS, 0},
    {"warm-bytes", "BYTES", "how much is read into memory before /readyz says ready", TYPE_BYTES,
     MEMBER(warm_bytes), 0, INT64_C(1) << 46, INT64_C(256) << 20},
    {"peer", "ADDR:PORT", "cluster: where the other members reach this one", TYPE_ADDRESS,
     MEMBER(cluster.peer), 0, 0, 0},
    {"cluster-secret-file", "FILE", "cluster: what its members know each other by", TYPE_PATH,
     MEMBER(cluster.secret_file), 0, 0, 0},
    {"cluster-init", NULL, "make a new cluster; this is its first member", TYPE_YES,
     MEMBER(cluster.init), 0, 0, 0},
    {"partitions", "N", "with --cluster-init: arcs of the ring, a power of two", TYPE_INT,
     MEMBER(cluster.partitions), 1, 1024, 16},
    {"replicas", "N", "with --cluster-init: members that hold each partition", TYPE_INT,
     MEMBER(cluster.replicas), 1, 5, 3},
    {"join", "HOST:PORT", "join the cluster that this member's HTTP address is of", TYPE_HOST,
     MEMBER(cluster.join), 0, 0, 0},
    {"advertise", "HOST:PORT", "cluster: where others reach this one's HTTP (--listen)", TYPE_HOST,
     MEMBER(cluster.advertise), 0, 0, 0},
    {"weight", "N", "cluster: this member's share, beside the others'", TYPE_INT,
     MEMBER(cluster.weight), 1, 1000, 1},
    {"replace-after", "MS", "cluster: a member gone for longer is replaced", TYPE_INT,
     MEMBER(cluster.replace_after_ms), 1000, DAY_MS, 5 * MINUTE_MS},
    {"config", "FILE", "a file of lines: flag = value", TYPE_PATH, MEMBER(config_file), 0, 0, 0},
};

/* ---- taking one value --------------------------------------------------------------------------------------------- */

/* A value that is to be taken, and where it came from, for the sentence when it is wrong. */
struct given {
    const struct setting *setting;
    const char *value;
    char where[CONFIG_PATH_BYTES + 64];
    char *why; /* CONFIG_WHY_BYTES */
};

static bool __attribute__((format(printf, 2, 3))) wrong(const struct given *given,
                                                        const char *format, ...)
{
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    snprintf(given->why, CONFIG_WHY_BYTES, "%.200s must be %s, not \"%.80s\".", given->where, what,
             given->value);
    return false;
}

static bool take_int(const struct given *given, int64_t *ret)
{
    const struct setting *setting = given->setting;
    char *end = NULL;
    errno = 0;
    int64_t n = strtoll(given->value, &end, 10);
    bool number = isdigit((unsigned char)given->value[0]) && errno == 0;
    int shift = 0;
    if (number && setting->type == TYPE_BYTES && *end != '\0' && end[1] == '\0') {
        shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
        end += shift > 0;
    }
    if (!number || *end != '\0' || n < setting->min || n > setting->max >> shift) {
        return wrong(given, "a whole number from %" PRId64 " to %" PRId64 "%s", setting->min,
                     setting->max, setting->type == TYPE_BYTES ? " (K, M or G may follow it)" : "");
    }
    *ret = n << shift;
    return true;
}

static bool take_path(const struct given *given, char *ret)
{
    size_t len = strlen(given->value);
    if (len == 0 || len >= CONFIG_PATH_BYTES) {
        return wrong(given, "a path of 1 to %d bytes", CONFIG_PATH_BYTES - 1);
    }
    memcpy(ret, given->value, len + 1);
    return true;
}

/* Splits ADDR:PORT or [ADDR]:PORT at its last colon. False where it has not that form. */
static bool split_address(const char *value, char address[CONFIG_ADDRESS_BYTES], const char **port)
{
    const char *colon = strrchr(value, ':');
    if (colon == NULL) {
        return false;
    }
    size_t len = (size_t)(colon - value);
    bool brackets = len >= 2 && value[0] == '[' && value[len - 1] == ']';
    value += brackets;
    len -= brackets ? 2 : 0;
    if (len == 0 || len >= CONFIG_ADDRESS_BYTES || brackets != (memchr(value, ':', len) != NULL)) {
        return false;
    }
    memcpy(address, value, len);
    address[len] = '\0';
    *port = colon + 1;
    return true;
}

/* HOST:PORT; the host may be a name. */
static bool take_host(const struct given *given, char ret[CONFIG_HOST_BYTES])
{
    const char *colon = strrchr(given->value, ':');
    size_t len = strlen(given->value);
    char *end = NULL;
    unsigned long port = colon == NULL ? 0 : strtoul(colon + 1, &end, 10);
    bool host = colon != NULL && colon > given->value && len < CONFIG_HOST_BYTES &&
                strcspn(given->value, " /@?#") == len;
    if (!host || !isdigit((unsigned char)colon[1]) || *end != '\0' || port == 0 || port > 65535) {
        return wrong(given, "HOST:PORT, as in db-1.example.net:7480 or [::1]:7480");
    }
    memcpy(ret, given->value, len + 1);
    return true;
}

static bool take_yes(const struct given *given, bool *ret)
{
    *ret = strcmp(given->value, "true") == 0;
    return *ret || strcmp(given->value, "false") == 0 || wrong(given, "true or false");
}

static bool take_address(const struct given *given, struct config_address *ret)
{
    char address[CONFIG_ADDRESS_BYTES];
    const char *port = "";
    unsigned char binary[sizeof(struct in6_addr)];
    bool split = split_address(given->value, address, &port);
    if (split && strcmp(address, "localhost") == 0) {
        strcpy(address, "127.0.0.1");
    }
    int family = split && strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
    char *end = NULL;
    unsigned long number = strtoul(port, &end, 10);
    bool numeric = isdigit((unsigned char)port[0]) && *end == '\0' && number <= 65535;
    if (!split || !numeric || inet_pton(family, address, binary) != 1) {
        return wrong(given,
                     "ADDR:PORT with an IP address, as in 127.0.0.1:7480, 0.0.0.0:7480 or [::]:0");
    }
    memcpy(ret->ip, address, sizeof address);
    ret->port = (uint16_t)number;
    return true;
}

static bool take_durability(const struct given *given, struct config *config)
{
    bool full = strcmp(given->value, "full") == 0;
    if (!full && strcmp(given->value, "relaxed") != 0) {
        return wrong(given, "full or relaxed");
    }
    config->durable = full;
    return true;
}

static bool take_node(const struct given *given, struct config *config)
{
    struct text name = text_of(given->value);
    if (!name_valid(name)) {
        return wrong(given, "1 to 255 bytes of A-Z a-z 0-9 . _ - ~ : @ + = ,");
    }
    memcpy(config->node, name.at, name.len + 1);
    return true;
}

static bool take(const struct given *given, struct config *config)
{
    void *member = (char *)config + given->setting->offset;
    switch (given->setting->type) {
    case TYPE_ADDRESS:
        return take_address(given, member);
    case TYPE_HOST:
        return take_host(given, member);
    case TYPE_PATH:
        return take_path(given, member);
    case TYPE_DURABILITY:
        return take_durability(given, config);
    case TYPE_LEVEL:
        return log_level_from(given->value, &config->log_level) ||
               wrong(given, "error, warn, info or debug");
    case TYPE_NODE:
        return take_node(given, config);
    case TYPE_INT:
    case TYPE_BYTES:
        return take_int(given, member);
    case TYPE_YES:
        return take_yes(given, member);
    }
    return false;
}

static const struct setting *find_setting(struct text flag)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        if (text_equal(flag, text_of(CONFIG_FLAGS[i].flag))) {
            return &CONFIG_FLAGS[i];
        }
    }
    return NULL;
}

/* ---- the command line --------------------------------------------------------------------------------------------- */

/* The values of the command line, before anything is taken: the file and the environment come first. */
struct arguments {
    const char *values[SETTINGS];
    const char *file;
    enum config_command command;
    bool commanded; /* a command was named */
    char *why;
};

static bool name_command(struct arguments *arguments, const char *word)
{
    static const struct {
        const char *word;
        enum config_command command;
    } COMMANDS[] = {
        {"serve", CONFIG_SERVE},     {"backup", CONFIG_BACKUP},     {"restore", CONFIG_RESTORE},
        {"--routes", CONFIG_ROUTES}, {"--version", CONFIG_VERSION}, {"--help", CONFIG_HELP},
        {"-h", CONFIG_HELP}};
    for (size_t i = 0; i < sizeof COMMANDS / sizeof COMMANDS[0]; i++) {
        if (strcmp(word, COMMANDS[i].word) == 0) {
            bool first = !arguments->commanded;
            arguments->commanded = true;
            arguments->command = first ? COMMANDS[i].command : arguments->command;
            return first;
        }
    }
    return false;
}

/* A word that is no flag: a command, or the FILE of one. */
static bool read_word(struct arguments *arguments, const char *word)
{
    bool wants_file = arguments->command == CONFIG_BACKUP || arguments->command == CONFIG_RESTORE;
    if (wants_file && arguments->file == NULL && word[0] != '-') {
        arguments->file = word;
        return true;
    }
    if (name_command(arguments, word)) {
        return true;
    }
    snprintf(arguments->why, CONFIG_WHY_BYTES,
             "%.200s is not an argument that fits here; ringhold --help lists them all.", word);
    return false;
}

/* Reads argv[i], and argv[i + 1] if that is its value; returns how many were read, 0 when they are wrong. */
static int read_argument(struct arguments *arguments, char *const argv[])
{
    const char *word = argv[0];
    struct text flag = text_of(word);
    const char *equals = strchr(word, '=');
    if (equals != NULL) {
        flag.len = (size_t)(equals - word);
    }
    const struct setting *setting = NULL;
    if (flag.len > 2 && memcmp(word, "--", 2) == 0) {
        setting = find_setting((struct text){word + 2, flag.len - 2});
    }
    if (setting == NULL) {
        return read_word(arguments, word) ? 1 : 0;
    }
    if (setting->value_name == NULL && equals == NULL) {
        arguments->values[setting - CONFIG_FLAGS] = "true";
        return 1;
    }
    const char *value = equals != NULL ? equals + 1 : argv[1];
    if (value == NULL) {
        snprintf(arguments->why, CONFIG_WHY_BYTES, "--%s needs a value: %s.", setting->flag,
                 setting->value_name);
        return 0;
    }
    arguments->values[setting - CONFIG_FLAGS] = value;
    return equals != NULL ? 1 : 2;
}

static bool read_arguments(int argc, char *const argv[], struct arguments *arguments)
{
    for (int i = 1; i < argc;) {
        int taken = read_argument(arguments, argv + i);
        if (taken == 0) {
            return false;
        }
        i += taken;
    }
    bool wants_file = arguments->command == CONFIG_BACKUP || arguments->command == CONFIG_RESTORE;
    if (wants_file && arguments->file == NULL) {
        snprintf(arguments->why, CONFIG_WHY_BYTES,
                 "%s needs a FILE, as in: ringhold %s FILE --data DIR.",
                 arguments->command == CONFIG_BACKUP ? "backup" : "restore",
                 arguments->command == CONFIG_BACKUP ? "backup" : "restore");
        return false;
    }
    return true;
}

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
        return wrong(given, "of the form flag = value");
    }
    *equals = '\0';
    flag = trim(flag);
    given->setting = find_setting(text_of(flag));
    if (given->setting == NULL || given->setting == &CONFIG_FLAGS[SETTING_CONFIG]) {
        snprintf(given->why, CONFIG_WHY_BYTES,
                 "%.200s: there is no setting \"%.80s\"; ringhold --help lists them all.",
                 given->where, flag);
        return false;
    }
    given->value = trim(equals + 1);
    size_t len = strlen(given->where);
    snprintf(given->where + len, sizeof given->where - len, ": %s", given->setting->flag);
    return take(given, config);
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
    return value == NULL || take(&given, config);
}

static bool take_variable(const struct setting *setting, char *const environment[],
                          struct config *config, char *why)
{
    struct given given = {.setting = setting, .why = why};
    variable_name(setting, given.where);
    given.value = variable(environment, given.where);
    return given.value == NULL || take(&given, config);
}

static void set_defaults(struct config *config)
{
    *config = (struct config){.listen = {"127.0.0.1", 7480},
                              .data_dir = "./ringhold-data",
                              .durable = true,
                              .log_level = LOG_INFO};
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *setting = &CONFIG_FLAGS[i];
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
    const struct setting *file = &CONFIG_FLAGS[SETTING_CONFIG];
    if (!take_variable(file, environment, config, why) ||
        !take_flag(file, arguments->values[SETTING_CONFIG], config, why) ||
        (config->config_file[0] != '\0' && !read_file(config->config_file, config, why))) {
        return false;
    }
    for (size_t i = 0; i < SETTING_CONFIG; i++) {
        if (!take_variable(&CONFIG_FLAGS[i], environment, config, why)) {
            return false;
        }
    }
    for (size_t i = 0; i < SETTING_CONFIG; i++) {
        if (!take_flag(&CONFIG_FLAGS[i], arguments->values[i], config, why)) {
            return false;
        }
    }
    return true;
}

/* What each setting allows by itself, and not beside the others. */
static bool check_cluster(const struct config_cluster *cluster, char *why)
{
    bool member = cluster->peer.ip[0] != '\0', joins = cluster->join[0] != '\0';
    const char *wrong = NULL;
    if ((cluster->partitions & (cluster->partitions - 1)) != 0) {
        wrong = "--partitions must be a power of two.";
    } else if (cluster->replicas % 2 == 0) {
        wrong = "--replicas must be an odd number: 1, 3 or 5.";
    } else if (cluster->init && joins) {
        wrong = "Pass one of --cluster-init and --join, not both.";
    } else if (!member && (cluster->init || joins || cluster->secret_file[0] != '\0')) {
        wrong = "A member of a cluster needs --peer ADDR:PORT, where the others reach it.";
    } else if (member && cluster->peer.port == 0) {
        wrong = "--peer must have a port that the others know, not 0.";
    }
    snprintf(why, CONFIG_WHY_BYTES, "%s", wrong == NULL ? "" : wrong);
    return wrong == NULL;
}

bool config_read(int argc, char *const argv[], char *const environment[], struct config *ret,
                 enum config_command *ret_command, char ret_why[CONFIG_WHY_BYTES])
{
    struct arguments arguments = {.command = CONFIG_SERVE, .why = ret_why};
    struct config config;
    set_defaults(&config);
    if (!read_arguments(argc, argv, &arguments) ||
        !read_sources(&arguments, environment, &config, ret_why)) {
        return false;
    }
    if (arguments.file != NULL) {
        const struct setting operand = {.flag = "FILE", .type = TYPE_PATH, .offset = MEMBER(file)};
        struct given given = {&operand, arguments.file, "FILE", ret_why};
        if (!take(&given, &config)) {
            return false;
        }
    }
    if (!check_cluster(&config.cluster, ret_why)) {
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
    fputs(
        "Ringhold: sessions, locks and queues over HTTP/JSON.\n\n"
        "  ringhold [serve]           serve until SIGTERM\n"
        "  ringhold backup FILE       copy the data directory's database, also while it is served\n"
        "  ringhold restore FILE      put such a copy in the place of the database\n"
        "  ringhold --routes          print every method, path and operation\n"
        "  ringhold --version         print the version\n"
        "  ringhold --help            print this\n\n"
        "Settings, with their defaults:\n\n",
        out);
    for (size_t i = 0; i < SETTINGS; i++) {
        help_setting(out, &CONFIG_FLAGS[i]);
    }
    fputs("\nEach is also RINGHOLD_<SETTING> in the environment (RINGHOLD_LOG_LEVEL=debug) and a "
          "line\n"
          "of the config file (log-level = debug). Flags come before the environment, the\n"
          "environment before the file.\n",
          out);
}
