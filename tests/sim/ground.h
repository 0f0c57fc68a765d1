/* What the replicas stand on here: see ground.c. */
#ifndef RINGHOLD_TESTS_SIM_GROUND_H
#define RINGHOLD_TESTS_SIM_GROUND_H

/* After as many entries each replica's log is cut; set before a replica is opened. */
extern unsigned ground_log_entries;

#endif
