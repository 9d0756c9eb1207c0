/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes to a descriptor whose reader may be slow, stop reading or leave: a
 * writer waits for it, but not for ever once the program shall stop.
 * Internal to sink/. */
#ifndef TIDE_SINK_STREAM_H
#define TIDE_SINK_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct tide_stream {
	int fd;
	const atomic_int *stop; /* non-zero: the program shall stop; may be NULL */
	bool own;               /* fd is ours and never blocks */
	bool socket, pipe;
};

/* Does not take fd over: others that share it see no change. */
void tide_stream_open(struct tide_stream *stream, int fd, const atomic_int *stop);
void tide_stream_close(struct tide_stream *stream);

/* All of it, whatever time that takes. TIDE_ERR_STOPPED: the reader has taken
 * nothing for a while and the program shall stop; it may have a part, in whole
 * lines where it is a pipe and they are short. TIDE_ERR_UNAVAILABLE: it left. */
int tide_stream_write(struct tide_stream *stream, const char *p, size_t len,
                      struct tide_error *err);
/* What goes out at once; for a signal handler. */
void tide_stream_try(int fd, const char *p, size_t len);

#endif
