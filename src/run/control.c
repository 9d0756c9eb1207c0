/* SPDX-License-Identifier: Apache-2.0 */
/* See control.h. A socket's path has room for some hundred bytes and a folder's
 * may be longer, so it is reached through a descriptor of the folder. */
#include "run/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE_MS_MAX = 1000, QUEUE = 8 };

static const char name[] = "control";

/* The folder's descriptor, or -1. */
static int address_of(const char *dir, struct sockaddr_un *address)
{
	int folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (folder >= 0)
		snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", folder,
		         name);
	return folder;
}

int tide_control_listen(const char *dir, int *out, struct tide_error *err)
{
	struct sockaddr_un address;
	int folder = address_of(dir, &address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool ok = folder >= 0 && fd >= 0 && (unlinkat(folder, name, 0) == 0 || errno == ENOENT) &&
	          bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
	          fchmodat(folder, name, 0600, 0) == 0 && listen(fd, QUEUE) == 0;
	int rc = ok ? TIDE_OK
	            : tide_fail(err, TIDE_ERR_IO, "%s/%s: cannot listen there: %s", dir, name,
	                        strerror(errno));
	if (folder >= 0)
		close(folder);
	if (!ok && fd >= 0)
		close(fd);
	*out = ok ? fd : -1;
	return rc;
}

void tide_control_close(const char *dir, int fd)
{
	if (fd < 0)
		return;
	int folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder >= 0) {
		unlinkat(folder, name, 0);
		close(folder);
	}
	close(fd);
}

/* One line, or false: whoever it is does not keep us waiting. */
static bool read_line(int fd, char *line, size_t size)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	while (len + 1 < size && poll(&ready, 1, LINE_MS_MAX) == 1) {
		ssize_t got = read(fd, line + len, 1);
		if (got != 1)
			return false;
		if (line[len] == '\n') {
			line[len] = '\0';
			return true;
		}
		len++;
	}
	return false;
}

FILE *tide_control_accept(int fd, char *line, size_t size)
{
	int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (got < 0)
		return NULL;
	FILE *asker = read_line(got, line, size) ? fdopen(got, "w") : NULL;
	if (asker == NULL)
		close(got);
	return asker;
}

int tide_control_ask(const char *dir, const char *line, FILE **out, struct tide_error *err)
{
	struct sockaddr_un address;
	int folder = address_of(dir, &address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool there = folder >= 0 && fd >= 0 &&
	             connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
	int why = errno;
	if (folder >= 0)
		close(folder);
	FILE *answer = there ? fdopen(fd, "r+") : NULL;
	if (answer != NULL && fprintf(answer, "%s\n", line) > 0 && fflush(answer) == 0) {
		*out = answer;
		return TIDE_OK;
	}
	if (answer != NULL)
		fclose(answer);
	else if (fd >= 0)
		close(fd);
	return tide_fail(
		err, TIDE_ERR_UNAVAILABLE,
		"no job runs with the checkpoint %s (%s); is this its --checkpoint-dir, and "
		"does it run on this machine?",
		dir, strerror(why));
}
