#include "service/config.h"

#include "db/limits.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORDS_MAX = 16 };

static struct config config;
static enum config_command command;
static char why[CONFIG_WHY_BYTES];

/* Reads a command line of words parted by spaces, and an environment of one variable, or none. */
static bool read_words(const char *line, const char *variable)
{
    static char copy[512];
    static char set[256];
    char *argv[WORDS_MAX + 1] = {"ringhold"};
    char *environment[] = {variable == NULL ? NULL : set, NULL};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    snprintf(set, sizeof set, "%s", variable == NULL ? "" : variable);
    for (char *rest = copy, *word; (word = strsep(&rest, " ")) != NULL && argc < WORDS_MAX;) {
        if (*word != '\0') {
            argv[argc++] = word;
        }
    }
    why[0] = '\0';
    return config_read(argc, argv, environment, &config, &command, why);
}

static void refused(const char *line, const char *variable, const char *because)
{
    cr_expect_not(read_words(line, variable), "\"%s\" was taken", line);
    cr_expect_not_null(strstr(why, because), "\"%s\" says: %s", line, why);
}

/* A file with this text; the caller unlinks it. */
static void write_file(char path[32], const char *text)
{
    strcpy(path, "/tmp/ringhold-conf-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* Reads a config file with this text, and nothing else. */
static bool read_text(const char *text)
{
    char path[32], line[64];
    write_file(path, text);
    snprintf(line, sizeof line, "--config %s", path);
    bool fine = read_words(line, NULL);
    unlink(path);
    return fine;
}

Test(config, nothing_given_means_the_defaults)
{
    cr_assert(read_words("", NULL), "%s", why);
    cr_expect_eq(command, CONFIG_SERVE);
    cr_expect_str_eq(config.listen.ip, "127.0.0.1");
    cr_expect_eq(config.listen.port, 7480);
    cr_expect_str_eq(config.data_dir, "./ringhold-data");
    cr_expect(config.durable);
    cr_expect_eq(config.log_level, LOG_INFO);
    cr_expect_eq(config.max_connections, CONNECTIONS_MAX_DEFAULT);
    cr_expect_eq(config.max_parked, PARKED_MAX_DEFAULT);
    cr_expect_eq(config.http_threads, 0);
    cr_expect_eq(config.drain_ms, 0);
    cr_expect_eq(config.warm_bytes, INT64_C(256) << 20);
    cr_expect_str_neq(config.node, "");
}

Test(config, a_flag_is_read_with_a_space_or_an_equals_sign)
{
    cr_assert(read_words("--data /a --drain-ms=250 --max-parked 7", NULL), "%s", why);
    cr_expect_str_eq(config.data_dir, "/a");
    cr_expect_eq(config.drain_ms, 250);
    cr_expect_eq(config.max_parked, 7);
}

Test(config, the_last_of_two_equal_flags_counts)
{
    cr_assert(read_words("--data /a --data /b", NULL), "%s", why);
    cr_expect_str_eq(config.data_dir, "/b");
}

Test(config, a_flag_comes_before_the_environment_and_that_before_the_file)
{
    char path[32], line[96];
    write_file(path, "log-level = error\nnode = of-file\ndata = /of/file\n");
    snprintf(line, sizeof line, "--config %s --log-level debug", path);
    cr_assert(read_words(line, "RINGHOLD_LOG_LEVEL=warn"), "%s", why);
    cr_expect_eq(config.log_level, LOG_DEBUG);
    cr_expect_str_eq(config.node, "of-file");
    snprintf(line, sizeof line, "--config %s", path);
    cr_assert(read_words(line, "RINGHOLD_LOG_LEVEL=warn"), "%s", why);
    cr_expect_eq(config.log_level, LOG_WARN);
    cr_assert(read_words(line, "RINGHOLD_PORT=tcp://10.0.0.1:80"), "%s", why);
    cr_expect_eq(config.log_level, LOG_ERROR);
    cr_expect_str_eq(config.data_dir, "/of/file");
    unlink(path);
}

Test(config, the_environment_can_name_the_file)
{
    char path[32], set[64];
    write_file(path, "durability = relaxed\n");
    snprintf(set, sizeof set, "RINGHOLD_CONFIG=%s", path);
    cr_assert(read_words("", set), "%s", why);
    cr_expect_not(config.durable);
    unlink(path);
}

Test(config, an_empty_variable_counts_as_none)
{
    cr_assert(read_words("", "RINGHOLD_DURABILITY="), "%s", why);
    cr_expect(config.durable);
}

Test(config, a_file_may_have_comments_blank_lines_and_spaces)
{
    cr_assert(read_text("# all of it\n\n  max-parked =  12 \r\n\tdata=/a#b c\n"), "%s", why);
    cr_expect_str_eq(config.data_dir, "/a#b c");
    cr_expect_eq(config.max_parked, 12);
    cr_expect(!read_text("node = a b\n"));
}

Test(config, a_wrong_line_of_a_file_is_named_with_its_number)
{
    cr_expect_not(read_text("# one\nno-such = 1\n"));
    cr_expect_not_null(strstr(why, "line 2: there is no setting \"no-such\""), "%s", why);
    cr_expect_not(read_text("\n\ndurability\n"));
    cr_expect_not_null(strstr(why, "line 3 must be of the form flag = value"), "%s", why);
    cr_expect_not(read_text("drain-ms = soon\n"));
    cr_expect_not_null(strstr(why, "line 1: drain-ms must be a whole number"), "%s", why);
    cr_expect_not(read_text("config = /other\n"));
    cr_expect_not_null(strstr(why, "there is no setting \"config\""), "%s", why);
}

Test(config, addresses_are_ipv4_or_bracketed_ipv6_with_a_port)
{
    cr_assert(read_words("--listen 0.0.0.0:0", NULL), "%s", why);
    cr_expect_str_eq(config.listen.ip, "0.0.0.0");
    cr_expect_eq(config.listen.port, 0);
    cr_assert(read_words("--listen [::1]:65535", NULL), "%s", why);
    cr_expect_str_eq(config.listen.ip, "::1");
    cr_expect_eq(config.listen.port, 65535);
    cr_assert(read_words("--listen localhost:80", NULL), "%s", why);
    cr_expect_str_eq(config.listen.ip, "127.0.0.1");
    static const char *const BAD[] = {
        "7480",       "127.0.0.1",   ":7480",         "127.0.0.1:", "a.b:1",
        "::1:7480",   "1.2.3.4:-1",  "1.2.3.4:65536", "[::1]",      "[]:1",
        "1.2.3.4:1x", "[1.2.3.4]:1", "1.2.3:80"};
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "--listen %s", BAD[i]);
        refused(line, NULL, "--listen must be ADDR:PORT");
    }
}

Test(config, numbers_outside_their_bounds_are_refused)
{
    refused("--max-connections 0", NULL, "from 1 to 1000000");
    refused("--max-connections -5", NULL, "from 1 to 1000000");
    refused("--max-connections 12k", NULL, "from 1 to 1000000");
    refused("--drain-ms 99999999999999999999", NULL, "from 0 to 600000");
    refused("--http-threads=", NULL, "from 0 to 256");
    refused("", "RINGHOLD_MAX_PARKED=many", "RINGHOLD_MAX_PARKED must be");
}

Test(config, bytes_may_end_in_a_unit)
{
    cr_assert(read_words("--warm-bytes 64M", NULL), "%s", why);
    cr_expect_eq(config.warm_bytes, INT64_C(64) << 20);
    cr_assert(read_words("--warm-bytes 3G", NULL), "%s", why);
    cr_expect_eq(config.warm_bytes, INT64_C(3) << 30);
    cr_assert(read_words("--warm-bytes 0", NULL), "%s", why);
    cr_expect_eq(config.warm_bytes, 0);
    refused("--warm-bytes 5T", NULL, "K, M or G");
    refused("--warm-bytes 5MM", NULL, "K, M or G");
    refused("--warm-bytes 99999999999G", NULL, "K, M or G");
}

Test(config, words_that_mean_nothing_are_refused)
{
    refused("--frobnicate", NULL, "--frobnicate is not an argument");
    refused("--frobnicate=1", NULL, "--frobnicate=1 is not an argument");
    refused("extra", NULL, "extra is not an argument");
    refused("serve backup", NULL, "backup is not an argument");
    refused("--", NULL, "-- is not an argument");
    refused("--data", NULL, "--data needs a value: DIR");
    refused("--durability sometimes", NULL, "must be full or relaxed");
    refused("--log-level loud", NULL, "must be error, warn, info or debug");
    refused("--node a/b", NULL, "--node must be 1 to 255 bytes");
    refused("--config /nowhere/at/all", NULL, "Cannot read the config file /nowhere/at/all");
    refused("--data=", NULL, "a path of 1 to");
}

Test(config, each_command_is_read)
{
    static const struct {
        const char *line;
        enum config_command command;
    } KNOWN[] = {{"serve --node a", CONFIG_SERVE},
                 {"backup f", CONFIG_BACKUP},
                 {"restore f", CONFIG_RESTORE},
                 {"--routes", CONFIG_ROUTES},
                 {"--version", CONFIG_VERSION},
                 {"--help", CONFIG_HELP},
                 {"-h", CONFIG_HELP}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
        cr_expect(read_words(KNOWN[i].line, NULL), "%s: %s", KNOWN[i].line, why);
        cr_expect_eq(command, KNOWN[i].command, "%s", KNOWN[i].line);
    }
}

Test(config, backup_and_restore_need_their_file)
{
    cr_assert(read_words("backup /b --data /d", NULL), "%s", why);
    cr_expect_str_eq(config.file, "/b");
    cr_expect_str_eq(config.data_dir, "/d");
    cr_assert(read_words("--data /d restore /r", NULL), "%s", why);
    cr_expect_str_eq(config.file, "/r");
    refused("backup", NULL, "backup needs a FILE");
    refused("restore --data /d", NULL, "restore needs a FILE");
    refused("backup /a /b", NULL, "/b is not an argument");
}

Test(config, what_is_asked_of_a_cluster_is_read)
{
    cr_assert(read_words("leave", NULL), "%s", why);
    cr_expect_eq(command, CONFIG_LEAVE);
    cr_expect_str_eq(config.member, "");
    cr_expect_str_eq(config.url, "http://127.0.0.1:7480");
    cr_expect_not(config.force || config.no_wait || config.json);
    cr_assert(read_words("leave --force n1 --no-wait --cluster-secret-file /s", NULL), "%s", why);
    cr_expect_str_eq(config.member, "n1");
    cr_expect(config.force && config.no_wait);
    cr_assert(read_words("replace n1 n2 --url http://h:1", NULL), "%s", why);
    cr_expect_eq(command, CONFIG_REPLACE);
    cr_expect_str_eq(config.successor, "n2");
    cr_expect_str_eq(config.url, "http://h:1");
    cr_assert(read_words("ring --json --url=http://h:1", NULL), "%s", why);
    cr_expect_eq(command, CONFIG_RING);
    cr_expect(config.json);
    cr_assert(read_words("recover --data /d --force", NULL), "%s", why);
    cr_expect_eq(command, CONFIG_RECOVER);
    cr_expect(config.force);
}

Test(config, what_cannot_be_asked_of_a_cluster_is_refused)
{
    refused("replace", NULL, "replace needs an OLD, as in: ringhold replace OLD [NEW].");
    refused("replace a b c", NULL, "c is not an argument");
    refused("leave a/b", NULL, "a/b is no member's name");
    refused("leave --url h:1", NULL, "--url must be http://HOST:PORT");
    refused("leave --url", NULL, "--url needs a value: URL");
    refused("ring --force", NULL, "--force says nothing to ring");
    refused("--force", NULL, "--force says nothing to serve");
    refused("leave --force=yes", NULL, "--force=yes is not an argument");
    refused("leave --json", NULL, "--json says nothing to leave");
}

Test(config, an_option_is_nothing_that_the_environment_says)
{
    cr_assert(read_words("leave", "RINGHOLD_FORCE=true"), "%s", why);
    cr_expect_not(config.force);
}

Test(config, a_cluster_is_told_by_its_flags)
{
    cr_assert(
        read_words("--peer 10.0.0.1:7481 --cluster-secret-file /s --cluster-init --partitions 64 "
                   "--replicas 5 --advertise db-1.example.net:7480 --weight 3",
                   "RINGHOLD_REPLACE_AFTER=60000"),
        "%s", why);
    cr_expect_str_eq(config.cluster.peer.ip, "10.0.0.1");
    cr_expect_eq(config.cluster.peer.port, 7481);
    cr_expect_str_eq(config.cluster.secret_file, "/s");
    cr_expect(config.cluster.init);
    cr_expect_eq(config.cluster.partitions, 64);
    cr_expect_eq(config.cluster.replicas, 5);
    cr_expect_str_eq(config.cluster.advertise, "db-1.example.net:7480");
    cr_expect_eq(config.cluster.weight, 3);
    cr_expect_eq(config.cluster.replace_after_ms, 60000);
    cr_assert(read_words("--join 10.0.0.1:7480 --peer 10.0.0.2:1", NULL), "%s", why);
    cr_expect_str_eq(config.cluster.join, "10.0.0.1:7480");
    cr_expect_not(config.cluster.init);
}

Test(config, what_no_cluster_can_be_told_is_refused)
{
    refused("--partitions 0", NULL, "from 1 to 1024");
    refused("--partitions 12", NULL, "a power of two");
    refused("--replicas 4", NULL, "an odd number");
    refused("--join nowhere", NULL, "HOST:PORT");
    refused("--join host:0", NULL, "HOST:PORT");
    refused("--join http://host:1", NULL, "HOST:PORT");
    refused("--cluster-init=perhaps", NULL, "true or false");
    refused("--peer 0.0.0.0:0", NULL, "a port that the others know");
    refused("--cluster-init --join host:1", NULL, "one of --cluster-init and --join");
    refused("--cluster-init", NULL, "needs --peer");
    refused("--peer 0.0.0.0:7481", NULL, "pass its own address or name");
    refused("--peer [::]:7481", NULL, "pass its own address or name");
    refused("--peer 10.0.0:7481", NULL, "ADDR:PORT");
    refused("--peer db-1.example.net", NULL, "ADDR:PORT");
    refused("--peer db-1.example.net:0", NULL, "HOST:PORT");
    refused("--peer 10.0.0.1:7481 --durability relaxed", NULL, "for an instance alone");
}

Test(config, a_member_may_be_told_by_name)
{
    cr_assert(read_words("--peer db-1.example.net:7481", NULL), "%s", why);
    cr_expect_str_eq(config.cluster.peer_name, "db-1.example.net:7481");
    cr_expect_eq(config.cluster.peer.port, 7481);
    cr_assert(read_words("--peer 10.0.0.1:7481", "RINGHOLD_PEER=db-1.example.net:7482"), "%s", why);
    cr_expect_str_empty(config.cluster.peer_name, "the flag says otherwise");
    cr_expect_str_eq(config.cluster.peer.ip, "10.0.0.1");
    cr_assert(read_words("--peer LocalHost:7481", NULL), "%s", why);
    cr_expect_str_empty(config.cluster.peer.ip);
    cr_assert(config_resolve(&config, why), "%s", why);
    cr_expect(strcmp(config.cluster.peer.ip, "127.0.0.1") == 0 ||
              strcmp(config.cluster.peer.ip, "::1") == 0);
    cr_assert(read_words("--peer no-such-host.invalid:7481", NULL), "%s", why);
    cr_expect_not(config_resolve(&config, why));
    cr_expect_not_null(strstr(why, "no-such-host.invalid, has no address here"));
}

Test(config, a_member_tells_the_others_where_they_reach_it)
{
    static const struct {
        const char *words, *listening, *url;
    } ROWS[] = {
        {"--peer 10.0.0.1:1", "http://127.0.0.1:7480", "http://127.0.0.1:7480"},
        {"--peer 10.0.0.1:1 --listen 10.0.0.2:7480", "http://10.0.0.2:7480",
         "http://10.0.0.2:7480"},
        {"--peer 10.0.0.1:1 --listen 0.0.0.0:0", "http://0.0.0.0:7480", "http://10.0.0.1:7480"},
        {"--peer [fd00::1]:1 --listen [::]:0", "http://[::]:7480", "http://[fd00::1]:7480"},
        {"--peer n1:1 --listen 0.0.0.0:0", "http://0.0.0.0:7480", "http://n1:7480"},
        {"--peer n1:1 --listen 0.0.0.0:0 --advertise a:2", "http://0.0.0.0:7480", "http://a:2"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        char url[CONFIG_URL_BYTES];
        cr_assert(read_words(ROWS[i].words, NULL), "%s", why);
        config_url(&config, ROWS[i].listening, url);
        cr_expect_str_eq(url, ROWS[i].url, "%s: %s", ROWS[i].words, url);
    }
}
