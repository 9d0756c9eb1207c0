/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an HTTP request: what is answered has a plain path and calls us by
 * a name of ours, however it came in pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "samples.h"
#include "serve/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char own_host[] = "127.0.0.5";

static const char *const samples[] = {
	"GET /api/v1/progress?since=7 HTTP/1.1\r\nHost: localhost:4040\r\nAccept: */*\r\n\r\n",
	"HEAD / HTTP/1.0\r\n\r\n",
	"GET /page.css HTTP/1.1\r\nHost: [::1]\r\nCookie: a=b\r\n\r\n",
};

static void require(int holds)
{
	if (!holds)
		abort();
}

static void check_path(const char *path)
{
	require(path[0] == '/' && strstr(path, "..") == NULL);
	require(strspn(path,
	               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/") ==
	        strlen(path));
}

/* Some line of it names a host that is ours. */
static int names_us(const char *p, size_t len)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost", "[::1]", own_host };
	for (size_t i = 0; i + 5 < len; i++) {
		if (strncasecmp(p + i, "host:", 5) != 0)
			continue;
		size_t at = i + 5;
		while (at < len && (p[at] == ' ' || p[at] == '\t'))
			at++;
		for (size_t k = 0; k < sizeof hosts / sizeof hosts[0]; k++)
			if (len - at >= strlen(hosts[k]) &&
			    strncasecmp(p + at, hosts[k], strlen(hosts[k])) == 0)
				return 1;
	}
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return mutate_sample(samples, sizeof samples / sizeof samples[0], data, size, max_size,
	                     seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tide_request request;
	if (size == 0 || size > TIDE_REQUEST_BYTES_MAX)
		return 0;
	char *bytes = malloc(size); /* exactly: one byte more is found */
	require(bytes != NULL);
	memcpy(bytes, data, size);
	size_t end = tide_request_end(bytes, size);
	require(end <= size);
	/* A piece of it ends where the whole does, or not yet. */
	for (size_t cut = 0; end > 0 && cut < end; cut += 1 + end / 16)
		require(tide_request_end(bytes, cut) == 0);
	tide_request_read(bytes, end > 0 ? end : size, own_host, &request);
	require(memchr(request.path, '\0', sizeof request.path) != NULL);
	if (request.status == 200) {
		check_path(request.path);
		require(memchr(bytes, '\0', end > 0 ? end : size) == NULL);
		require(names_us(bytes, size) || memmem(bytes, size, "HTTP/1.0", 8) != NULL);
	} else {
		require(request.status >= 400 && request.status < 600 && request.why != NULL);
	}
	free(bytes);
	return 0;
}
