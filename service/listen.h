/* The listening socket. */
#ifndef RINGHOLD_SERVICE_LISTEN_H
#define RINGHOLD_SERVICE_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Binds and listens on a numeric IPv4 or IPv6 address; port 0 picks a free one. `ret_url` becomes http://ADDR:PORT with
 * the port it got. False, with a sentence in ret_why, when it cannot.
 */
bool listen_open(const char *address, uint16_t port, int *ret_socket, char *ret_url,
                 size_t url_bytes, char ret_why[256]);

#endif
