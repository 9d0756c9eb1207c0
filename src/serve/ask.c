/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the page of a job that runs on this machine. */
#include "serve/ask.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ANSWER_MS = 3000, ANSWER_BYTES_MAX = 4 << 20 };

static int no_answer(struct tide_error *err, const char *listen, const char *why)
{
	return tide_fail(err, TIDE_ERR_UNAVAILABLE, "no page of a job answers at %s: %s", listen,
	                 why);
}

/* A connected socket, or -1. */
static int reach(const char *listen)
{
	char host[64];
	const char *colon = strrchr(listen, ':');
	struct addrinfo *found = NULL, hints = { .ai_socktype = SOCK_STREAM };
	struct timeval limit = { ANSWER_MS / 1000, 0 };
	int fd = -1;
	if (colon == NULL || (size_t)(colon - listen) >= sizeof host)
		return -1;
	size_t bracket = listen[0] == '[' && colon > listen + 1 && colon[-1] == ']';
	snprintf(host, sizeof host, "%.*s", (int)((size_t)(colon - listen) - 2 * bracket),
	         listen + bracket);
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		return -1;
	for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
		fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		if (connect(fd, at->ai_addr, at->ai_addrlen) == 0)
			continue;
		close(fd);
		fd = -1;
	}
	freeaddrinfo(found);
	return fd;
}

static bool read_all(int fd, struct tide_buf *answer)
{
	char some[4096];
	ssize_t got;
	while ((got = recv(fd, some, sizeof some, 0)) > 0 && answer->len < ANSWER_BYTES_MAX)
		tide_buf_put(answer, some, (size_t)got);
	tide_buf_u8(answer, '\0');
	return got == 0 && !answer->failed;
}

int tide_serve_ask(const char *listen, const char *path, struct tide_buf *body,
                   struct tide_error *err)
{
	char request[512];
	struct tide_buf answer = { 0 };
	int fd = reach(listen), rc = TIDE_OK;
	if (fd < 0)
		return no_answer(err, listen, "nothing listens there");
	int len = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n",
	                   path);
	if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len || !read_all(fd, &answer)) {
		rc = no_answer(err, listen, "what listens there gives no answer");
		goto out;
	}
	const char *head = strstr(answer.p, "\r\n\r\n");
	if (strncmp(answer.p, "HTTP/1.", 7) != 0 || strncmp(answer.p + 8, " 200 ", 5) != 0 ||
	    head == NULL) {
		rc = no_answer(err, listen, "what listens there is no job, or an older one");
		goto out;
	}
	head += 4;
	tide_buf_put(body, head, strlen(head));
out:
	close(fd);
	tide_buf_fini(&answer);
	return rc;
}
