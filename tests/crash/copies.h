/* A database's files, and copies of them as a killed process or a power cut leaves them. */
#ifndef RINGHOLD_TESTS_COPIES_H
#define RINGHOLD_TESTS_COPIES_H

enum { COPIES_PATH_BYTES = 128, COPIES_DIR_BYTES = 64 };

/* A directory, the path of a database of that name in it, and one for copies of it; all that is opened from then on may fail. */
void copies_set_up(const char *name, char ret_dir[COPIES_DIR_BYTES],
                   char ret_path[COPIES_PATH_BYTES], char ret_copy[COPIES_PATH_BYTES]);
void copies_tear_down(const char *dir, const char *path, const char *copy);
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
