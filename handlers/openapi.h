/* openapi.yaml as it was when this program was built, and the program's version. */
#ifndef RINGHOLD_HANDLERS_OPENAPI_H
#define RINGHOLD_HANDLERS_OPENAPI_H

#include "db/text.h"

#define RINGHOLD_VERSION "0.1.0"

struct text openapi_document(void);

#endif
