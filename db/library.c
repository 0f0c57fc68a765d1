#include "db/library.h"

#include "db/page_cache.h"

#include <pthread.h>
#include <sqlite3.h>

static void configure(void)
{
    /* SQLite's count of the memory it uses, which nobody reads, would take a lock shared by all connections at each
       malloc and free. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    page_cache_install();
}

void library_configure(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure);
}
