/*
 * The weather: what befalls nodes, disks and links, and who is to be a member. And the end of it: all is mended, and then
 * the group must work again.
 */
#ifndef RINGHOLD_TESTS_SIM_WEATHER_H
#define RINGHOLD_TESTS_SIM_WEATHER_H

#include <stdbool.h>

/* Founds the group on the first node, and lets it grow to three voters, or all. */
void weather_begin(void);
void weather_storm(void);
/* The node has given its vote: a good moment for it to crash, and for others not to hear of whom it voted for. */
void weather_voted(int node, int candidate);
void weather_mend(void);
/* Whether the members are who they are to be, have applied all that is committed, and one of them leads. */
bool weather_settled(void);
/* A line of the trace for each node. */
void weather_show(void);

#endif
