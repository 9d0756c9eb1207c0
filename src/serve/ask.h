/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the page of a job that runs on this machine. */
#ifndef TIDE_SERVE_ASK_H
#define TIDE_SERVE_ASK_H

#include "base/buf.h"
#include "base/error.h"

/* A GET of `path` from what serves at `listen` ("127.0.0.1:4040", a loopback
 * address); the body of its answer goes to `body`. TIDE_ERR_UNAVAILABLE: nobody
 * answers there, or not with that. Waits a few seconds at most. */
int tide_serve_ask(const char *listen, const char *path, struct tide_buf *body,
                   struct tide_error *err);

#endif
