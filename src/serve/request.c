/* SPDX-License-Identifier: Apache-2.0 */
/* Reads HTTP/1 requests, strictly: what is unusual is refused and not guessed. */
#include "serve/request.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

/* A piece of the request, not NUL-terminated. */
struct piece {
	const char *p;
	size_t len;
};

static bool piece_is(struct piece piece, const char *text)
{
	return piece.len == strlen(text) && memcmp(piece.p, text, piece.len) == 0;
}

static bool piece_is_name(struct piece piece, const char *text)
{
	return piece.len == strlen(text) && strncasecmp(piece.p, text, piece.len) == 0;
}

/* Takes what is before the first `c` off the front, and the `c`. */
static bool piece_cut(struct piece *from, char c, struct piece *out)
{
	const char *at = memchr(from->p, c, from->len);
	if (at == NULL)
		return false;
	*out = (struct piece){ from->p, (size_t)(at - from->p) };
	from->len -= out->len + 1;
	from->p = at + 1;
	return true;
}

static struct piece piece_trim(struct piece piece)
{
	while (piece.len > 0 && (*piece.p == ' ' || *piece.p == '\t')) {
		piece.p++;
		piece.len--;
	}
	while (piece.len > 0 && (piece.p[piece.len - 1] == ' ' || piece.p[piece.len - 1] == '\t'))
		piece.len--;
	return piece;
}

static void refuse(struct tide_request *request, int status, const char *why)
{
	if (request->status == 200) {
		request->status = status;
		request->why = why;
	}
}

size_t tide_request_end(const char *p, size_t len)
{
	const char *end = memmem(p, len, "\r\n\r\n", 4);
	return end != NULL ? (size_t)(end - p) + 4 : 0;
}

static bool is_path_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-._~/", c) != NULL);
}

static void read_path(struct piece target, struct tide_request *request)
{
	struct piece path = target, before_query;
	if (piece_cut(&target, '?', &before_query))
		path = before_query;
	if (path.len == 0 || path.p[0] != '/') {
		refuse(request, 400, "A request names a path, as in GET /api/v1/progress.");
		return;
	}
	/* Nothing that we serve is called so; whatever it was meant to reach. */
	bool plain = path.len < sizeof request->path && memmem(path.p, path.len, "..", 2) == NULL;
	for (size_t i = 0; plain && i < path.len; i++)
		plain = is_path_char(path.p[i]);
	if (!plain) {
		refuse(request, 404, "There is nothing at this path.");
		return;
	}
	memcpy(request->path, path.p, path.len);
	request->path[path.len] = '\0';
}

/* A name we go by, with or without a port: anything else reached us through
 * somebody else's DNS. */
static bool is_own_host(struct piece host, const char *own_host)
{
	static const char *const names[] = { "127.0.0.1", "localhost", "[::1]" };
	size_t colon = host.len;
	while (colon > 0 && host.p[colon - 1] >= '0' && host.p[colon - 1] <= '9')
		colon--;
	if (colon > 0 && host.p[colon - 1] == ':' && host.len - colon <= 5)
		host.len = colon - 1;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (piece_is_name(host, names[i]))
			return true;
	return piece_is_name(host, own_host);
}

/* Only Host matters to us, but a header must look like one. Returns how many
 * times Host was given. */
static int read_headers(struct piece rest, const char *own_host, struct tide_request *request)
{
	struct piece line, name;
	int hosts = 0;
	while (piece_cut(&rest, '\n', &line)) {
		if (line.len == 0 || line.p[line.len - 1] != '\r')
			refuse(request, 400, "A header line ends in CR LF.");
		else
			line.len--;
		if (line.len == 0)
			continue;
		if (!piece_cut(&line, ':', &name) || name.len == 0 ||
		    memchr(name.p, ' ', name.len)) {
			refuse(request, 400, "A header has a name, a colon and a value.");
			continue;
		}
		if (!piece_is_name(name, "Host"))
			continue;
		hosts++;
		if (!is_own_host(piece_trim(line), own_host))
			refuse(request, 403,
			       "This server answers only to 127.0.0.1, localhost and "
			       "[::1]; use one of them as the address.");
	}
	return hosts;
}

void tide_request_read(const char *p, size_t len, const char *own_host,
                       struct tide_request *request)
{
	assert(len > 0 && own_host != NULL);
	struct piece rest = { p, len }, line, method, target;
	*request = (struct tide_request){ .status = 200 };
	if (memchr(p, '\0', len) != NULL)
		refuse(request, 400, "A request holds no NUL.");
	if (!piece_cut(&rest, '\n', &line)) {
		refuse(request, 400, "A request line ends in CR LF.");
		return;
	}
	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	if (!piece_cut(&line, ' ', &method) || !piece_cut(&line, ' ', &target) || method.len == 0) {
		refuse(request, 400, "A request line is a method, a path and HTTP/1.1.");
		return;
	}
	bool newer = piece_is(line, "HTTP/1.1");
	if (!newer && !piece_is(line, "HTTP/1.0"))
		refuse(request, 505, "This server speaks HTTP/1.1 and HTTP/1.0.");
	int hosts = read_headers(rest, own_host, request);
	if (hosts > 1 || (hosts == 0 && newer))
		refuse(request, 400, "A request has one Host header.");
	request->head = piece_is(method, "HEAD");
	if (!request->head && !piece_is(method, "GET"))
		refuse(request, 405, "This server only answers GET and HEAD.");
	read_path(target, request);
}
