#include "handlers/openapi.h"

/* The document is put into the program as it stands, so that what is served is what was built. */
__asm__(".section .rodata\n"
        ".global ringhold_openapi_begin\n"
        ".global ringhold_openapi_end\n"
        "ringhold_openapi_begin:\n"
        ".incbin \"openapi.yaml\"\n"
        "ringhold_openapi_end:\n"
        ".byte 0\n"
        ".previous\n");
extern const char ringhold_openapi_begin[], ringhold_openapi_end[];

struct text openapi_document(void)
{
    return (struct text){ringhold_openapi_begin,
                         (size_t)(ringhold_openapi_end - ringhold_openapi_begin)};
}
