/* What SQLite, as a library, must be told once before anything else of it is used. */
#ifndef RINGHOLD_DB_LIBRARY_H
#define RINGHOLD_DB_LIBRARY_H

/* Any thread, any number of times. */
void library_configure(void);

#endif
