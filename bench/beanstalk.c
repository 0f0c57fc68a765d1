/*
 * beanstalkd: framing of its answers, and the cycle put, reserve, delete on the default tube, which all connections
 * share.
 */
#include "bench/modes.h"
#include "bench/payload.h"

#include <stdlib.h>
#include <string.h>

/* The number behind the `nth` space of a line; what is not there counts as 0. */
static size_t number_at(const char *line, unsigned nth)
{
    const char *at = line;
    while (nth-- > 0 && (at = memchr(at, ' ', strcspn(at, "\r"))) != NULL) {
        at++;
    }
    return at == NULL ? 0 : strtoul(at, NULL, 10);
}

/* "RESERVED <id> <bytes>" is followed by a body; all other answers are one line. The status is the word's first letter,
   and the answer's body its line. */
static enum framing beanstalk_frame(const char *at, size_t bytes, struct answer *ret_answer)
{
    static const char reserved[] = "RESERVED ";
    const char *line_end = memmem(at, bytes, "\r\n", 2);
    if (line_end == NULL) {
        return FRAMING_PARTIAL;
    }
    size_t line = (size_t)(line_end - at), whole = line + 2;
    if (line > sizeof reserved && memcmp(at, reserved, sizeof reserved - 1) == 0) {
        whole += number_at(at, 2) + 2;
    }
    *ret_answer = (struct answer){at[0], at, line, whole};
    return bytes < whole ? FRAMING_PARTIAL : FRAMING_WHOLE;
}

const struct wire beanstalk_wire = {"beanstalk", beanstalk_frame};

struct producer_consumer {
    struct buffer put, delete;
};

static void beanstalk_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    struct producer_consumer *both = client;
    buffer_format(&both->put, "put 0 0 60 %u\r\n", workload->data_bytes);
    payload_append(&both->put, workload);
    buffer_append(&both->put, "\r\n", 2);
}

static void beanstalk_close(void *client)
{
    struct producer_consumer *both = client;
    buffer_free(&both->put);
    buffer_free(&both->delete);
}

static struct request put_prepare(void *client)
{
    const struct producer_consumer *both = client;
    return request_of(&both->put);
}

static enum verdict put_judge(void *client, const struct answer *answer)
{
    (void)client;
    return answer->status == 'I' ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

static struct request reserve_prepare(void *client)
{
    (void)client;
    static const char reserve[] = "reserve\r\n";
    return (struct request){reserve, sizeof reserve - 1};
}

static enum verdict reserve_judge(void *client, const struct answer *answer)
{
    struct producer_consumer *both = client;
    buffer_clear(&both->delete);
    buffer_format(&both->delete, "delete %zu\r\n", number_at(answer->body, 1));
    return answer->status == 'R' ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

static struct request delete_prepare(void *client)
{
    const struct producer_consumer *both = client;
    return request_of(&both->delete);
}

/* "DELETED", not "DRAINING" or "DEADLINE_SOON". */
static enum verdict delete_judge(void *client, const struct answer *answer)
{
    (void)client;
    static const char deleted[] = "DELETED";
    bool right = answer->body_bytes == sizeof deleted - 1 &&
                 memcmp(answer->body, deleted, answer->body_bytes) == 0;
    return right ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

const struct protocol beanstalk_protocol = {
    .name = "beanstalk",
    .summary = "beanstalkd: put, reserve, delete",
    .wire = &beanstalk_wire,
    .client_bytes = sizeof(struct producer_consumer),
    .open = beanstalk_open,
    .close = beanstalk_close,
    .operations = 1,
    .step_count = 3,
    .steps = {{"put", put_prepare, put_judge},
              {"reserve", reserve_prepare, reserve_judge},
              {"delete", delete_prepare, delete_judge}},
};
