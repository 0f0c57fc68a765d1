/* The peer port: who is let in, who is refused and why, and that a connection reaches its group whole. The dialers that
   misbehave are bare sockets. */
#include "tests/cluster/stage.h"

#include "db/limits.h"
#include "service/cluster/message.h"
#include "service/cluster/wire.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HERE = 7, THERE = 9, GROUP = 3 };

/* One node with one group, which knows THERE. */
struct scene {
    struct stage stage;
    struct transport *here;
    struct mute_group group;
};

static void open_scene(struct scene *scene)
{
    stage_open(&scene->stage);
    scene->here = stage_transport(&scene->stage, HERE, SECRET, NULL, NULL);
    cr_assert(transport_put_peer(scene->here, THERE, "127.0.0.1", 1));
    mute_open(&scene->group, scene->here, GROUP);
}

static void close_scene(struct scene *scene)
{
    mute_close(&scene->group);
    stage_transport_close(&scene->stage, scene->here);
    stage_close(&scene->stage);
}

/* ---- a bare dialer ------------------------------------------------------------------------------------------------ */

static int bare_dial(struct transport *to)
{
    struct sockaddr_in where = {.sin_family = AF_INET,
                                .sin_port = htons(transport_port(to)),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&where, sizeof where), 0);
    cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void bare_say(int fd, const void *bytes, size_t count)
{
    cr_assert_eq(send(fd, bytes, count, MSG_NOSIGNAL), (ssize_t)count);
}

/* As many bytes, or fewer when the other side closes. */
static size_t bare_hear(struct stage *stage, int fd, void *ret, size_t count)
{
    size_t got = 0;
    uint64_t until = stage_now() + PATIENCE_MS;
    while (got < count) {
        ssize_t n = recv(fd, (char *)ret + got, count - got, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) {
            return got;
        }
        cr_assert(stage_now() < until, "nothing comes");
        got += n > 0 ? (size_t)n : 0;
        stage_wait(stage);
    }
    return got;
}

static struct hello usual_hello(void)
{
    struct hello hello = {.kind = PEER_MESSAGES, .source = THERE, .destination = HERE};
    memcpy(hello.cluster, CLUSTER, sizeof CLUSTER);
    cr_assert(peer_nonce(hello.nonce));
    return hello;
}

/* A whole handshake from a socket, and what it was told at last. Keeps what it sent, and leaves the socket open. */
struct attempt {
    int fd;
    unsigned char hello[HELLO_BYTES], challenge[CHALLENGE_BYTES], proof[PROOF_BYTES];
    enum peer_verdict verdict;
};

static void hear_verdict(struct scene *scene, struct attempt *attempt)
{
    unsigned char bytes[VERDICT_BYTES];
    cr_assert_eq(bare_hear(&scene->stage, attempt->fd, bytes, sizeof bytes), sizeof bytes);
    attempt->verdict = verdict_decode(bytes);
}

static void hear_challenge(struct scene *scene, struct attempt *attempt)
{
    attempt->fd = bare_dial(scene->here);
    bare_say(attempt->fd, attempt->hello, HELLO_BYTES);
    cr_assert_eq(bare_hear(&scene->stage, attempt->fd, attempt->challenge, CHALLENGE_BYTES),
                 (size_t)CHALLENGE_BYTES);
    attempt->verdict = verdict_decode(attempt->challenge);
}

static struct attempt try_hello(struct scene *scene, struct hello hello, struct text secret)
{
    struct attempt attempt;
    hello_encode(&hello, attempt.hello);
    hear_challenge(scene, &attempt);
    if (attempt.verdict == PEER_ACCEPTED) {
        peer_mac(secret, PEER_DIALER, attempt.hello, attempt.challenge + VERDICT_BYTES,
                 attempt.proof);
        bare_say(attempt.fd, attempt.proof, PROOF_BYTES);
        hear_verdict(scene, &attempt);
    }
    return attempt;
}

static void expect_verdict(struct hello hello, enum peer_verdict verdict)
{
    struct scene scene;
    open_scene(&scene);
    struct attempt attempt = try_hello(&scene, hello, SECRET);
    cr_assert_eq(attempt.verdict, verdict, "%s", peer_verdict_word(attempt.verdict));
    cr_assert_eq(scene.group.received, 0);
    close(attempt.fd);
    close_scene(&scene);
}

/* A sign of life for that group, as it goes over the wire. */
static void say_sign(int fd, uint64_t group)
{
    unsigned char bytes[256];
    struct raft_message sign = mute_sign(HERE, 5);
    size_t count = message_bytes(&sign);
    message_encode(&sign, group, bytes);
    bare_say(fd, bytes, count);
}

Test(transport, a_dialer_that_proves_itself_reaches_its_group)
{
    struct scene scene;
    open_scene(&scene);
    struct attempt attempt = try_hello(&scene, usual_hello(), SECRET);
    cr_assert_eq(attempt.verdict, PEER_ACCEPTED);
    say_sign(attempt.fd, GROUP);
    AWAIT(&scene.stage, scene.group.received == 1);
    cr_assert_eq(scene.group.last.server_id, THERE);
    cr_assert_str_eq(scene.group.from_name, "0000000000000009");
    close(attempt.fd);
    close_scene(&scene);
}

Test(transport, the_acceptor_proves_itself_first)
{
    struct scene scene;
    open_scene(&scene);
    struct attempt attempt = try_hello(&scene, usual_hello(), SECRET);
    unsigned char mac[PEER_MAC_BYTES];
    peer_mac(SECRET, PEER_ACCEPTOR, attempt.hello, attempt.challenge + VERDICT_BYTES, mac);
    cr_assert(peer_mac_equal(mac, attempt.challenge + VERDICT_BYTES + PEER_NONCE_BYTES));
    close(attempt.fd);
    close_scene(&scene);
}

Test(transport, a_wrong_secret_is_refused)
{
    struct scene scene;
    open_scene(&scene);
    struct attempt attempt =
        try_hello(&scene, usual_hello(), TEXT("another secret, as long as it is"));
    cr_assert_eq(attempt.verdict, PEER_WRONG_SECRET);
    cr_assert_eq(scene.group.received, 0);
    close(attempt.fd);
    close_scene(&scene);
}

Test(transport, a_recorded_handshake_proves_nothing)
{
    struct scene scene;
    open_scene(&scene);
    struct attempt first = try_hello(&scene, usual_hello(), SECRET);
    cr_assert_eq(first.verdict, PEER_ACCEPTED);
    struct attempt again = first;
    hear_challenge(&scene, &again);
    bare_say(again.fd, first.proof, PROOF_BYTES);
    hear_verdict(&scene, &again);
    cr_assert_eq(again.verdict, PEER_WRONG_SECRET);
    close(first.fd);
    close(again.fd);
    close_scene(&scene);
}

/* A dialer that answers the challenge with what `forge` puts into the proof. */
static void expect_forgery_fails(void (*forge)(struct attempt *attempt))
{
    struct scene scene;
    struct hello hello = usual_hello();
    struct attempt attempt;
    open_scene(&scene);
    hello_encode(&hello, attempt.hello);
    hear_challenge(&scene, &attempt);
    forge(&attempt);
    bare_say(attempt.fd, attempt.proof, PROOF_BYTES);
    hear_verdict(&scene, &attempt);
    cr_assert_eq(attempt.verdict, PEER_WRONG_SECRET);
    cr_assert_eq(scene.group.received, 0);
    close(attempt.fd);
    close_scene(&scene);
}

static void send_its_own_back(struct attempt *attempt)
{
    memcpy(attempt->proof, attempt->challenge + VERDICT_BYTES + PEER_NONCE_BYTES, PROOF_BYTES);
}

Test(transport, the_acceptors_own_proof_sent_back_proves_nothing)
{
    expect_forgery_fails(send_its_own_back);
}

static void prove_for_another_kind(struct attempt *attempt)
{
    attempt->hello[5] = PEER_IMAGES;
    peer_mac(SECRET, PEER_DIALER, attempt->hello, attempt->challenge + VERDICT_BYTES,
             attempt->proof);
}

Test(transport, the_proof_covers_what_the_hello_said)
{
    expect_forgery_fails(prove_for_another_kind);
}

Test(transport, another_cluster_is_refused)
{
    struct hello hello = usual_hello();
    hello.cluster[0] ^= 1;
    expect_verdict(hello, PEER_WRONG_CLUSTER);
}

Test(transport, a_group_is_not_for_those_of_no_cluster)
{
    struct hello hello = usual_hello();
    memset(hello.cluster, 0, sizeof hello.cluster);
    expect_verdict(hello, PEER_WRONG_CLUSTER);
}

Test(transport, what_was_meant_for_another_node_is_refused)
{
    struct hello hello = usual_hello();
    hello.destination = THERE;
    expect_verdict(hello, PEER_WRONG_NODE);
}

Test(transport, a_second_node_of_our_own_identity_is_refused)
{
    struct hello hello = usual_hello();
    hello.source = HERE;
    expect_verdict(hello, PEER_WRONG_NODE);
}

Test(transport, a_node_that_was_not_told_is_refused)
{
    struct hello hello = usual_hello();
    hello.source = THERE + 1;
    expect_verdict(hello, PEER_UNKNOWN_NODE);
}

Test(transport, what_comes_for_a_group_that_is_not_here_is_left_out)
{
    struct scene scene;
    open_scene(&scene);
    struct attempt attempt = try_hello(&scene, usual_hello(), SECRET);
    cr_assert_eq(attempt.verdict, PEER_ACCEPTED);
    say_sign(attempt.fd, GROUP + 1);
    say_sign(attempt.fd, GROUP);
    AWAIT(&scene.stage, scene.group.received == 1);
    close(attempt.fd);
    close_scene(&scene);
}

Test(transport, what_is_no_message_ends_the_connection)
{
    struct scene scene;
    char junk[MESSAGE_FRAME_BYTES] = "no message of ours", byte;
    open_scene(&scene);
    struct attempt attempt = try_hello(&scene, usual_hello(), SECRET);
    bare_say(attempt.fd, junk, sizeof junk);
    cr_assert_eq(bare_hear(&scene.stage, attempt.fd, &byte, 1), 0);
    close(attempt.fd);
    close_scene(&scene);
}

Test(transport, the_newest_connection_of_a_node_ends_the_one_before)
{
    struct scene scene;
    char byte;
    open_scene(&scene);
    struct attempt first = try_hello(&scene, usual_hello(), SECRET);
    say_sign(first.fd, GROUP);
    AWAIT(&scene.stage, scene.group.received == 1);
    struct attempt second = try_hello(&scene, usual_hello(), SECRET);
    say_sign(second.fd, GROUP);
    AWAIT(&scene.stage, scene.group.received == 2);
    cr_assert_eq(bare_hear(&scene.stage, first.fd, &byte, 1), 0);
    say_sign(second.fd, GROUP);
    AWAIT(&scene.stage, scene.group.received == 3);
    close(first.fd);
    close(second.fd);
    close_scene(&scene);
}

Test(transport, a_control_connection_that_nobody_serves_is_closed)
{
    struct scene scene;
    char byte;
    struct hello hello = usual_hello();
    hello.kind = PEER_CONTROL;
    open_scene(&scene);
    struct attempt attempt = try_hello(&scene, hello, SECRET);
    cr_assert_eq(bare_hear(&scene.stage, attempt.fd, &byte, 1), 0);
    close(attempt.fd);
    close_scene(&scene);
}

Test(transport, another_version_is_told_so)
{
    struct scene scene;
    struct hello hello = usual_hello();
    struct attempt attempt;
    open_scene(&scene);
    hello_encode(&hello, attempt.hello);
    attempt.hello[4]++;
    hear_challenge(&scene, &attempt);
    cr_assert_eq(attempt.verdict, PEER_OTHER_VERSION);
    close(attempt.fd);
    close_scene(&scene);
}

Test(transport, junk_is_closed_without_an_answer)
{
    struct scene scene;
    char bytes[HELLO_BYTES] =
        "GET / HTTP/1.1\r\nHost: somewhere\r\nUser-Agent: something that lost its way\r\n\r\n";
    open_scene(&scene);
    int fd = bare_dial(scene.here);
    bare_say(fd, bytes, sizeof bytes);
    cr_assert_eq(bare_hear(&scene.stage, fd, bytes, 1), 0);
    close(fd);
    close_scene(&scene);
}

Test(transport, who_sends_more_than_a_hello_gains_nothing_by_it)
{
    struct scene scene;
    struct hello hello = usual_hello();
    static unsigned char flood[256 * 1024];
    struct attempt attempt;
    open_scene(&scene);
    hello_encode(&hello, attempt.hello);
    attempt.fd = bare_dial(scene.here);
    bare_say(attempt.fd, attempt.hello, HELLO_BYTES);
    cr_assert_gt(send(attempt.fd, flood, sizeof flood, MSG_NOSIGNAL), 0);
    char bytes[CHALLENGE_BYTES + VERDICT_BYTES + 1];
    size_t got = bare_hear(&scene.stage, attempt.fd, bytes, sizeof bytes);
    cr_assert_leq(got, (size_t)CHALLENGE_BYTES + VERDICT_BYTES); /* and then it was closed */
    cr_assert_eq(scene.group.received, 0);
    close(attempt.fd);
    close_scene(&scene);
}

Test(transport, who_takes_too_long_is_closed)
{
    struct scene scene;
    char byte;
    struct hello hello = usual_hello();
    unsigned char bytes[HELLO_BYTES];
    open_scene(&scene);
    hello_encode(&hello, bytes);
    int fd = bare_dial(scene.here);
    uint64_t began = stage_now();
    bare_say(fd, bytes, HELLO_BYTES - 1);
    cr_assert_eq(bare_hear(&scene.stage, fd, &byte, 1), 0);
    cr_assert_geq(stage_now() - began, PEER_HANDSHAKE_MS - 50);
    cr_assert_lt(stage_now() - began, 2 * PEER_HANDSHAKE_MS);
    close(fd);
    close_scene(&scene);
}

Test(transport, handshakes_under_way_are_bounded)
{
    struct scene scene;
    struct rlimit files = {3 * PEER_HANDSHAKES_MAX, 3 * PEER_HANDSHAKES_MAX};
    int fds[PEER_HANDSHAKES_MAX + 1];
    char byte;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    open_scene(&scene);
    for (int i = 0; i <= PEER_HANDSHAKES_MAX; i++) {
        fds[i] = bare_dial(scene.here);
        stage_turn(&scene.stage);
    }
    cr_assert_eq(bare_hear(&scene.stage, fds[PEER_HANDSHAKES_MAX], &byte, 1), 0);
    for (int i = 0; i <= PEER_HANDSHAKES_MAX; i++) {
        close(fds[i]);
    }
    close_scene(&scene);
}

Test(transport, a_refusal_is_one_line_of_the_log_with_its_reason)
{
    int ends[2];
    char line[4096] = "";
    struct scene scene;
    struct hello hello = usual_hello();
    hello.source = 0xabc;
    open_scene(&scene);
    cr_assert_eq(pipe(ends), 0);
    int stderr_before = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    struct attempt attempt = try_hello(&scene, hello, SECRET);
    char byte;
    bare_hear(&scene.stage, attempt.fd, &byte, 1);
    dup2(stderr_before, STDERR_FILENO);
    close(ends[1]);
    ssize_t got = read(ends[0], line, sizeof line - 1);
    cr_assert_gt(got, 0);
    cr_assert_not_null(strstr(line, "\"event\":\"peer-refused\""), "%s", line);
    cr_assert_not_null(strstr(line, "\"reason\":\"unknown-node\""), "%s", line);
    cr_assert_not_null(strstr(line, "\"node\":\"0000000000000abc\""), "%s", line);
    cr_assert_eq(strchr(line, '\n') - line, got - 1, "more than a line: %s", line);
    close(attempt.fd);
    close_scene(&scene);
}

/* ---- both ends ours ----------------------------------------------------------------------------------------------- */

struct pair {
    struct stage stage;
    struct transport *a, *b;
    struct mute_group group_a, group_b;
};

static void open_pair(struct pair *pair, struct text secret_b)
{
    stage_open(&pair->stage);
    pair->a = stage_transport(&pair->stage, HERE, SECRET, NULL, NULL);
    pair->b = stage_transport(&pair->stage, THERE, secret_b, NULL, NULL);
    stage_introduce(pair->a, HERE, pair->b, THERE);
    mute_open(&pair->group_a, pair->a, GROUP);
    mute_open(&pair->group_b, pair->b, GROUP);
}

static void close_pair(struct pair *pair)
{
    mute_close(&pair->group_a);
    mute_close(&pair->group_b);
    stage_transport_close(&pair->stage, pair->a);
    stage_transport_close(&pair->stage, pair->b);
    stage_close(&pair->stage);
}

static void send_sign(struct pair *pair, struct sent_note *note)
{
    struct raft_message sign = mute_sign(THERE, 5);
    mute_send(&pair->group_a, &sign, note);
}

Test(transport, what_follows_the_handshake_arrives_whole)
{
    struct pair pair;
    struct sent_note note;
    struct raft_entry entries[] = {
        {.term = 4, .type = RAFT_COMMAND, .buf = {(char *)"the first ", 10}},
        {.term = 5, .type = RAFT_COMMAND, .buf = {(char *)"and the second", 14}}};
    struct raft_message message = mute_sign(THERE, 5);
    message.append_entries.entries = entries;
    message.append_entries.n_entries = 2;
    open_pair(&pair, SECRET);
    mute_send(&pair.group_a, &message, &note);
    AWAIT(&pair.stage, note.done);
    cr_assert_eq(note.status, 0);
    AWAIT(&pair.stage, pair.group_b.received == 1);
    cr_assert_str_eq(pair.group_b.entries, "the first and the second");
    cr_assert_eq(pair.group_b.last.server_id, HERE);
    close_pair(&pair);
}

Test(transport, all_groups_tick_together)
{
    struct pair pair;
    struct mute_group other;
    open_pair(&pair, SECRET);
    mute_open(&other, pair.a, GROUP + 1);
    AWAIT(&pair.stage, other.ticks == 3);
    cr_assert_eq(pair.group_a.ticks, 3);
    mute_close(&other);
    close_pair(&pair);
}

Test(transport, nodes_of_different_secrets_do_not_meet)
{
    struct pair pair;
    struct sent_note note;
    open_pair(&pair, TEXT("the secret of some other cluster"));
    send_sign(&pair, &note);
    AWAIT(&pair.stage, note.done);
    cr_assert_eq(note.status, RAFT_NOCONNECTION);
    cr_assert_eq(pair.group_b.received, 0);
    close_pair(&pair);
}

/* A socket that listens, and the port it got. */
static int bare_listen(uint16_t *ret_port)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof where;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&where, sizeof where), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&where, &bytes), 0);
    *ret_port = ntohs(where.sin_port);
    return fd;
}

Test(transport, a_dialer_does_not_prove_itself_to_a_stranger)
{
    struct pair pair;
    struct sent_note note;
    uint16_t port;
    unsigned char hello[HELLO_BYTES], challenge[CHALLENGE_BYTES], proof[PROOF_BYTES];
    unsigned char nonce[PEER_NONCE_BYTES] = {1}, mac[PEER_MAC_BYTES] = {2};
    open_pair(&pair, SECRET);
    int listener = bare_listen(&port);
    cr_assert(transport_put_peer(pair.a, THERE, "127.0.0.1", port));
    send_sign(&pair, &note);
    stage_turn(&pair.stage);
    int fd = accept(listener, NULL, NULL);
    cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    cr_assert_eq(bare_hear(&pair.stage, fd, hello, sizeof hello), sizeof hello);
    challenge_encode(PEER_ACCEPTED, nonce, mac, challenge);
    bare_say(fd, challenge, sizeof challenge);
    cr_assert_eq(bare_hear(&pair.stage, fd, proof, sizeof proof), 0);
    AWAIT(&pair.stage, note.done);
    cr_assert_eq(note.status, RAFT_NOCONNECTION);
    close(fd);
    close(listener);
    close_pair(&pair);
}

Test(transport, a_node_that_was_not_told_is_not_dialled)
{
    struct pair pair;
    struct sent_note note;
    open_pair(&pair, SECRET);
    transport_drop_peer(pair.a, THERE);
    send_sign(&pair, &note);
    AWAIT(&pair.stage, note.done);
    cr_assert_eq(note.status, RAFT_NOCONNECTION);
    close_pair(&pair);
}

Test(transport, a_group_that_closes_is_called_back_first)
{
    struct pair pair;
    struct sent_note note;
    open_pair(&pair, SECRET);
    send_sign(&pair, &note);
    close_pair(&pair);
    cr_assert(note.done);
    cr_assert_eq(note.status, RAFT_CANCELED);
}

Test(transport, a_node_may_be_told_by_name)
{
    struct pair pair;
    struct sent_note note;
    open_pair(&pair, SECRET);
    cr_assert(transport_put_peer(pair.a, THERE, "localhost", transport_port(pair.b)));
    while (pair.group_b.received == 0) {
        send_sign(&pair, &note);
        AWAIT(&pair.stage, note.done);
        if (note.status != 0) { /* "localhost" may be ::1, where nobody listens */
            break;
        }
        stage_wait(&pair.stage);
    }
    close_pair(&pair);
}

Test(transport, a_look_up_under_way_does_not_hold_up_the_end)
{
    struct pair pair;
    open_pair(&pair, SECRET);
    cr_assert(transport_put_peer(pair.a, THERE, "a-name.invalid", 1));
    close_pair(&pair);
}

/* ---- control ------------------------------------------------------------------------------------------------------ */

struct answer_note {
    enum peer_verdict verdict;
    char text[64];
    bool done;
};

static void note_answer(void *context, enum peer_verdict verdict, struct text answer)
{
    struct answer_note *note = context;
    note->verdict = verdict;
    snprintf(note->text, sizeof note->text, "%.*s", (int)answer.len, answer.at);
    note->done = true;
}

static void echo(void *context, struct control *control, const struct control_request *request)
{
    char text[64];
    (void)context;
    snprintf(text, sizeof text, "%llu said %.*s", (unsigned long long)request->source,
             (int)request->body.len, request->body.at);
    cr_assert(control_answer(control, text_of(text)));
}

/* Two nodes, of which one serves; the other is in no cluster yet, and known to nobody. */
static void open_control(struct pair *pair, control_serve *serve, void *context)
{
    static const unsigned char NONE[PEER_CLUSTER_BYTES];
    stage_open(&pair->stage);
    pair->a = stage_transport(&pair->stage, HERE, SECRET, serve, context);
    pair->b = stage_transport(&pair->stage, THERE, SECRET, NULL, NULL);
    transport_set_cluster(pair->b, NONE);
}

static void close_control(struct pair *pair)
{
    stage_transport_close(&pair->stage, pair->b);
    stage_transport_close(&pair->stage, pair->a);
    stage_close(&pair->stage);
}

static void ask(struct pair *pair, struct text request, struct answer_note *note)
{
    *note = (struct answer_note){.done = false};
    cr_assert(transport_ask(pair->b, 0, "127.0.0.1", transport_port(pair->a), request, note_answer,
                            note));
}

Test(transport, a_node_of_no_cluster_may_ask)
{
    struct pair pair;
    struct answer_note note;
    open_control(&pair, echo, NULL);
    ask(&pair, TEXT("may I join"), &note);
    AWAIT(&pair.stage, note.done);
    cr_assert_eq(note.verdict, PEER_ACCEPTED);
    cr_assert_str_eq(note.text, "9 said may I join");
    close_control(&pair);
}

static void keep(void *context, struct control *control, const struct control_request *request)
{
    (void)request;
    *(struct control **)context = control;
}

Test(transport, an_answer_may_come_later)
{
    struct pair pair;
    struct answer_note note;
    struct control *control = NULL;
    open_control(&pair, keep, &control);
    ask(&pair, TEXT(""), &note);
    AWAIT(&pair.stage, control != NULL);
    cr_assert(!note.done);
    cr_assert(control_answer(control, TEXT("now")));
    AWAIT(&pair.stage, note.done);
    cr_assert_str_eq(note.text, "now");
    close_control(&pair);
}

Test(transport, an_answer_may_come_after_the_end)
{
    struct pair pair;
    struct answer_note note;
    struct control *control = NULL;
    open_control(&pair, keep, &control);
    ask(&pair, TEXT("x"), &note);
    AWAIT(&pair.stage, control != NULL);
    close_control(&pair);
    cr_assert(note.done);
    cr_assert_eq(note.verdict, PEER_CANCELLED);
    cr_assert(control_answer(control, TEXT("too late")));
}

Test(transport, a_frame_that_is_too_long_ends_the_connection)
{
    struct scene scene;
    char byte;
    struct hello hello = usual_hello();
    unsigned char length[4];
    stage_open(&scene.stage);
    scene.here = stage_transport(&scene.stage, HERE, SECRET, echo, NULL);
    hello.kind = PEER_CONTROL;
    struct attempt attempt = try_hello(&scene, hello, SECRET);
    cr_assert_eq(attempt.verdict, PEER_ACCEPTED);
    wire_put32(length, CONTROL_FRAME_BYTES_MAX + 1);
    bare_say(attempt.fd, length, sizeof length);
    cr_assert_eq(bare_hear(&scene.stage, attempt.fd, &byte, 1), 0);
    close(attempt.fd);
    stage_transport_close(&scene.stage, scene.here);
    stage_close(&scene.stage);
}
