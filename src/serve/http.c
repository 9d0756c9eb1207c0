/* SPDX-License-Identifier: Apache-2.0 */
/* The server: one thread, poll, and a bounded number of short connections.
 *
 * A connection serves one request. It reads until the empty line, writes the
 * answer, and then waits a moment for the client to hang up, for closing at once
 * would throw away an answer that a client still sending has not read. Each step
 * has a deadline; when there are too many connections the one that has been
 * reading for longest makes room. */
#include "serve/serve.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/page.h"
#include "serve/request.h"

enum {
	CONNECTIONS_MAX = 64,
	READ_MS = 5000,   /* for a whole request */
	WRITE_MS = 10000, /* for a whole answer */
	LINGER_MS = 1000, /* for the client to hang up */
	LINGER_BYTES_MAX = 1024 * 1024,
	REST_MS = 100 /* after a connection could not be taken */
};

struct connection {
	enum { FREE, READING, WRITING, LINGERING } step;
	int fd;
	int64_t deadline_us;
	size_t in_len; /* of `in`; while lingering, bytes thrown away */
	size_t out_at; /* bytes of `out` that are gone */
	struct tide_buf out;
	char in[TIDE_REQUEST_BYTES_MAX];
};

struct tide_serve {
	tide_serve_get *get;
	void *arg;
	char host[64]; /* that we listen on */
	int port;
	int listen_fd, stop_fd;
	int64_t rest_until_us; /* no new connections before this time */
	pthread_t thread;
	struct connection connections[CONNECTIONS_MAX];
};

static int64_t deadline_in(int ms)
{
	return tide_clock_mono_us() + (int64_t)ms * 1000;
}

static void connection_close(struct connection *conn)
{
	close(conn->fd);
	tide_buf_fini(&conn->out);
	conn->step = FREE;
}

static const char *status_name(int status)
{
	switch (status) {
	case 200: return "OK";
	case 400: return "Bad Request";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 431: return "Request Header Fields Too Large";
	case 503: return "Service Unavailable";
	case 505: return "HTTP Version Not Supported";
	default: return "Error";
	}
}

static void put_answer(struct tide_buf *out, int status, const char *type, struct tide_slice body,
                       bool head)
{
	tide_buf_printf(out,
	                "HTTP/1.1 %d %s\r\n"
	                "Content-Type: %s\r\n"
	                "Content-Length: %zu\r\n"
	                "%s"
	                "Connection: close\r\n"
	                "Cache-Control: no-store\r\n"
	                "Content-Security-Policy: default-src 'self'; object-src 'none'; "
	                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
	                "X-Content-Type-Options: nosniff\r\n"
	                "X-Frame-Options: DENY\r\n"
	                "Referrer-Policy: no-referrer\r\n"
	                "Cross-Origin-Resource-Policy: same-origin\r\n"
	                "Cross-Origin-Opener-Policy: same-origin\r\n"
	                "\r\n",
	                status, status_name(status), type, body.len,
	                status == 405 ? "Allow: GET, HEAD\r\n" : "");
	if (!head)
		tide_buf_put(out, body.p, body.len);
}

/* From now on the answer goes out; without memory for it there is none. */
static void start_answer(struct connection *conn, int status, const char *type,
                         struct tide_slice body, bool head)
{
	assert(conn->step == READING);
	put_answer(&conn->out, status, type, body, head);
	if (conn->out.failed) {
		connection_close(conn);
		return;
	}
	conn->step = WRITING;
	conn->deadline_us = deadline_in(WRITE_MS);
}

static void start_refusal(struct connection *conn, int status, const char *why, bool head)
{
	char text[256];
	int len = snprintf(text, sizeof text, "%s\n", why);
	start_answer(conn, status, "text/plain; charset=utf-8",
	             (struct tide_slice){ text, (size_t)len }, head);
}

static void answer(struct tide_serve *serve, struct connection *conn, size_t len)
{
	struct tide_request request;
	struct tide_slice page;
	const char *type = "application/json";
	tide_request_read(conn->in, len, serve->host, &request);
	if (request.status != 200) {
		start_refusal(conn, request.status, request.why, request.head);
		return;
	}
	if (tide_page_find(request.path, &page, &type)) {
		start_answer(conn, 200, type, page, request.head);
		return;
	}
	struct tide_buf body = { 0 };
	bool found = serve->get != NULL && serve->get(serve->arg, request.path, &body, &type);
	if (!found)
		start_refusal(conn, 404, "There is nothing at this path.", request.head);
	else if (body.failed)
		start_refusal(conn, 503, "There is no memory for the answer.", request.head);
	else
		start_answer(conn, 200, type, (struct tide_slice){ body.p, body.len },
		             request.head);
	tide_buf_fini(&body);
}

/* True if a call that gave `n` shall be tried again later. */
static bool not_yet(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void step_read(struct tide_serve *serve, struct connection *conn)
{
	ssize_t n = recv(conn->fd, conn->in + conn->in_len, sizeof conn->in - conn->in_len, 0);
	if (n <= 0) {
		if (!not_yet(n))
			connection_close(conn);
		return;
	}
	conn->in_len += (size_t)n;
	size_t end = tide_request_end(conn->in, conn->in_len);
	if (end > 0)
		answer(serve, conn, end);
	else if (conn->in_len == sizeof conn->in)
		start_refusal(conn, 431, "A request has at most 8 KiB.", false);
}

static void step_write(struct connection *conn)
{
	ssize_t n = send(conn->fd, conn->out.p + conn->out_at, conn->out.len - conn->out_at,
	                 MSG_NOSIGNAL);
	if (n < 0) {
		if (!not_yet(n))
			connection_close(conn);
		return;
	}
	conn->out_at += (size_t)n;
	if (conn->out_at < conn->out.len)
		return;
	shutdown(conn->fd, SHUT_WR);
	conn->step = LINGERING;
	conn->in_len = 0;
	conn->deadline_us = deadline_in(LINGER_MS);
}

static void step_linger(struct connection *conn)
{
	char waste[4096];
	ssize_t n = recv(conn->fd, waste, sizeof waste, 0);
	if (n > 0)
		conn->in_len += (size_t)n;
	if ((n <= 0 && !not_yet(n)) || conn->in_len > LINGER_BYTES_MAX)
		connection_close(conn);
}

/* A connection whose time is over. One that sent half a request is told. */
static void expire(struct connection *conn)
{
	if (conn->step == READING && conn->in_len > 0)
		start_refusal(conn, 408, "The request took too long.", false);
	else
		connection_close(conn);
}

/* A free place, made from the connection that has been reading for longest if
 * need be, or NULL while all are being answered. */
static struct connection *connection_place(struct tide_serve *serve)
{
	struct connection *oldest = NULL;
	for (int i = 0; i < CONNECTIONS_MAX; i++) {
		struct connection *conn = &serve->connections[i];
		if (conn->step == FREE)
			return conn;
		if (conn->step != WRITING &&
		    (oldest == NULL || conn->deadline_us < oldest->deadline_us))
			oldest = conn;
	}
	if (oldest != NULL)
		connection_close(oldest);
	return oldest;
}

/* False when nobody else is waiting. */
static bool accept_one(struct tide_serve *serve)
{
	struct connection *conn = connection_place(serve);
	if (conn == NULL)
		return false; /* They stay in the kernel's queue. */
	int fd = accept4(serve->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		/* Out of descriptors, most likely: asking again at once would spin. */
		if (!not_yet(fd))
			serve->rest_until_us = deadline_in(REST_MS);
		return false;
	}
	*conn = (struct connection){ .step = READING, .fd = fd };
	conn->deadline_us = deadline_in(READ_MS);
	return true;
}

/* What to wait for; returns the milliseconds until the next deadline, or -1. */
static int fill_polls(const struct tide_serve *serve, struct pollfd *polls)
{
	int64_t now = tide_clock_mono_us(), first = INT64_MAX;
	int writing = 0;
	bool resting = serve->rest_until_us > now;
	for (int i = 0; i < CONNECTIONS_MAX; i++) {
		const struct connection *conn = &serve->connections[i];
		polls[i] = (struct pollfd){ .fd = conn->step == FREE ? -1 : conn->fd };
		polls[i].events = conn->step == WRITING ? POLLOUT : POLLIN;
		writing += conn->step == WRITING;
		if (conn->step != FREE && conn->deadline_us < first)
			first = conn->deadline_us;
	}
	polls[CONNECTIONS_MAX] = (struct pollfd){ .fd = serve->stop_fd, .events = POLLIN };
	polls[CONNECTIONS_MAX + 1] =
		(struct pollfd){ .fd = writing < CONNECTIONS_MAX && !resting ? serve->listen_fd
		                                                             : -1,
		                 .events = POLLIN };
	if (resting && serve->rest_until_us < first)
		first = serve->rest_until_us;
	if (first == INT64_MAX)
		return -1;
	return first <= now ? 0 : (int)((first - now) / 1000 + 1);
}

static void step(struct tide_serve *serve, struct connection *conn)
{
	if (conn->step == READING)
		step_read(serve, conn);
	else if (conn->step == WRITING)
		step_write(conn);
	else if (conn->step == LINGERING)
		step_linger(conn);
}

static void *serve_main(void *arg)
{
	struct tide_serve *serve = arg;
	struct pollfd polls[CONNECTIONS_MAX + 2];
	for (;;) {
		int ms = fill_polls(serve, polls);
		if (poll(polls, CONNECTIONS_MAX + 2, ms) < 0 && errno != EINTR)
			break;
		if (polls[CONNECTIONS_MAX].revents != 0)
			break;
		for (int i = 0; i < CONNECTIONS_MAX; i++)
			if (polls[i].fd >= 0 && polls[i].revents != 0)
				step(serve, &serve->connections[i]);
		int64_t now = tide_clock_mono_us();
		for (int i = 0; i < CONNECTIONS_MAX; i++)
			if (serve->connections[i].step != FREE &&
			    serve->connections[i].deadline_us <= now)
				expire(&serve->connections[i]);
		bool more = polls[CONNECTIONS_MAX + 1].revents != 0;
		for (int i = 0; more && i < CONNECTIONS_MAX; i++)
			more = accept_one(serve);
	}
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		if (serve->connections[i].step != FREE)
			connection_close(&serve->connections[i]);
	return NULL;
}

/* "127.0.0.1:4040", "localhost:4040" or "[::1]:4040". */
static int read_listen(const char *listen, struct tide_serve *serve,
                       struct sockaddr_storage *address, socklen_t *size, struct tide_error *err)
{
	const char *colon = strrchr(listen, ':');
	size_t len = colon != NULL ? (size_t)(colon - listen) : 0;
	char *end = NULL;
	long port = colon != NULL ? strtol(colon + 1, &end, 10) : -1;
	if (len == 0 || len >= sizeof serve->host || end == colon + 1 || *end != '\0' || port < 0 ||
	    port > 65535)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "--listen %s: give an address and a port, as in 127.0.0.1:4040",
		                 listen);
	memcpy(serve->host, listen, len);
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	memset(address, 0, sizeof *address);
	if (strcmp(serve->host, "[::1]") == 0) {
		*v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
			                     .sin6_port = htons((uint16_t)port),
			                     .sin6_addr = IN6ADDR_LOOPBACK_INIT };
		*size = sizeof *v6;
		return TIDE_OK;
	}
	bool local = strcmp(serve->host, "localhost") == 0;
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	*size = sizeof *v4;
	if (inet_pton(AF_INET, local ? "127.0.0.1" : serve->host, &v4->sin_addr) == 1 &&
	    ntohl(v4->sin_addr.s_addr) >> 24 == 127)
		return TIDE_OK;
	return tide_fail(
		err, TIDE_ERR_USAGE,
		"--listen %s: the page has no password, so it is only served on this machine; "
		"give 127.0.0.1:%ld, and reach it from elsewhere with "
		"ssh -L %ld:127.0.0.1:%ld HOST",
		listen, port, port, port);
}

static int open_listener(const char *listen_text, struct tide_serve *serve, struct tide_error *err)
{
	struct sockaddr_storage address;
	socklen_t size;
	int one = 1;
	int rc = read_listen(listen_text, serve, &address, &size, err);
	if (rc != TIDE_OK)
		return rc;
	serve->listen_fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (serve->listen_fd < 0)
		return tide_fail(err, TIDE_ERR_UNAVAILABLE, "no socket for %s: %s", listen_text,
		                 strerror(errno));
	setsockopt(serve->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(serve->listen_fd, (struct sockaddr *)&address, size) != 0 ||
	    listen(serve->listen_fd, CONNECTIONS_MAX) != 0) {
		if (errno == EADDRINUSE)
			return tide_fail(err, TIDE_ERR_UNAVAILABLE,
			                 "%s is taken by another program; give another port with "
			                 "--listen, or --no-ui",
			                 listen_text);
		return tide_fail(err, TIDE_ERR_UNAVAILABLE, "cannot listen on %s: %s", listen_text,
		                 strerror(errno));
	}
	size = sizeof address;
	if (getsockname(serve->listen_fd, (struct sockaddr *)&address, &size) != 0)
		return tide_fail(err, TIDE_ERR_UNAVAILABLE, "no address of %s: %s", listen_text,
		                 strerror(errno));
	serve->port =
		ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
	                                            : ((struct sockaddr_in *)&address)->sin_port);
	return TIDE_OK;
}

static void serve_free(struct tide_serve *serve)
{
	if (serve->listen_fd >= 0)
		close(serve->listen_fd);
	if (serve->stop_fd >= 0)
		close(serve->stop_fd);
	free(serve);
}

int tide_serve_start(const struct tide_serve_options *options, struct tide_serve **out,
                     struct tide_error *err)
{
	assert(options->listen != NULL);
	struct tide_serve *serve = calloc(1, sizeof *serve);
	if (serve == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the page's server");
	serve->get = options->get;
	serve->arg = options->arg;
	serve->listen_fd = -1;
	serve->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = open_listener(options->listen, serve, err);
	if (rc == TIDE_OK &&
	    (serve->stop_fd < 0 || pthread_create(&serve->thread, NULL, serve_main, serve) != 0))
		rc = tide_fail(err, TIDE_ERR_UNAVAILABLE, "cannot start the page's server");
	if (rc != TIDE_OK) {
		serve_free(serve);
		return rc;
	}
	*out = serve;
	return TIDE_OK;
}

int tide_serve_port(const struct tide_serve *serve)
{
	return serve->port;
}

void tide_serve_stop(struct tide_serve *serve)
{
	uint64_t one = 1;
	if (serve == NULL)
		return;
	ssize_t n = write(serve->stop_fd, &one, sizeof one);
	assert(n == sizeof one);
	(void)n;
	pthread_join(serve->thread, NULL);
	serve_free(serve);
}
