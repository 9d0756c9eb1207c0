/* SPDX-License-Identifier: Apache-2.0 */
/* See control.h. A socket's path has room for some hundred bytes and a folder's
 * may be longer, so it is reached through a descriptor of the folder. */
#include "run/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/shadow.h"

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

/* One line, or false: whoever it is does not keep us waiting, nor byte by byte. */
static bool read_line(int fd, char *line, size_t size)
{
	int64_t until_us = tide_clock_mono_us() + LINE_MS_MAX * INT64_C(1000), left_ms;
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	while (len + 1 < size && (left_ms = (until_us - tide_clock_mono_us()) / 1000) > 0 &&
	       poll(&ready, 1, (int)left_ms) == 1) {
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

/* ---- what the lines say ---- */

bool tide_control_parse(const char *line, struct tide_control_request *request)
{
	static const char reload[] = "reload", shadow[] = " shadow=", max[] = " max=";
	*request = (struct tide_control_request){ 0 };
	if (strncmp(line, reload, sizeof reload - 1) != 0)
		return false;
	line += sizeof reload - 1;
	if (*line == '\0')
		return true;
	if (strncmp(line, shadow, sizeof shadow - 1) != 0)
		return false;
	line += sizeof shadow - 1;
	size_t digits = strspn(line, "0123456789");
	long epochs = digits > 0 && digits < 9 ? strtol(line, NULL, 10) : 0;
	line += digits;
	if (epochs < 1 || epochs > TIDE_SHADOW_EPOCHS_MAX)
		return false;
	request->epochs = (int)epochs;
	if (*line == '\0')
		return true;
	if (strncmp(line, max, sizeof max - 1) != 0)
		return false;
	line += sizeof max - 1;
	size_t share = strspn(line, "0123456789.e+-");
	if (share == 0 || share + 1 >= sizeof request->max_diff || strcmp(line + share, "%") != 0)
		return false;
	memcpy(request->max_diff, line, share + 2);
	return true;
}

/* "hot -4 text": the end of an answer. */
static int read_done(char *line, FILE *out, struct tide_error *err)
{
	char change[16];
	int status = TIDE_OK, taken = 0;
	if (sscanf(line, "%15s %d %n", change, &status, &taken) != 2 || taken == 0 || status > 0 ||
	    status < TIDE_ERR_STOPPED)
		return tide_fail(err, TIDE_ERR_FAILED, "the job gave an answer of another version");
	char *text = line + taken;
	for (char *p = text; *p != '\0'; p++)
		if (*p == '\v')
			*p = '\n';
	if (status != TIDE_OK)
		return tide_fail(err, status, "%s: %s", change, text);
	fprintf(out, "%s\n", text);
	return TIDE_OK;
}

int tide_control_hear(FILE *in, FILE *out, struct tide_error *err)
{
	char *line = NULL;
	size_t size = 0;
	int rc = TIDE_OK;
	bool done = false;
	while (!done && getline(&line, &size, in) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		done = strncmp(line, "done ", 5) == 0;
		if (done)
			rc = read_done(line + 5, out, err);
		else if (strncmp(line, "= ", 2) == 0)
			fprintf(out, "%s\n", line + 2);
		else
			tide_log(TIDE_INFO, "%s", line);
	}
	free(line);
	return done ? rc : tide_fail(err, TIDE_ERR_UNAVAILABLE, "the job ended before it answered");
}
