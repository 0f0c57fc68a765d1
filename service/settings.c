#include "service/settings.h"

#include "db/limits.h"
#include "handlers/text_parse.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#define MEMBER(name) offsetof(struct config, name)
const struct setting settings[SETTINGS] = {
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
    {"http-threads", "N", "threads that serve HTTP; 0: one a core, a member one less", TYPE_INT,
     MEMBER(http_threads), 0, 256, 0},
    {"drain-ms", "MS", "time between a failing /readyz and the end, on SIGTERM", TYPE_INT,
     MEMBER(drain_ms), 0, 10 * MINUTE_MS, 0},
    {"warm-bytes", "BYTES", "how much is read into memory before /readyz says ready", TYPE_BYTES,
     MEMBER(warm_bytes), 0, INT64_C(1) << 46, INT64_C(256) << 20},
    {"peer", "HOST:PORT", "cluster: where the other members reach this one", TYPE_PEER, 0, 0, 0, 0},
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

bool setting_wrong(const struct given *given, const char *format, ...)
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
        return setting_wrong(given, "a whole number from %" PRId64 " to %" PRId64 "%s",
                             setting->min, setting->max,
                             setting->type == TYPE_BYTES ? " (K, M or G may follow it)" : "");
    }
    *ret = n << shift;
    return true;
}

static bool take_path(const struct given *given, char *ret)
{
    size_t len = strlen(given->value);
    if (len == 0 || len >= CONFIG_PATH_BYTES) {
        return setting_wrong(given, "a path of 1 to %d bytes", CONFIG_PATH_BYTES - 1);
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
        return setting_wrong(given, "HOST:PORT, as in db-1.example.net:7480 or [::1]:7480");
    }
    memcpy(ret, given->value, len + 1);
    return true;
}

static bool take_yes(const struct given *given, bool *ret)
{
    *ret = strcmp(given->value, "true") == 0;
    return *ret || strcmp(given->value, "false") == 0 || setting_wrong(given, "true or false");
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
        return setting_wrong(
            given, "ADDR:PORT with an IP address, as in 127.0.0.1:7480, 0.0.0.0:7480 or [::]:0");
    }
    memcpy(ret->ip, address, sizeof address);
    ret->port = (uint16_t)number;
    return true;
}

/* An address; or a name, which is kept as it is for the others to look up. */
static bool take_peer(const struct given *given, struct config_cluster *ret)
{
    const char *colon = strrchr(given->value, ':');
    size_t len = colon == NULL ? 0 : (size_t)(colon - given->value);
    bool number = len == 0 || strspn(given->value, "0123456789.") == len || given->value[0] == '[';
    *ret->peer_name = '\0';
    if (number || strncmp(given->value, "localhost:", 10) == 0) {
        return take_address(given, &ret->peer);
    }
    ret->peer = (struct config_address){.port = 0};
    bool taken = take_host(given, ret->peer_name);
    ret->peer.port = taken ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
    return taken;
}

static bool take_durability(const struct given *given, struct config *config)
{
    bool full = strcmp(given->value, "full") == 0;
    if (!full && strcmp(given->value, "relaxed") != 0) {
        return setting_wrong(given, "full or relaxed");
    }
    config->durable = full;
    return true;
}

static bool take_node(const struct given *given, struct config *config)
{
    struct text name = text_of(given->value);
    if (!name_valid(name)) {
        return setting_wrong(given, "1 to 255 bytes of A-Z a-z 0-9 . _ - ~ : @ + = ,");
    }
    memcpy(config->node, name.at, name.len + 1);
    return true;
}

bool setting_take(const struct given *given, struct config *config)
{
    void *member = (char *)config + given->setting->offset;
    switch (given->setting->type) {
    case TYPE_ADDRESS:
        return take_address(given, member);
    case TYPE_PEER:
        return take_peer(given, &config->cluster);
    case TYPE_HOST:
        return take_host(given, member);
    case TYPE_PATH:
        return take_path(given, member);
    case TYPE_DURABILITY:
        return take_durability(given, config);
    case TYPE_LEVEL:
        return log_level_from(given->value, &config->log_level) ||
               setting_wrong(given, "error, warn, info or debug");
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

const struct setting *setting_find(struct text flag)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        if (text_equal(flag, text_of(settings[i].flag))) {
            return &settings[i];
        }
    }
    return NULL;
}
