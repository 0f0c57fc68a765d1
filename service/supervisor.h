/*
 * Who supervises the process (systemd, with Type=notify), told by datagrams to the socket that NOTIFY_SOCKET names, as
 * sd_notify(3) describes it. Without that variable nothing is sent. libsystemd is not used: of all it does this is one
 * sendto, and the protocol is promised to stay.
 */
#ifndef RINGHOLD_SERVICE_SUPERVISOR_H
#define RINGHOLD_SERVICE_SUPERVISOR_H

/* It serves, as /readyz says. Any thread; failing is logged, for it costs nothing but the supervisor's patience. */
void supervisor_told_ready(void);
/* It has been asked to stop, and does. */
void supervisor_told_stopping(void);

#endif
