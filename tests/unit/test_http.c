/* SPDX-License-Identifier: Apache-2.0 */
/* The page's server, asked through real sockets by polite and by rude clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "serve/ask.h"
#include "serve/serve.h"

enum {
	PATIENCE_MS = 20000, /* after which a test has hung */
	LARGE_LINES = 100000
};

static struct tide_serve *serve;

static bool get(void *arg, const char *path, struct tide_buf *body, const char **type)
{
	(void)arg;
	if (strcmp(path, "/echo") == 0) {
		tide_buf_printf(body, "{\"path\":\"%s\"}", path);
		return true;
	}
	if (strcmp(path, "/large") == 0) {
		*type = "text/plain";
		for (int i = 0; i < LARGE_LINES; i++)
			tide_buf_printf(body, "%09d\n", i);
		return true;
	}
	if (strcmp(path, "/nothing") == 0)
		return true;
	return false;
}

static int start(void **state)
{
	(void)state;
	struct tide_error err;
	struct tide_serve_options options = { .listen = "127.0.0.1:0", .get = get };
	return tide_serve_start(&options, &serve, &err);
}

static int stop(void **state)
{
	(void)state;
	tide_serve_stop(serve);
	return 0;
}

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in to = { .sin_family = AF_INET,
		                  .sin_port = htons((uint16_t)tide_serve_port(serve)) };
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

/* Everything until the server hangs up, with a NUL behind it. */
static void read_all(int fd, struct tide_buf *got)
{
	char chunk[65536];
	tide_buf_clear(got);
	for (;;) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
		ssize_t n = recv(fd, chunk, sizeof chunk, 0);
		if (n <= 0)
			break;
		tide_buf_put(got, chunk, (size_t)n);
	}
	tide_buf_u8(got, 0);
	got->len--;
	assert_false(got->failed);
}

/* Sends bytes as they are, reads the answer and hangs up. Returns its status,
 * or 0 if there was none. */
static int ask_bytes(const char *p, size_t len, struct tide_buf *got)
{
	int fd = dial();
	/* The server may have refused before it has read all of it. */
	for (size_t sent = 0; sent < len;) {
		ssize_t n = send(fd, p + sent, len - sent, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	read_all(fd, got);
	close(fd);
	return got->len > 12 && strncmp(got->p, "HTTP/1.1 ", 9) == 0 ? atoi(got->p + 9) : 0;
}

static int ask(const char *request)
{
	struct tide_buf got = { 0 };
	int status = ask_bytes(request, strlen(request), &got);
	tide_buf_fini(&got);
	return status;
}

static int ask_path(const char *method, const char *path, struct tide_buf *got)
{
	char request[1024];
	int len = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
	                   method, path);
	return ask_bytes(request, (size_t)len, got);
}

static const char *body_of(const struct tide_buf *got)
{
	const char *body = strstr(got->p, "\r\n\r\n");
	assert_non_null(body);
	return body + 4;
}

static size_t announced_len(const struct tide_buf *got)
{
	const char *header = strstr(got->p, "Content-Length: ");
	assert_non_null(header);
	return strtoul(header + 16, NULL, 10);
}

static void page_and_its_parts_are_served(void **state)
{
	(void)state;
	static const char *const parts[][3] = { { "/", "text/html", "<!DOCTYPE html>" },
		                                { "/?x=1", "text/html", "/page.js" },
		                                { "/page.css", "text/css", "prefers-color-scheme" },
		                                { "/page.js", "text/javascript",
		                                  "/api/v1/progress" },
		                                { "/icon.svg", "image/svg+xml", "<svg" } };
	struct tide_buf got = { 0 };
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		assert_int_equal(ask_path("GET", parts[i][0], &got), 200);
		char type[64];
		snprintf(type, sizeof type, "Content-Type: %s", parts[i][1]);
		assert_non_null(strstr(got.p, type));
		assert_non_null(strstr(body_of(&got), parts[i][2]));
		assert_int_equal(announced_len(&got), strlen(body_of(&got)));
	}
	tide_buf_fini(&got);
}

/* The policy forbids anything inline and anything from elsewhere; so must the
 * page do without. */
static void page_needs_nothing_inline_and_no_network(void **state)
{
	(void)state;
	static const char *const never[] = { "<style", " style=", "onclick", "onload",
		                             "javascript:" };
	static const char *const paths[] = { "/", "/page.css", "/page.js" };
	struct tide_buf got = { 0 };
	assert_int_equal(ask_path("GET", "/", &got), 200);
	for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
		assert_null(strstr(body_of(&got), never[i]));
	for (const char *p = body_of(&got); (p = strstr(p, "<script")) != NULL; p++)
		assert_int_equal(strncmp(p, "<script src=\"/", 14), 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(ask_path("GET", paths[i], &got), 200);
		const char *body = body_of(&got);
		assert_null(strstr(body, "https://"));
		for (const char *p = body; (p = strstr(p, "http://")) != NULL; p++)
			assert_int_equal(strncmp(p, "http://www.w3.org/2000/svg", 26), 0);
		assert_null(strstr(body, "innerHTML"));
	}
	tide_buf_fini(&got);
}

static void answers_carry_the_headers_that_protect(void **state)
{
	(void)state;
	static const char *const headers[] = { "Content-Security-Policy: default-src 'self';",
		                               "frame-ancestors 'none'",
		                               "X-Content-Type-Options: nosniff\r\n",
		                               "X-Frame-Options: DENY\r\n",
		                               "Referrer-Policy: no-referrer\r\n",
		                               "Cross-Origin-Resource-Policy: same-origin\r\n",
		                               "Cache-Control: no-store\r\n",
		                               "Connection: close\r\n" };
	static const char *const paths[] = { "/", "/echo", "/missing" };
	struct tide_buf got = { 0 };
	for (size_t p = 0; p < 3; p++) {
		ask_path("GET", paths[p], &got);
		for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
			if (strstr(got.p, headers[i]) == NULL)
				fail_msg("%s: no %s", paths[p], headers[i]);
		assert_null(strstr(got.p, "unsafe"));
		assert_null(strstr(got.p, "Access-Control"));
	}
	tide_buf_fini(&got);
}

static void get_is_asked_for_the_rest(void **state)
{
	(void)state;
	struct tide_buf got = { 0 };
	assert_int_equal(ask_path("GET", "/echo?a=/../b", &got), 200);
	assert_string_equal(body_of(&got), "{\"path\":\"/echo\"}");
	assert_non_null(strstr(got.p, "Content-Type: application/json\r\n"));
	assert_int_equal(ask_path("GET", "/nothing", &got), 200);
	assert_int_equal(announced_len(&got), 0);
	assert_int_equal(ask_path("GET", "/missing", &got), 404);
	tide_buf_fini(&got);
}

static void head_has_the_length_and_no_body(void **state)
{
	(void)state;
	static const char *const paths[] = { "/", "/echo", "/missing" };
	struct tide_buf whole = { 0 }, head = { 0 };
	for (size_t i = 0; i < 3; i++) {
		int status = ask_path("GET", paths[i], &whole);
		assert_int_equal(ask_path("HEAD", paths[i], &head), status);
		assert_string_equal(body_of(&head), "");
		assert_int_equal(announced_len(&head), strlen(body_of(&whole)));
	}
	tide_buf_fini(&whole);
	tide_buf_fini(&head);
}

static void other_methods_are_refused(void **state)
{
	(void)state;
	static const char *const methods[] = { "POST",    "PUT",   "DELETE", "OPTIONS", "TRACE",
		                               "CONNECT", "PATCH", "get",    "GETX",    "PRI" };
	struct tide_buf got = { 0 };
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		assert_int_equal(ask_path(methods[i], "/echo", &got), 405);
		assert_non_null(strstr(got.p, "Allow: GET, HEAD\r\n"));
	}
	/* A body is not read, and the answer arrives all the same. */
	assert_int_equal(
		ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"), 405);
	tide_buf_fini(&got);
}

static void only_our_own_names_are_answered(void **state)
{
	(void)state;
	static const char *const good[] = { "127.0.0.1",    "127.0.0.1:4040",  "localhost",
		                            "LocalHost:80", "localhost:65535", "[::1]",
		                            "[::1]:4040",   "  localhost " };
	static const char *const bad[] = { "evil.example",
		                           "evil.example:4040",
		                           "127.0.0.1.evil.example",
		                           "localhost.evil.example",
		                           "localhost:4040.evil.example",
		                           "evil.example:127.0.0.1",
		                           "localhost@evil.example",
		                           "127.0.0.2",
		                           "0.0.0.0",
		                           "[::]",
		                           "::1",
		                           "localhost:123456",
		                           "localhost:x",
		                           "",
		                           "localhost, evil.example",
		                           "2130706433" };
	char request[256];
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		snprintf(request, sizeof request, "GET /echo HTTP/1.1\r\nhOST:%s\r\n\r\n", good[i]);
		if (ask(request) != 200)
			fail_msg("refused %s", good[i]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		snprintf(request, sizeof request, "GET /echo HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
		if (ask(request) != 403)
			fail_msg("answered %s", bad[i]);
	}
	assert_int_equal(ask("GET /echo HTTP/1.1\r\n\r\n"), 400);
	assert_int_equal(ask("GET /echo HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
	                 400);
	assert_int_equal(ask("GET /echo HTTP/1.0\r\n\r\n"), 200);
	assert_int_equal(ask("GET /echo HTTP/1.0\r\nHost: evil.example\r\n\r\n"), 403);
}

static void paths_lead_nowhere_else(void **state)
{
	(void)state;
	static const char *const paths[] = { "/../etc/passwd",
		                             "/..",
		                             "/../",
		                             "/./../etc/passwd",
		                             "/%2e%2e/etc/passwd",
		                             "/..%2fetc/passwd",
		                             "/%2e%2e%2f",
		                             "/..\\etc\\passwd",
		                             "/....//etc/passwd",
		                             "//etc/passwd",
		                             "/page.html",
		                             "/page.css/",
		                             "/page.css%00",
		                             "/src/serve/page.html",
		                             "/%",
		                             "/\x01",
		                             "/\xc3\xa9",
		                             "/a/../b",
		                             "/etc/passwd",
		                             "/proc/self/environ",
		                             "/PAGE.CSS",
		                             "/page.js;x",
		                             "/page.js%0d%0aX-Evil:1" };
	struct tide_buf got = { 0 };
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		if (ask_path("GET", paths[i], &got) != 404)
			fail_msg("%s gave %.12s", paths[i], got.p);
		assert_null(strstr(got.p, "root:"));
	}
	char long_path[600];
	memset(long_path, 'a', sizeof long_path);
	long_path[0] = '/';
	long_path[sizeof long_path - 1] = '\0';
	assert_int_equal(ask_path("GET", long_path, &got), 404);
	tide_buf_fini(&got);
}

static void nonsense_is_refused(void **state)
{
	(void)state;
	static const char host[] = "Host: localhost\r\n\r\n";
	static const struct {
		const char *line;
		int status;
	} cases[] = { { "GET\r\n", 400 },
		      { "GET /echo\r\n", 400 },
		      { " /echo HTTP/1.1\r\n", 400 },
		      { "GET  HTTP/1.1\r\n", 400 },
		      { "GET echo HTTP/1.1\r\n", 400 },
		      { "GET http://localhost/echo HTTP/1.1\r\n", 400 },
		      { "GET * HTTP/1.1\r\n", 400 },
		      { "GET /echo HTTP/2.0\r\n", 505 },
		      { "GET /echo HTTP/1.1 \r\n", 505 },
		      { "GET /echo HTTP/1.1\r\nno colon\r\n", 400 },
		      { "GET /echo HTTP/1.1\r\n: no name\r\n", 400 },
		      { "GET /echo HTTP/1.1\r\nA : b\r\n", 400 },
		      { "GET /echo HTTP/1.1\r\nA: b\r\n folded\r\n", 400 },
		      { "GET /echo HTTP/1.1\nA: b\n", 400 },
		      { "\r\n", 400 } };
	char request[256];
	struct tide_buf got = { 0 };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(request, sizeof request, "%s%s", cases[i].line, host);
		if (ask(request) != cases[i].status)
			fail_msg("case %zu: %s", i, cases[i].line);
	}
	static const char nul[] = "GET /echo HTTP/1.1\r\nA: \0\r\nHost: localhost\r\n\r\n";
	assert_int_equal(ask_bytes(nul, sizeof nul - 1, &got), 400);
	tide_buf_fini(&got);
}

static void giant_headers_are_refused_and_told(void **state)
{
	(void)state;
	enum { SIZE = 200 * 1000 };
	struct tide_buf got = { 0 };
	char *request = malloc(SIZE);
	assert_non_null(request);
	int len = snprintf(request, SIZE, "GET /echo HTTP/1.1\r\nHost: localhost\r\nX: ");
	memset(request + len, 'x', (size_t)(SIZE - len));
	assert_int_equal(ask_bytes(request, SIZE, &got), 431);
	/* Just below the limit it is a request like any other. */
	memcpy(request + 8000, "\r\n\r\n", 4);
	assert_int_equal(ask_bytes(request, 8004, &got), 200);
	free(request);
	tide_buf_fini(&got);
}

static void request_may_come_byte_by_byte(void **state)
{
	(void)state;
	static const char request[] = "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n";
	struct tide_buf got = { 0 };
	int fd = dial();
	for (size_t i = 0; i < sizeof request - 1; i++)
		assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
	read_all(fd, &got);
	assert_int_equal(strncmp(got.p, "HTTP/1.1 200 ", 13), 0);
	close(fd);
	tide_buf_fini(&got);
}

/* Time passes for the server when the test says so; another client's request
 * makes it look at the clock. */
static void slow_client_is_shown_the_door(void **state)
{
	(void)state;
	struct tide_buf got = { 0 };
	int64_t now = tide_clock_mono_us();
	tide_clock_set(now);
	int slow = dial(), silent = dial();
	assert_int_equal(send(slow, "GET / HT", 8, MSG_NOSIGNAL), 8);
	assert_int_equal(ask("GET /echo HTTP/1.0\r\n\r\n"), 200);
	tide_clock_set(now + 4000000);
	assert_int_equal(send(slow, "T", 1, MSG_NOSIGNAL), 1); /* buys no time */
	assert_int_equal(ask("GET /echo HTTP/1.0\r\n\r\n"), 200);
	tide_clock_set(now + 6000000);
	assert_int_equal(ask("GET /echo HTTP/1.0\r\n\r\n"), 200);
	read_all(slow, &got);
	assert_int_equal(strncmp(got.p, "HTTP/1.1 408 ", 13), 0);
	read_all(silent, &got);
	assert_int_equal(got.len, 0);
	tide_clock_set(-1);
	close(slow);
	close(silent);
	tide_buf_fini(&got);
}

static void crowd_of_idle_clients_keeps_nobody_out(void **state)
{
	(void)state;
	enum { CROWD = 300 };
	int fds[CROWD];
	for (int i = 0; i < CROWD; i++) {
		fds[i] = dial();
		send(fds[i], "GET /", 5, MSG_NOSIGNAL);
	}
	assert_int_equal(ask("GET /echo HTTP/1.0\r\n\r\n"), 200);
	for (int i = 0; i < CROWD; i++)
		close(fds[i]);
	assert_int_equal(ask("GET /echo HTTP/1.0\r\n\r\n"), 200);
}

static void large_answer_arrives_whole(void **state)
{
	(void)state;
	struct tide_buf got = { 0 };
	assert_int_equal(ask_path("GET", "/large", &got), 200);
	const char *p = body_of(&got);
	for (int i = 0; i < LARGE_LINES; i++, p += 10)
		if (atoi(p) != i)
			fail_msg("line %d is %.9s", i, p);
	assert_int_equal(*p, '\0');
	tide_buf_fini(&got);
}

static void *client_main(void *arg)
{
	struct tide_buf got = { 0 };
	int *good = arg;
	for (int i = 0; i < 50; i++) {
		bool large = i % 25 == 0;
		if (ask_path("GET", large ? "/large" : "/", &got) == 200 &&
		    announced_len(&got) == strlen(body_of(&got)))
			++*good;
	}
	tide_buf_fini(&got);
	return NULL;
}

static void clients_at_once_all_get_answers(void **state)
{
	(void)state;
	enum { CLIENTS = 16 };
	pthread_t threads[CLIENTS];
	int good[CLIENTS] = { 0 };
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, client_main, &good[i]), 0);
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(good[i], 50);
	}
}

static void stop_does_not_wait_for_clients(void **state)
{
	(void)state;
	struct tide_error err;
	struct tide_serve *kept = serve;
	struct tide_serve_options options = { .listen = "localhost:0", .get = get };
	struct tide_buf got = { 0 };
	assert_int_equal(tide_serve_start(&options, &serve, &err), TIDE_OK);
	int silent = dial(), half = dial(), unread = dial();
	send(half, "GET / HTTP", 10, MSG_NOSIGNAL);
	send(unread, "GET /large HTTP/1.0\r\n\r\n", 23, MSG_NOSIGNAL);
	assert_int_equal(ask("GET /echo HTTP/1.0\r\n\r\n"), 200);
	tide_serve_stop(serve);
	serve = kept;
	read_all(silent, &got);
	assert_int_equal(got.len, 0);
	close(silent);
	close(half);
	close(unread);
	tide_buf_fini(&got);
	tide_serve_stop(NULL);
}

static void addresses_from_elsewhere_are_refused(void **state)
{
	(void)state;
	static const char *const listens[] = {
		"0.0.0.0:0",       "192.168.1.1:0", "[::]:0", "*:0",        "example.org:0",
		"10.0.0.1:0",      "127.0.0.1",     ":0",     "127.0.0.1:", "127.0.0.1:x",
		"127.0.0.1:65536", "127.0.0.1:-1",  "",       "4040"
	};
	for (size_t i = 0; i < sizeof listens / sizeof listens[0]; i++) {
		struct tide_error err = { 0 };
		struct tide_serve *none = NULL;
		struct tide_serve_options options = { .listen = listens[i] };
		if (tide_serve_start(&options, &none, &err) != TIDE_ERR_USAGE)
			fail_msg("took %s", listens[i]);
		assert_null(none);
		assert_non_null(strstr(err.text, "127.0.0.1"));
	}
}

static void taken_port_is_named(void **state)
{
	(void)state;
	char listen[32];
	struct tide_error err = { 0 };
	struct tide_serve *none = NULL;
	struct tide_serve_options options = { .listen = listen };
	snprintf(listen, sizeof listen, "127.0.0.1:%d", tide_serve_port(serve));
	assert_int_equal(tide_serve_start(&options, &none, &err), TIDE_ERR_UNAVAILABLE);
	assert_non_null(strstr(err.text, listen));
	assert_non_null(strstr(err.text, "taken"));
}

static void a_page_of_this_machine_can_be_asked(void **state)
{
	(void)state;
	struct tide_error err;
	struct tide_buf body = { 0 };
	char listen[64];
	snprintf(listen, sizeof listen, "127.0.0.1:%d", tide_serve_port(serve));
	assert_int_equal(tide_serve_ask(listen, "/echo", &body, &err), TIDE_OK);
	assert_int_equal(body.len, strlen("{\"path\":\"/echo\"}"));
	tide_buf_clear(&body);
	assert_int_equal(tide_serve_ask(listen, "/large", &body, &err), TIDE_OK);
	assert_int_equal(body.len, 10 * LARGE_LINES);
	tide_buf_clear(&body);
	assert_int_equal(tide_serve_ask(listen, "/none", &body, &err), TIDE_ERR_UNAVAILABLE);
	assert_non_null(strstr(err.text, "is no job, or an older one"));
	tide_serve_stop(serve);
	serve = NULL;
	assert_int_equal(tide_serve_ask(listen, "/echo", &body, &err), TIDE_ERR_UNAVAILABLE);
	assert_non_null(strstr(err.text, "nothing listens there"));
	assert_int_equal(tide_serve_ask("nonsense", "/", &body, &err), TIDE_ERR_UNAVAILABLE);
	assert_int_equal(body.len, 0);
	tide_buf_fini(&body);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(page_and_its_parts_are_served),
		cmocka_unit_test(page_needs_nothing_inline_and_no_network),
		cmocka_unit_test(answers_carry_the_headers_that_protect),
		cmocka_unit_test(get_is_asked_for_the_rest),
		cmocka_unit_test(head_has_the_length_and_no_body),
		cmocka_unit_test(other_methods_are_refused),
		cmocka_unit_test(only_our_own_names_are_answered),
		cmocka_unit_test(paths_lead_nowhere_else),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(giant_headers_are_refused_and_told),
		cmocka_unit_test(request_may_come_byte_by_byte),
		cmocka_unit_test(slow_client_is_shown_the_door),
		cmocka_unit_test(crowd_of_idle_clients_keeps_nobody_out),
		cmocka_unit_test(large_answer_arrives_whole),
		cmocka_unit_test(clients_at_once_all_get_answers),
		cmocka_unit_test(stop_does_not_wait_for_clients),
		cmocka_unit_test(addresses_from_elsewhere_are_refused),
		cmocka_unit_test(taken_port_is_named),
		cmocka_unit_test(a_page_of_this_machine_can_be_asked),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
