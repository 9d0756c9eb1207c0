/* SPDX-License-Identifier: Apache-2.0 */
/* The log on stderr: text for people, JSON for machines, one status line. */
#ifndef TIDE_BASE_LOG_H
#define TIDE_BASE_LOG_H

#include <stdbool.h>

enum tide_level { TIDE_DEBUG, TIDE_INFO, TIDE_WARN, TIDE_ERROR };

struct tide_log_options {
	bool json;             /* one JSON object a line */
	bool color;            /* escape codes; only ever on a terminal */
	bool terminal;         /* stderr is one: a status line may be redrawn */
	enum tide_level level; /* what is below it is dropped */
};

void tide_log_init(const struct tide_log_options *options);
/* From now on what is below `level` is dropped; returns what it was before. */
enum tide_level tide_log_level(enum tide_level level);
void tide_log(enum tide_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The line that is redrawn in place on a terminal; "" removes it. Does
 * nothing in a pipe. */
void tide_log_status(const char *line);
/* Bracket output to a terminal that is also stdout's, so that the status
 * line and results do not overwrite each other. */
void tide_log_pause(void);
void tide_log_resume(void);

#endif
