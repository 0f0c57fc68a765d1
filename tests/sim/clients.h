/*
 * The clients: each does one thing after the other, with sessions, locks and queues, through whichever node it finds to
 * lead; waits for the answer, or no longer; and believes what it was told.
 */
#ifndef RINGHOLD_TESTS_SIM_CLIENTS_H
#define RINGHOLD_TESTS_SIM_CLIENTS_H

#include <stdint.h>

void clients_begin(int count);
/* They ask for nothing more. */
void clients_stop(void);
/* When something was last acknowledged. */
uint64_t clients_last_answer_us(void);

#endif
