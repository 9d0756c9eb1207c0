/* SPDX-License-Identifier: Apache-2.0 */
/* What `tidemark dev` shows of one try: redrawn in place on a terminal, one
 * behind the other in a pipe. */
#ifndef TIDE_RUN_FRAME_H
#define TIDE_RUN_FRAME_H

#include <stdbool.h>

#include "base/buf.h"

struct tide_frame {
	const char *job;
	int number;  /* of the try, from 1 */
	bool failed; /* then what went wrong stands where rows would */
	int64_t took_ms;
	struct tide_slice rows;    /* as they came out */
	struct tide_slice log;     /* the lines of a log, see base/log.h */
	struct tide_slice summary; /* a line, or nothing */
};

/* The text of it. On a terminal of so many lines and columns rows give way, so
 * that what is said about them is seen; 0 lines is a pipe. */
void tide_frame_put(const struct tide_frame *frame, int lines, int columns, struct tide_buf *out);

#endif
