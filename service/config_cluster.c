/* What the settings of a cluster's member mean together, and where it tells the others that it is. */
#include "service/config.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

static bool is_everywhere(const char *ip)
{
    return strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0;
}

/* What each setting allows by itself, and not beside the others. */
bool config_check_cluster(const struct config *config, char *why)
{
    const struct config_cluster *cluster = &config->cluster;
    bool member = cluster->peer.ip[0] != '\0' || cluster->peer_name[0] != '\0';
    bool joins = cluster->join[0] != '\0';
    const char *wrong = NULL;
    if ((cluster->partitions & (cluster->partitions - 1)) != 0) {
        wrong = "--partitions must be a power of two.";
    } else if (cluster->replicas % 2 == 0) {
        wrong = "--replicas must be an odd number: 1, 3 or 5.";
    } else if (cluster->init && joins) {
        wrong = "Pass one of --cluster-init and --join, not both.";
    } else if (!member && (cluster->init || joins || cluster->secret_file[0] != '\0')) {
        wrong = "A member of a cluster needs --peer HOST:PORT, where the others reach it.";
    } else if (member && cluster->peer.port == 0) {
        wrong = "--peer must have a port that the others know, not 0.";
    } else if (member && is_everywhere(cluster->peer.ip)) {
        wrong =
            "--peer is told to the other members, who cannot reach this one at 0.0.0.0 or [::]: "
            "pass its own address or name, as in 10.0.0.1:7481 or db-1.example.net:7481.";
    } else if (member && !config->durable) {
        wrong =
            "A member of a cluster has each write on the disks of a majority before it answers: "
            "--durability relaxed is for an instance alone.";
    }
    snprintf(why, CONFIG_WHY_BYTES, "%s", wrong == NULL ? "" : wrong);
    return wrong == NULL;
}

bool config_resolve(struct config *config, char ret_why[CONFIG_WHY_BYTES])
{
    struct config_cluster *cluster = &config->cluster;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[CONFIG_HOST_BYTES];
    if (cluster->peer_name[0] == '\0') {
        return true;
    }
    snprintf(host, sizeof host, "%s", cluster->peer_name);
    *strrchr(host, ':') = '\0';
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc == 0) {
        rc = getnameinfo(found->ai_addr, found->ai_addrlen, cluster->peer.ip, CONFIG_ADDRESS_BYTES,
                         NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(found);
    }
    snprintf(ret_why, CONFIG_WHY_BYTES, "The host of --peer, %.200s, has no address here: %s.",
             host, gai_strerror(rc));
    return rc == 0;
}

void config_url(const struct config *config, const char *listening, char ret[CONFIG_URL_BYTES])
{
    const struct config_cluster *cluster = &config->cluster;
    const char *port = strrchr(listening, ':');
    if (cluster->advertise[0] != '\0') {
        snprintf(ret, CONFIG_URL_BYTES, "http://%s", cluster->advertise);
    } else if (!is_everywhere(config->listen.ip)) {
        snprintf(ret, CONFIG_URL_BYTES, "%s", listening);
    } else if (cluster->peer_name[0] != '\0') {
        int host = (int)(strrchr(cluster->peer_name, ':') - cluster->peer_name);
        snprintf(ret, CONFIG_URL_BYTES, "http://%.*s%s", host, cluster->peer_name, port);
    } else {
        bool ipv6 = strchr(cluster->peer.ip, ':') != NULL;
        snprintf(ret, CONFIG_URL_BYTES, ipv6 ? "http://[%s]%s" : "http://%s%s", cluster->peer.ip,
                 port);
    }
}
