/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: from bytes to a path, or to the status that refuses them.
 * Internal to serve/. */
#ifndef TIDE_SERVE_REQUEST_H
#define TIDE_SERVE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

enum { TIDE_REQUEST_BYTES_MAX = 8192 };

struct tide_request {
	int status;      /* 200: to be answered, else a refusal */
	const char *why; /* of a refusal, a sentence */
	bool head;       /* no body in the answer */
	char path[512];  /* query cut off */
};

/* The bytes up to and with the empty line that ends a request, or 0. */
size_t tide_request_end(const char *p, size_t len);
/* Judges a whole request. `own_host` is the address that we listen on, which is
 * a name we go by, too. */
void tide_request_read(const char *p, size_t len, const char *own_host,
                       struct tide_request *request);

#endif
