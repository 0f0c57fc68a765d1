/*
 * What LeakSanitizer is told. Criterion runs each test in a process of its own, and each of them is looked at for leaks
 * when it ends; the process that starts them runs nothing of ours, and Criterion 2.4.1 itself leaks there now and then.
 */
#include <stdlib.h>

int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
    return getenv("BXFI_MAP") == NULL; /* set by BoxFort in the processes it starts for Criterion */
}
