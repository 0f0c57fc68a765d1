/*
 * libmicrohttpd answers by itself what it cannot parse, with pages of HTML that no option replaces. It makes each of
 * them with one function, which is called from another object file of the static library; so the linker is told to
 * --wrap that function, and the page becomes the problem document it should have been. Our own answers do not go
 * through it (answer.c uses the variant with a free callback).
 *
 * 0.9.75 makes its pages with MHD_create_response_from_buffer, 1.0.1 with MHD_create_response_from_buffer_static.
 */
#include "handlers/problem.h"
#include "service/answer.h"

#include <ctype.h>
#include <sys/socket.h>

/* The names that --wrap gives. */
enum MHD_Result __wrap_MHD_parse_arguments_(struct MHD_Connection *connection,
                                            enum MHD_ValueKind kind, char *arguments,
                                            void (*note)(void), void *context);
size_t __real_MHD_strx_to_uint64_n_(const char *digits, size_t len, uint64_t *ret);
size_t __wrap_MHD_strx_to_uint64_n_(const char *digits, size_t len, uint64_t *ret);
struct MHD_Response *__real_MHD_create_response_from_buffer(size_t size, void *buffer,
                                                            enum MHD_ResponseMemoryMode mode);
struct MHD_Response *__wrap_MHD_create_response_from_buffer(size_t size, void *buffer,
                                                            enum MHD_ResponseMemoryMode mode);
struct MHD_Response *__wrap_MHD_create_response_from_buffer_static(size_t size, const void *buffer);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

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
        answer_mark(response, &arena);
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

/*
 * The query is read by handlers/parameters.c, from the target as it came. libmicrohttpd would note each of its
 * parameters in the memory of the connection; 0.9.75 leaves the client without an answer, and the connection stuck, when
 * there is no room for all of them (the error it makes is overwritten as above, its buffers are gone).
 */
enum MHD_Result __wrap_MHD_parse_arguments_(struct MHD_Connection *connection,
                                            enum MHD_ValueKind kind, char *arguments,
                                            void (*note)(void), void *context)
{
    (void)connection;
    (void)kind;
    (void)arguments;
    (void)note;
    (void)context;
    return MHD_YES;
}

/*
 * The size of a chunk: the digits that `digits` begins with, of which 0.9.75 passes just the digits, 1.0 all that it has
 * read. 0.9.75 waits for the end of the line without a bound: once the line fills the buffer nothing is read any more, not
 * even that the client has gone, and libmicrohttpd asks to be called again at once, until the connection's timeout. So a
 * size has a bounded number of digits, and nothing behind it: an extension, which no client of this API sends and 1.0.1
 * does not get right, is malformed. Looking at the byte behind the digits is safe: behind a connection's buffer lies at
 * least the Host field's entry.
 */
size_t __wrap_MHD_strx_to_uint64_n_(const char *digits, size_t len, uint64_t *ret)
{
    enum { CHUNK_DIGITS_MAX = 16 };
    size_t count = 0;
    while (count < len && count <= CHUNK_DIGITS_MAX && isxdigit((unsigned char)digits[count])) {
        count++;
    }
    bool malformed = count > CHUNK_DIGITS_MAX || digits[count] == ';';
    size_t no_size = MHD_VERSION >= 0x01000000 ? 0 : len + 1;
    return malformed ? no_size : __real_MHD_strx_to_uint64_n_(digits, len, ret);
}
