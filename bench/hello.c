/*
 * bench-hello: what libmicrohttpd can do when there is nothing to do. Answers every request with the same small body,
 * on one epoll thread per core, as Ringhold's own front runs. Prints "listening on PORT, libmicrohttpd VERSION" and serves until stdin ends or
 * a SIGTERM comes.
 */
#include <err.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload_data,
                              size_t *upload_data_size, void **request)
{
    static char seen;
    struct MHD_Response *hello = context;
    (void)url, (void)method, (void)version, (void)upload_data, (void)upload_data_size;
    /* answering in a request's first callback makes libmicrohttpd close the connection */
    if (*request == NULL) {
        *request = &seen;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, hello);
}

static unsigned cores(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (unsigned)count;
}

int main(void)
{
    static char body[] = "{\"hello\":\"world\"}\n";
    struct MHD_Response *hello =
        MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_PERSISTENT);
    unsigned threads = cores();
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, hello, MHD_OPTION_THREAD_POOL_SIZE,
        threads, MHD_OPTION_CONNECTION_LIMIT, 4096U, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        daemon == NULL ? NULL : MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    if (info == NULL) {
        errx(1, "cannot start libmicrohttpd");
    }
    printf("listening on %u, libmicrohttpd %s\n", info->port, MHD_get_version());
    fflush(stdout);
    while (getchar() != EOF) {
    }
    MHD_stop_daemon(daemon);
    MHD_destroy_response(hello);
    return 0;
}
