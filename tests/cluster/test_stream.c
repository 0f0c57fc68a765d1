/* What goes out to another node, and what does not: the other end is a bare socket that reads when the test says so. */
#include "tests/cluster/stage.h"

#include "db/limits.h"
#include "service/cluster/message_reader.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HERE = 7, THERE = 9, GROUPS = 17, LONG_BYTES = 2 * 1024 * 1024 };

/* A node with some groups, and a socket that it takes for another one's port. */
struct scene {
    struct stage stage;
    struct transport *here;
    struct mute_group groups[GROUPS];
    int listener;
};

static void open_scene(struct scene *scene)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof where;
    scene->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(scene->listener, (struct sockaddr *)&where, sizeof where), 0);
    cr_assert_eq(listen(scene->listener, 8), 0);
    cr_assert_eq(getsockname(scene->listener, (struct sockaddr *)&where, &bytes), 0);
    stage_open(&scene->stage);
    scene->here = stage_transport(&scene->stage, HERE, SECRET, NULL, NULL);
    cr_assert(transport_put_peer(scene->here, THERE, "127.0.0.1", ntohs(where.sin_port)));
    for (int i = 0; i < GROUPS; i++) {
        mute_open(&scene->groups[i], scene->here, (uint64_t)i);
    }
}

static void close_scene(struct scene *scene)
{
    for (int i = 0; i < GROUPS; i++) {
        mute_close(&scene->groups[i]);
    }
    stage_transport_close(&scene->stage, scene->here);
    close(scene->listener);
    stage_close(&scene->stage);
}

/* ---- the other node ----------------------------------------------------------------------------------------------- */

static void hear(struct scene *scene, int fd, unsigned char *ret, size_t count)
{
    size_t got = 0;
    AWAIT(&scene->stage, (got += (size_t)({
                              ssize_t n = recv(fd, ret + got, count - got, MSG_DONTWAIT);
                              cr_assert(n != 0, "it hung up");
                              n > 0 ? n : 0;
                          })) == count);
}

/* Takes the next connection, and sees its handshake through. */
static int take_connection(struct scene *scene, enum peer_kind *ret_kind)
{
    unsigned char hello[HELLO_BYTES], challenge[CHALLENGE_BYTES], proof[PROOF_BYTES];
    unsigned char nonce[PEER_NONCE_BYTES] = {1}, mac[PEER_MAC_BYTES], verdict[VERDICT_BYTES];
    struct hello said;
    int fd = -1;
    AWAIT(&scene->stage, (fd = accept(scene->listener, NULL, NULL)) >= 0);
    hear(scene, fd, hello, sizeof hello);
    cr_assert_eq(hello_decode(hello, &said), PEER_ACCEPTED);
    peer_mac(SECRET, PEER_ACCEPTOR, hello, nonce, mac);
    challenge_encode(PEER_ACCEPTED, nonce, mac, challenge);
    cr_assert_eq(send(fd, challenge, sizeof challenge, MSG_NOSIGNAL), (ssize_t)sizeof challenge);
    hear(scene, fd, proof, sizeof proof);
    verdict_encode(PEER_ACCEPTED, verdict);
    cr_assert_eq(send(fd, verdict, sizeof verdict, MSG_NOSIGNAL), (ssize_t)sizeof verdict);
    *ret_kind = said.kind;
    return fd;
}

/* Which groups' messages came, in order. */
struct heard {
    struct message_reader reader;
    int count;
    uint64_t groups[256];
    size_t image_bytes;
};

static void note(void *context, uint64_t group, struct raft_message *message)
{
    struct heard *heard = context;
    cr_assert_lt(heard->count, 256);
    heard->groups[heard->count++] = group;
    heard->image_bytes +=
        message->type == RAFT_INSTALL_SNAPSHOT ? message->install_snapshot.data.len : 0;
    message_dispose(message);
}

static void listen_to(struct heard *heard, enum peer_kind kind)
{
    *heard = (struct heard){
        .reader = {.arrived = note, .context = heard, .images = kind == PEER_IMAGES}};
}

/* Reads once what is there. False when it was the end. */
static bool read_some(struct heard *heard, int fd)
{
    static unsigned char bytes[1024 * 1024];
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got > 0) {
        cr_assert(message_reader_feed(&heard->reader, bytes, (size_t)got));
    }
    return got != 0;
}

/* ---- messages ----------------------------------------------------------------------------------------------------- */

static void send_sign(struct scene *scene, int group, struct sent_note *note_of)
{
    struct raft_message sign = mute_sign(THERE, 5);
    mute_send(&scene->groups[group], &sign, note_of);
}

static void send_long(struct scene *scene, int group, struct sent_note *note_of)
{
    static char data[LONG_BYTES];
    struct raft_entry entry = {.term = 5, .type = RAFT_COMMAND, .buf = {data, sizeof data}};
    struct raft_message message = mute_sign(THERE, 5);
    message.append_entries.entries = &entry;
    message.append_entries.n_entries = 1;
    mute_send(&scene->groups[group], &message, note_of);
}

static void send_image(struct scene *scene, int group, void *bytes, size_t count,
                       struct sent_note *note_of)
{
    struct raft_message message;
    memset(&message, 0, sizeof message);
    message.type = RAFT_INSTALL_SNAPSHOT;
    message.server_id = THERE;
    message.install_snapshot.term = 5;
    message.install_snapshot.data = (struct raft_buffer){bytes, count};
    mute_send(&scene->groups[group], &message, note_of);
}

/* The connection for messages, open and used once. */
static int open_stream(struct scene *scene, struct heard *heard)
{
    struct sent_note sent;
    enum peer_kind kind;
    send_sign(scene, 0, &sent);
    int fd = take_connection(scene, &kind);
    cr_assert_eq(kind, PEER_MESSAGES);
    listen_to(heard, kind);
    AWAIT(&scene->stage, read_some(heard, fd) && heard->count == 1);
    cr_assert(sent.done && sent.status == 0);
    heard->count = 0;
    return fd;
}

/* How often this process has called write or writev. */
static long writes_so_far(void)
{
    char line[64];
    long writes = -1;
    FILE *file = fopen("/proc/self/io", "r");
    cr_assert_not_null(file);
    while (fgets(line, sizeof line, file) != NULL && sscanf(line, "syscw: %ld", &writes) != 1) {
    }
    fclose(file);
    return writes;
}

Test(stream, what_all_groups_say_in_one_turn_is_one_write)
{
    struct scene scene;
    struct heard heard;
    struct sent_note notes[GROUPS];
    unsigned char bytes[GROUPS * 128];
    open_scene(&scene);
    int fd = open_stream(&scene, &heard);
    for (int i = 0; i < GROUPS; i++) {
        send_sign(&scene, i, &notes[i]);
    }
    cr_assert_lt(recv(fd, bytes, sizeof bytes, MSG_DONTWAIT), 0, "before the turn is over");
    long before = writes_so_far();
    stage_turn(&scene.stage);
    cr_assert_eq(writes_so_far(), before + 1);
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    cr_assert_gt(got, 0);
    cr_assert(message_reader_feed(&heard.reader, bytes, (size_t)got));
    cr_assert_eq(heard.count, GROUPS);
    for (int i = 0; i < GROUPS; i++) {
        cr_assert_eq(heard.groups[i], (uint64_t)i);
        cr_assert(notes[i].done && notes[i].status == 0);
    }
    close(fd);
    close_scene(&scene);
}

Test(stream, a_short_message_passes_long_ones_but_none_of_its_own_group)
{
    struct scene scene;
    struct heard heard;
    struct sent_note longs[8], own, other;
    open_scene(&scene);
    int fd = open_stream(&scene, &heard);
    for (int i = 0; i < 8; i++) {
        send_long(&scene, 1 + i % 2, &longs[i]);
    }
    send_sign(&scene, 1, &own);
    send_sign(&scene, 3, &other);
    AWAIT(&scene.stage, read_some(&heard, fd) && heard.count == 10);
    cr_assert_eq(heard.groups[0], 3);
    cr_assert_eq(heard.groups[1], 1);
    cr_assert_eq(heard.groups[2], 2);
    cr_assert(own.done && own.status == 0);
    int last = -1;
    for (int i = 0; i < 10; i++) {
        last = heard.groups[i] == 1 ? i : last;
    }
    cr_assert_geq(last, 8, "its group's sign of life went before what it had sent");
    close(fd);
    close_scene(&scene);
}

Test(stream, an_image_holds_nothing_up)
{
    enum { IMAGE_BYTES = 48 * 1024 * 1024 };
    struct scene scene;
    struct heard heard, images;
    struct sent_note image, sign;
    enum peer_kind kind;
    size_t unsent = 0;
    char *bytes = calloc(1, IMAGE_BYTES);
    open_scene(&scene);
    int fd = open_stream(&scene, &heard);
    cr_assert(!transport_unsent(scene.groups[1].joined, THERE, &unsent));
    send_image(&scene, 1, bytes, IMAGE_BYTES, &image);
    int other = take_connection(&scene, &kind);
    cr_assert_eq(kind, PEER_IMAGES);
    for (int i = 0; i < 20; i++) { /* nobody reads it */
        stage_wait(&scene.stage);
    }
    cr_assert(!image.done);
    cr_assert(transport_unsent(scene.groups[1].joined, THERE, &unsent));
    cr_assert(unsent > 0 && unsent < IMAGE_BYTES, "%zu", unsent);
    send_sign(&scene, 1, &sign);
    AWAIT(&scene.stage, read_some(&heard, fd) && heard.count == 1);
    listen_to(&images, kind);
    AWAIT(&scene.stage, read_some(&images, other) && images.count == 1);
    cr_assert_eq(images.image_bytes, (size_t)IMAGE_BYTES);
    cr_assert(image.done && image.status == 0);
    cr_assert(transport_unsent(scene.groups[1].joined, THERE, &unsent));
    cr_assert_eq(unsent, 0);
    close(fd);
    close(other);
    close_scene(&scene);
    free(bytes);
}

Test(stream, a_group_that_stops_takes_its_image_back_at_once)
{
    enum { IMAGE_BYTES = 48 * 1024 * 1024 };
    struct scene scene;
    struct heard images;
    struct sent_note first, second;
    enum peer_kind kind;
    char *bytes = calloc(1, IMAGE_BYTES);
    open_scene(&scene);
    send_image(&scene, 1, bytes, IMAGE_BYTES, &first);
    send_image(&scene, 2, bytes, IMAGE_BYTES, &second);
    int fd = take_connection(&scene, &kind);
    for (int i = 0; i < 20; i++) {
        stage_wait(&scene.stage);
    }
    transport_stop(scene.groups[1].joined);
    cr_assert(first.done);
    cr_assert_eq(first.status, RAFT_CANCELED);
    transport_stop(scene.groups[2].joined);
    cr_assert(second.done);
    free(bytes); /* as the engine would */
    listen_to(&images, kind);
    AWAIT(&scene.stage, !read_some(&images, fd)); /* half an image is worth nothing */
    cr_assert_eq(images.count, 0);
    message_reader_end(&images.reader);
    close(fd);
    close_scene(&scene);
}

Test(stream, a_second_image_of_a_group_is_dropped_while_one_is_under_way)
{
    struct scene scene;
    struct sent_note first, second;
    char bytes[100] = "";
    open_scene(&scene);
    send_image(&scene, 1, bytes, sizeof bytes, &first);
    send_image(&scene, 1, bytes, sizeof bytes, &second);
    AWAIT(&scene.stage, second.done);
    cr_assert_eq(second.status, RAFT_NOCONNECTION);
    cr_assert(!first.done);
    close_scene(&scene);
    cr_assert_eq(first.status, RAFT_CANCELED);
}

Test(stream, what_is_kept_for_a_silent_node_is_bounded)
{
    enum { COUNT = 64 };
    struct scene scene;
    struct heard heard;
    static struct sent_note longs[COUNT];
    struct sent_note sign;
    size_t kept = 0;
    open_scene(&scene);
    int fd = open_stream(&scene, &heard);
    for (int i = 0; i < COUNT; i++) {
        send_long(&scene, i % GROUPS, &longs[i]);
    }
    send_sign(&scene, 3, &sign);
    for (int i = 0; i < 20; i++) { /* nobody reads it */
        stage_wait(&scene.stage);
    }
    for (int i = 0; i < COUNT; i++) {
        kept += longs[i].done ? 0 : (size_t)LONG_BYTES;
        cr_assert(!longs[i].done || longs[i].status == 0 || longs[i].status == RAFT_NOCONNECTION);
    }
    cr_assert_leq(kept, (size_t)STREAM_BYTES_MAX);
    cr_assert_eq(longs[COUNT - 1].status, RAFT_NOCONNECTION);
    cr_assert(!sign.done || sign.status == 0, "there is always room for a sign of life");
    close(fd);
    close_scene(&scene);
}

Test(stream, a_connection_that_broke_comes_back)
{
    struct scene scene;
    struct heard heard;
    struct sent_note sign;
    enum peer_kind kind;
    open_scene(&scene);
    int fd = open_stream(&scene, &heard);
    close(fd);
    uint64_t began = stage_now();
    for (int i = 0; i < 3; i++) {
        stage_wait(&scene.stage);
    }
    send_sign(&scene, 2, &sign);
    fd = take_connection(&scene, &kind);
    cr_assert_geq(stage_now() - began, REPLICA_RECONNECT_MS - 50);
    listen_to(&heard, kind);
    AWAIT(&scene.stage, read_some(&heard, fd) && heard.count == 1);
    cr_assert_eq(heard.groups[0], 2);
    close(fd);
    close_scene(&scene);
}

Test(stream, a_node_that_cannot_be_reached_costs_no_memory)
{
    struct scene scene;
    struct sent_note sign;
    open_scene(&scene);
    close(scene.listener);
    send_sign(&scene, 2, &sign);
    AWAIT(&scene.stage, sign.done);
    cr_assert_eq(sign.status, RAFT_NOCONNECTION);
    scene.listener = -1;
    close_scene(&scene);
}

/* The other node is gone and comes back: it says something first. How long until it is dialled again. */
static uint64_t time_to_come_back(struct scene *scene, struct mute_group *there)
{
    struct heard heard;
    struct sent_note sign, word;
    enum peer_kind kind;
    struct raft_message message = mute_sign(HERE, 5);
    int before = scene->groups[0].received;
    int fd = open_stream(scene, &heard);
    close(fd);
    for (int i = 0; i < 3; i++) {
        stage_wait(&scene->stage);
    }
    send_sign(scene, 2, &sign);
    uint64_t began = stage_now();
    mute_send(there, &message, &word);
    close(take_connection(scene, &kind));
    uint64_t took = stage_now() - began;
    AWAIT(&scene->stage, word.done && sign.done && scene->groups[0].received > before);
    return took;
}

Test(stream, a_node_that_comes_to_us_is_dialled_at_once)
{
    struct scene scene;
    struct mute_group other;
    uint64_t took = UINT64_MAX;
    for (int i = 0; i < 20 && took >= REPLICA_RECONNECT_MS / 2; i++) { /* the machine may be slow */
        open_scene(&scene);
        struct transport *there = stage_transport(&scene.stage, THERE, SECRET, NULL, NULL);
        cr_assert(transport_put_peer(there, HERE, "127.0.0.1", transport_port(scene.here)));
        mute_open(&other, there, 0);
        took = time_to_come_back(&scene, &other);
        mute_close(&other);
        stage_transport_close(&scene.stage, there);
        close_scene(&scene);
    }
    cr_assert_lt(took, REPLICA_RECONNECT_MS / 2);
}

/* Of a port that answers nothing: its queue of connections is full, and nobody takes any. */
Test(stream, a_node_that_does_not_even_answer_is_dialled_again_soon)
{
    struct scene scene;
    struct sent_note sign;
    struct sockaddr_in where;
    socklen_t bytes = sizeof where;
    int fds[3];
    open_scene(&scene);
    cr_assert_eq(listen(scene.listener, 0), 0);
    cr_assert_eq(getsockname(scene.listener, (struct sockaddr *)&where, &bytes), 0);
    for (int i = 0; i < 3; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&where, sizeof where);
    }
    uint64_t began = stage_now();
    send_sign(&scene, 2, &sign);
    AWAIT(&scene.stage, sign.done);
    cr_assert_eq(sign.status, RAFT_NOCONNECTION);
    cr_assert_geq(stage_now() - began, PEER_CONNECT_MS - 50);
    cr_assert_lt(stage_now() - began, PEER_HANDSHAKE_MS);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    close_scene(&scene);
}
