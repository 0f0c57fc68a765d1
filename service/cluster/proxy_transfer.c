#include "service/cluster/proxy_transfer.h"

#include "db/limits.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BUFFER_BYTES = 4096 }; /* one for each transfer: ten thousand may wait */

struct transfer {
    struct transfer *next, **link;
    struct transfer_place place;
    CURL *easy;
    struct forward *forward;
    struct curl_slist *headers; /* in the forward's arena */
    bool sent;                  /* bytes may have gone out */
    bool answered;              /* it has ended well */
    bool bodiless;
    struct proxy_gathering gathering;
};

/* ---- never twice -------------------------------------------------------------------------------------------------- */

/*
 * When a kept connection dies before a byte of the answer has come, libcurl sends the request again on another one, for
 * any method, and has no option against it. It does so by starting over, and on its way calls these: the one before a
 * socket is made, the other before the first byte is written. Once the request may have gone out, both say no.
 */
static int before_sending(void *context, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
    struct transfer *transfer = context;
    (void)peer_ip, (void)own_ip, (void)peer_port, (void)own_port;
    if (transfer->sent) {
        return CURL_PREREQFUNC_ABORT;
    }
    transfer->sent = true;
    return CURL_PREREQFUNC_OK;
}

static void set_option(int socket, int level, int option, int value)
{
    /* Without it a peer that has gone silent is noticed later, at the deadline. */
    (void)setsockopt(socket, level, option, &value, sizeof value);
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    const struct transfer *transfer = context;
    (void)purpose;
    if (transfer->sent) {
        return CURL_SOCKET_BAD;
    }
    int made = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (made >= 0) {
        set_option(made, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(made, IPPROTO_TCP, TCP_KEEPIDLE, PROXY_SILENCE_SECONDS);
        set_option(made, IPPROTO_TCP, TCP_KEEPINTVL, PROXY_SILENCE_SECONDS / 2);
        set_option(made, IPPROTO_TCP, TCP_USER_TIMEOUT, PROXY_UNRECEIVED_MS);
        transfer->place.opened(transfer->place.context, made);
    }
    return made < 0 ? CURL_SOCKET_BAD : made;
}

/* ---- the answer --------------------------------------------------------------------------------------------------- */

static size_t take_line(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t len = size * count;
    return proxy_gathering_line(&transfer->gathering, (struct text){bytes, len}) ? len : 0;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t len = size * count;
    return proxy_gathering_body(&transfer->gathering, (struct text){bytes, len}) ? len : len + 1;
}

/* ---- the request -------------------------------------------------------------------------------------------------- */

static bool is_method(const char *method)
{
    return proxy_header_is_sound((struct proxy_header){text_of(method), TEXT("")});
}

static bool is_target(struct text target)
{
    bool sound = target.len > 0 && target.at[0] == '/';
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.at[i];
        sound = sound && c > ' ' && c != 0x7f;
    }
    return sound;
}

/* The list that libcurl is given, in the arena: libcurl reads it and never frees it. */
struct lines {
    struct arena *arena;
    struct curl_slist *first, **last;
};

static bool add_line(struct lines *lines, struct text line)
{
    struct curl_slist *node = arena_alloc(lines->arena, sizeof *node);
    if (node == NULL || !text_given(line)) {
        return false;
    }
    *node = (struct curl_slist){(char *)(uintptr_t)line.at, NULL};
    *lines->last = node;
    lines->last = &node->next;
    return true;
}

static bool add_header(struct lines *lines, struct proxy_header header)
{
    /* "Name:" would take the field out, "Name;" sends it with nothing in it. */
    const char *between = header.value.len == 0 ? ";" : ": ";
    return add_line(lines, arena_format(lines->arena, "%.*s%s%.*s", (int)header.name.len,
                                        header.name.at, between, (int)header.value.len,
                                        header.value.len == 0 ? "" : header.value.at));
}

/* Takes out what libcurl would say of its own accord and the client has not said. */
static bool add_silence(struct lines *lines, const struct forward *forward)
{
    static const char *const OWN[] = {"Accept", "Content-Type", "User-Agent"};
    bool added = add_line(lines, TEXT("Expect:"));
    for (size_t i = 0; i < sizeof OWN / sizeof OWN[0]; i++) {
        bool said = false;
        for (size_t j = 0; j < forward->header_count; j++) {
            said = said || proxy_header_is(forward->headers[j].name, OWN[i]);
        }
        if (!said) {
            added = added && add_line(lines, arena_format(lines->arena, "%s:", OWN[i]));
        }
    }
    return added;
}

static const char *make_headers(struct transfer *transfer)
{
    const struct forward *forward = transfer->forward;
    struct lines lines = {forward->arena, NULL, &lines.first};
    bool added = true;
    for (size_t i = 0; i < forward->header_count; i++) {
        if (!proxy_header_is_sound(forward->headers[i])) {
            return "the request has a malformed header";
        }
        if (proxy_headers_travels(forward->headers, forward->header_count, i)) {
            added = added && add_header(&lines, forward->headers[i]);
        }
    }
    added = add_silence(&lines, forward) && added;
    transfer->headers = lines.first;
    return added ? NULL : "out of memory";
}

/* ---- what libcurl is told ----------------------------------------------------------------------------------------- */

static void set_callbacks(CURL *easy, struct transfer *transfer)
{
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_sending);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, transfer->place.close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->place.context);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_line);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
}

static void set_manners(CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)PROXY_CONNECT_MS_MAX);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)PROXY_IDLE_SECONDS);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* To cancel while a name is looked up must not wait for the look-up. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
}

static bool has_body(const struct forward *forward)
{
    static const char *const METHODS[] = {"POST", "PUT", "PATCH"};
    for (size_t i = 0; i < sizeof METHODS / sizeof METHODS[0]; i++) {
        if (strcmp(forward->method, METHODS[i]) == 0) {
            return true; /* if only an empty one, of which a Content-Length tells */
        }
    }
    return forward->body.len > 0;
}

/* libcurl copies texts that it is given, but for the body. */
static const char *set_request(struct transfer *transfer, int64_t left_us)
{
    int64_t left_ms = left_us < 1000 ? 1 : left_us / 1000; /* 0 would mean for ever */
    const struct forward *forward = transfer->forward;
    CURL *easy = transfer->easy;
    struct text target = arena_copy(forward->arena, forward->target);
    if (!text_given(target)) {
        return "out of memory";
    }
    bool set = curl_easy_setopt(easy, CURLOPT_URL, forward->base) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_REQUEST_TARGET, target.at) == CURLE_OK &&
               curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK;
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)left_ms);
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L); /* forgets what the handle sent before */
    if (transfer->bodiless) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (has_body(forward)) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, forward->body.len > 0 ? forward->body.at : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)forward->body.len);
    }
    set = set && curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, forward->method) == CURLE_OK;
    return set ? NULL : "out of memory";
}

static const char *prepare(struct transfer *transfer, int64_t left_us)
{
    const struct forward *forward = transfer->forward;
    if (!is_method(forward->method) || !is_target(forward->target)) {
        return "the request is malformed";
    }
    const char *why = make_headers(transfer);
    if (why != NULL) {
        return why;
    }
    return set_request(transfer, left_us);
}

/* ---- its life ----------------------------------------------------------------------------------------------------- */

static void free_transfer(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    free(transfer);
}

void transfer_spares_free(struct transfer_spares *spares)
{
    while (spares->first != NULL) {
        struct transfer *transfer = spares->first;
        spares->first = transfer->next;
        spares->count--;
        free_transfer(transfer);
    }
}

/* With a handle whose requests are still to be told. NULL when memory ran out. */
static struct transfer *make(struct transfer_place place)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL) {
        return NULL;
    }
    transfer->place = place;
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL) {
        free(transfer);
        return NULL;
    }
    set_callbacks(transfer->easy, transfer);
    set_manners(transfer->easy);
    return transfer;
}

static struct transfer *spare_or_new(struct transfer_place place)
{
    struct transfer *spare = place.spares->first;
    if (spare == NULL) {
        return make(place);
    }
    place.spares->first = spare->next;
    place.spares->count--;
    *spare = (struct transfer){.place = place, .easy = spare->easy};
    return spare;
}

static void free_or_spare(struct transfer *transfer)
{
    struct transfer_spares *spares = transfer->place.spares;
    if (!transfer->answered || spares->count >= TRANSFER_SPARES_MAX) {
        free_transfer(transfer);
        return;
    }
    transfer->next = spares->first;
    spares->first = transfer;
    spares->count++;
}

const char *transfer_begin(struct forward *forward, int64_t left_us, struct transfer_place place)
{
    struct transfer *transfer = spare_or_new(place);
    if (transfer == NULL) {
        return "out of memory";
    }
    transfer->forward = forward;
    transfer->bodiless = strcmp(forward->method, "HEAD") == 0;
    transfer->gathering.arena = forward->arena;
    const char *why = prepare(transfer, left_us);
    if (why == NULL && curl_multi_add_handle(place.multi, transfer->easy) != CURLM_OK) {
        why = "out of memory";
    }
    if (why != NULL) {
        free_transfer(transfer);
        return why;
    }
    transfer->next = *place.list;
    transfer->link = place.list;
    if (transfer->next != NULL) {
        transfer->next->link = &transfer->next;
    }
    *place.list = transfer;
    forward->transfer = transfer;
    return NULL;
}

void transfer_end(struct transfer *transfer)
{
    *transfer->link = transfer->next;
    if (transfer->next != NULL) {
        transfer->next->link = transfer->link;
    }
    curl_multi_remove_handle(transfer->place.multi, transfer->easy);
    free_or_spare(transfer);
}

static struct transfer *transfer_of(CURL *easy)
{
    char *transfer = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    return (struct transfer *)(void *)transfer;
}

bool transfer_has_sent(CURL *easy)
{
    const struct transfer *transfer = transfer_of(easy); /* none in libcurl's own handles */
    return transfer != NULL && transfer->sent;
}

struct forward *transfer_forward(struct transfer *transfer)
{
    return transfer->forward;
}

struct transfer *transfer_after(const struct transfer *transfer)
{
    return transfer->next;
}

static struct transfer_result judge(struct transfer *transfer, CURLcode code)
{
    struct forward *forward = transfer->forward;
    struct proxy_gathering *g = &transfer->gathering;
    if (code == CURLE_OK && proxy_gathering_end(g, transfer->bodiless)) {
        forward->answer = g->answer;
        transfer->answered = true;
        return (struct transfer_result){forward, FORWARD_ANSWERED, NULL};
    }
    const char *failure = g->broken != NULL ? g->broken : curl_easy_strerror(code);
    if (!transfer->sent) {
        return (struct transfer_result){forward, FORWARD_NOT_SENT, failure};
    }
    if (code == CURLE_ABORTED_BY_CALLBACK || code == CURLE_COULDNT_CONNECT) {
        failure =
            "the connection died before an answer came"; /* libcurl was about to send it again */
    }
    return (struct transfer_result){forward, FORWARD_UNKNOWN, failure};
}

bool transfer_next_ended(CURLM *multi, struct transfer_result *ret)
{
    int left;
    const CURLMsg *message;
    while ((message = curl_multi_info_read(multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            *ret = judge(transfer_of(message->easy_handle), message->data.result);
            return true;
        }
    }
    return false;
}
