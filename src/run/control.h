/* SPDX-License-Identifier: Apache-2.0 */
/* A word with a running job: a socket in the folder of its checkpoint. One line
 * is asked, and lines are answered until the last one. */
#ifndef TIDE_RUN_CONTROL_H
#define TIDE_RUN_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

/* A socket that listens; the folder's lock is held. Its old one goes. */
int tide_control_listen(const char *dir, int *fd, struct tide_error *err);
void tide_control_close(const char *dir, int fd);
/* Who has come, and what they asked; NULL when nobody has, or not in time. The
 * caller closes it. */
FILE *tide_control_accept(int fd, char *line, size_t size);

/* TIDE_ERR_UNAVAILABLE when no job runs there. */
int tide_control_ask(const char *dir, const char *line, FILE **out, struct tide_error *err);
/* The answer, to its end: what was found goes to `out`, the rest to the log. */
int tide_control_hear(FILE *in, FILE *out, struct tide_error *err);

/* "reload", "reload shadow=N", "reload shadow=N max=P%". */
struct tide_control_request {
	int epochs;        /* to be compared on; 0: none */
	char max_diff[32]; /* "": only to be shown */
};
/* False: it is no such line. */
bool tide_control_parse(const char *line, struct tide_control_request *request);

#endif
