/*
 * The answers that libmicrohttpd gives by itself, to what it cannot parse: mhd_pages.c makes problem documents of them.
 */
#ifndef RINGHOLD_SERVICE_MHD_PAGES_H
#define RINGHOLD_SERVICE_MHD_PAGES_H

#include "db/text.h"

/* Who answers: for the header Ringhold-Node. Called once, before the first daemon is started; the text stays. */
void mhd_pages_sign(struct text node);

#endif
