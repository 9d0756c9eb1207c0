/* SPDX-License-Identifier: Apache-2.0 */
/* The page, embedded in the program. Internal to serve/. */
#ifndef TIDE_SERVE_PAGE_H
#define TIDE_SERVE_PAGE_H

#include "base/buf.h"

/* What is served at `path`, or false. Borrowed for ever. */
bool tide_page_find(const char *path, struct tide_slice *body, const char **content_type);

#endif
