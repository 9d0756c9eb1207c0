/* SPDX-License-Identifier: Apache-2.0 */
/* Records from JSON lines: {"key":…,"value":…,"headers":[["n","v"],…],
 * "partition":0,"timestamp":ms}. Text is a string, null, or {"base64":"…"}
 * for bytes that JSON cannot carry. */
#ifndef TIDE_BROKER_LINES_H
#define TIDE_BROKER_LINES_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "broker/generate.h"

enum { TIDE_LINE_LEN_MAX = 256 * 1024 * 1024 };

struct tide_lines; /* Opaque. */

/* Does not own the descriptor. `stop` may be NULL; non-zero ends the input. */
struct tide_lines *tide_lines_new(int fd, const atomic_int *stop);
void tide_lines_free(struct tide_lines *lines);
/* 1: a message, valid until the next call. 0: no more. Else a status that names
 * the line. Waits at most timeout_ms (-1: for ever) and then returns 2. */
int tide_lines_next(struct tide_lines *lines, int timeout_ms, struct tide_message *msg,
                    struct tide_error *err);
/* One line that is at hand. False: it is no record. */
bool tide_lines_parse(struct tide_lines *lines, const char *line, size_t len,
                      struct tide_message *msg);

#endif
