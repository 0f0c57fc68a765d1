/*
 * libmicrohttpd answers by itself what it cannot parse, with pages of HTML that no option replaces. It makes each of
 * them with one function, which is called from another object file of the static library; so the linker is told to
 * --wrap that function, and the page becomes the problem document it should have been. Our own answers do not go
 * through it (answer.c uses the variant with a free callback).
 *
 * 0.9.75 makes its pages with MHD_create_response_from_buffer, 1.0.1 with MHD_create_response_from_buffer_static.
 */
#include "service/mhd_pages.h"

#include "handlers/problem.h"
#include "service/answer.h"

#include <microhttpd.h>
#include <sys/socket.h>

/* The names that --wrap gives. */
struct MHD_Response *__real_MHD_create_response_from_buffer(size_t size, void *buffer,
                                                            enum MHD_ResponseMemoryMode mode);
struct MHD_Response *__wrap_MHD_create_response_from_buffer(size_t size, void *buffer,
                                                            enum MHD_ResponseMemoryMode mode);
struct MHD_Response *__wrap_MHD_create_response_from_buffer_static(size_t size, const void *buffer);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

static struct text signature; /* set once, before there are threads that answer */

void mhd_pages_sign(struct text node)
{
    signature = node;
}

/* What a page is about, by the title both versions give it. */
static enum status status_of_page(const char *page, size_t size)
{
    static const struct {
        const char *title;
        enum status status;
    } PAGES[] = {{"<title>Request too big", STATUS_HEADERS_TOO_LARGE},
                 {"<title>Request content too large", STATUS_BODY_TOO_LARGE},
                 {"<title>Requested HTTP version", STATUS_HTTP_VERSION},
                 {"<title>Internal server error", STATUS_INTERNAL}};
    for (size_t i = 0; i < sizeof PAGES / sizeof PAGES[0]; i++) {
        if (memmem(page, size, PAGES[i].title, strlen(PAGES[i].title)) != NULL) {
            return PAGES[i].status;
        }
    }
    return STATUS_BAD_REQUEST;
}

static struct MHD_Response *problem_for(const char *page, size_t size)
{
    struct arena arena = ARENA_EMPTY;
    struct text problem = problem_plain(status_of_page(page, size), &arena);
    struct MHD_Response *response = __real_MHD_create_response_from_buffer(
        problem.len, (void *)(uintptr_t)problem.at, MHD_RESPMEM_MUST_COPY);
    if (response != NULL) {
        MHD_add_response_header(response, "Content-Type", "application/problem+json");
        MHD_add_response_header(response, "Request-Id", answer_make_request_id(&arena).at);
        /* It may have been for /v1: what its target was is not known here. */
        if (text_given(signature)) {
            MHD_add_response_header(response, "Ringhold-Node", signature.at);
            MHD_add_response_header(response, "Ringhold-Partition", ANSWER_PARTITION);
        }
    }
    arena_free(&arena);
    return response;
}

struct MHD_Response *__wrap_MHD_create_response_from_buffer(size_t size, void *buffer,
                                                            enum MHD_ResponseMemoryMode mode)
{
    (void)mode; /* the pages are constants */
    return problem_for(buffer, size);
}

struct MHD_Response *__wrap_MHD_create_response_from_buffer_static(size_t size, const void *buffer)
{
    return problem_for(buffer, size);
}

/* The bytes of an answer's head when 0.9.75 has put it there twice, else 0. */
static size_t doubled_head(const struct msghdr *message)
{
    const char *head = message->msg_iov[0].iov_base;
    size_t half = message->msg_iov[0].iov_len / 2;
    bool doubled = message->msg_iovlen == 2 && half > 12 &&
                   message->msg_iov[0].iov_len == 2 * half && memcmp(head, "HTTP/1.", 7) == 0 &&
                   memcmp(head, head + half, half) == 0;
    return doubled ? half : 0;
}

/*
 * 0.9.75 writes the head of its answer to a bad Content-Length twice (MHD_connection_handle_idle overwrites the error's
 * state); 1.0.1 does not. The first copy is left out.
 */
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t half = doubled_head(message);
    if (half == 0) {
        return __real_sendmsg(fd, message, flags);
    }
    struct iovec parts[2] = {{(char *)message->msg_iov[0].iov_base + half, half},
                             message->msg_iov[1]};
    struct msghdr once = *message;
    once.msg_iov = parts;
    ssize_t sent = __real_sendmsg(fd, &once, flags);
    return sent < 0 ? sent : sent + (ssize_t)half;
}
