/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that can be given up.
 *
 * A write to a pipe or a terminal whose reader has stopped blocks for good, and
 * O_NONBLOCK on a descriptor that came from a shell would be the shell's too. So
 * the file behind it is opened once more, for us alone. Where that is not
 * allowed, poll and small writes are nearly as good. */
#include "sink/stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum {
	LOOK_MS = 100,        /* between looks whether to stop */
	PATIENCE_US = 2000000 /* with a reader that takes nothing, once we shall stop */
};

enum room { ROOM_NONE, ROOM_SOME, ROOM_NEVER };

void tide_stream_open(struct tide_stream *stream, int fd, const atomic_int *stop)
{
	struct stat info;
	char path[32];
	*stream = (struct tide_stream){ .fd = fd, .stop = stop };
	if (fstat(fd, &info) != 0 || S_ISREG(info.st_mode))
		return;
	stream->socket = S_ISSOCK(info.st_mode);
	stream->pipe = S_ISFIFO(info.st_mode);
	if (stream->socket)
		return;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int again = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (again >= 0) {
		stream->fd = again;
		stream->own = true;
	}
}

void tide_stream_close(struct tide_stream *stream)
{
	if (stream->own)
		close(stream->fd);
	*stream = (struct tide_stream){ .fd = -1 };
}

/* How much to write at once. A pipe takes up to PIPE_BUF whole or not at all, so
 * lines go into it whole. */
static size_t portion(const struct tide_stream *stream, const char *p, size_t left)
{
	if (!stream->pipe || left <= PIPE_BUF)
		return left;
	const char *line = memrchr(p, '\n', PIPE_BUF);
	return line != NULL ? (size_t)(line + 1 - p) : PIPE_BUF;
}

static ssize_t put(const struct tide_stream *stream, const char *p, size_t len)
{
	if (stream->socket)
		return send(stream->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return write(stream->fd, p, len);
}

/* A look whether there is room. *quiet_us: since when the reader has taken
 * nothing although the program shall stop, or 0. */
static enum room wait_for_room(const struct tide_stream *stream, int64_t *quiet_us)
{
	if (stream->stop != NULL && atomic_load(stream->stop) != 0) {
		int64_t now = tide_clock_mono_us();
		if (*quiet_us == 0)
			*quiet_us = now;
		if (now - *quiet_us > PATIENCE_US)
			return ROOM_NEVER;
	}
	struct pollfd wait = { .fd = stream->fd, .events = POLLOUT };
	return poll(&wait, 1, LOOK_MS) > 0 ? ROOM_SOME : ROOM_NONE;
}

static int refused(int error, struct tide_error *err)
{
	if (error == EPIPE || error == ECONNRESET)
		return tide_fail(err, TIDE_ERR_UNAVAILABLE, "the reader of stdout is gone");
	return tide_fail(err, TIDE_ERR_IO, "writing rows to stdout: %s", strerror(error));
}

int tide_stream_write(struct tide_stream *stream, const char *p, size_t len, struct tide_error *err)
{
	bool look_first = !stream->own && !stream->socket, full = look_first;
	int64_t quiet_us = 0;
	assert(p != NULL || len == 0);
	while (len > 0) {
		enum room room = full ? wait_for_room(stream, &quiet_us) : ROOM_SOME;
		if (room == ROOM_NEVER)
			return tide_fail(err, TIDE_ERR_STOPPED,
			                 "the reader of stdout takes nothing");
		if (room == ROOM_NONE)
			continue;
		ssize_t n = put(stream, p, portion(stream, p, len));
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return refused(errno, err);
		if (n > 0) {
			p += n;
			len -= (size_t)n;
			quiet_us = 0;
			full = look_first;
		} else {
			/* Room that is too little for us must not keep us busy. */
			if (full)
				usleep(1000);
			full = true;
		}
	}
	return TIDE_OK;
}

void tide_stream_try(int fd, const char *p, size_t len)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	if (poll(&wait, 1, 0) > 0 && (wait.revents & POLLOUT) != 0) {
		ssize_t written = write(fd, p, len);
		(void)written;
	}
}
