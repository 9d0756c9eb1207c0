/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP server for the page, the API and probes. Reads only.
 *
 * It answers GET and HEAD, on a loopback address, to requests that call it by a
 * loopback name: a page from elsewhere that has its own name resolve to
 * 127.0.0.1 is refused. There are no files behind it, only the embedded page and
 * what `get` writes. A client has a few seconds and 8 KiB for its request. */
#ifndef TIDE_SERVE_SERVE_H
#define TIDE_SERVE_SERVE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

struct tide_serve;

/* Writes the body of a GET for `path` (query cut off) and names its type;
 * false: 404. Called on the server's thread. A path holds only letters, digits
 * and - . _ ~ / and never "..": others do not get this far. */
typedef bool tide_serve_get(void *arg, const char *path, struct tide_buf *body,
                            const char **content_type);

struct tide_serve_options {
	const char *listen;  /* "127.0.0.1:4040"; port 0 takes a free one */
	tide_serve_get *get; /* asked for what the server itself does not serve: all but
	                      * "/", "/page.css", "/page.js" and "/icon.svg" */
	void *arg;
};

/* Refuses an address that is not loopback. A port that is taken is an error
 * that says so; the caller decides whether to go on without a page. */
int tide_serve_start(const struct tide_serve_options *options, struct tide_serve **out,
                     struct tide_error *err);
int tide_serve_port(const struct tide_serve *serve);
/* Ends at once, also with clients connected. Accepts NULL. */
void tide_serve_stop(struct tide_serve *serve);

#endif
