/* A database's files, and copies of them as a killed process or a power cut leaves them. */
#ifndef RINGHOLD_TESTS_COPIES_H
#define RINGHOLD_TESTS_COPIES_H

enum { COPIES_PATH_BYTES = 128, COPIES_DIR_BYTES = 64 };

/* In memory where there is such a place: the faults are ours, the disk need not be real. */
void copies_make_dir(char ret_dir[COPIES_DIR_BYTES]);
/* With all that SQLite keeps beside it. */
void copies_remove(const char *path);
/* What a process that starts now would find, had this one been killed. */
void copies_after_kill(const char *path, const char *to);
/* What would be found had the power failed (faulty_power_cut). */
void copies_after_power_cut(const char *path, const char *to, unsigned seed);

/* The distance of the calls that fail in turn: 1 with RINGHOLD_FAULTS=all; otherwise so that there are at most as many
   plays as given, spread evenly. */
long copies_stride(long sum, long plays_max);

#endif
