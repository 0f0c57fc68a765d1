/*
 * A visitor is no member and asks members: over HTTP, and, where it has the cluster's secret, over the peer port. What
 * the commands stand on. One thread.
 */
#ifndef RINGHOLD_SERVICE_COMMANDS_VISITOR_H
#define RINGHOLD_SERVICE_COMMANDS_VISITOR_H

#include "service/cluster/inquiry.h"

struct visitor;

/* `secret_file` NULL: for HTTP alone. False, with a sentence. */
MUST_CHECK bool visitor_open(const char *secret_file, struct visitor **ret,
                             char ret_why[INQUIRY_WHY_BYTES]);
struct inquiry *visitor_inquiry(struct visitor *visitor);
/* NULL-safe. */
void visitor_close(struct visitor *visitor);

#endif
