/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a word with a running job, over its socket: the line arrives as it
 * was sent or not at all, and an answer is an error or a text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "run/control.h"
#include "run/shadow.h"
#include "samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINE_MAX = 256 };

static const char *const samples[] = {
	"reload shadow=10 max=0.5%",
	"epoch 7 of 10\n= 3 rows differ\ndone hot 0 version 1 runs\vfrom epoch 7 on\n",
	"done cold -5 the key is another\n",
};

static char dir[] = "/tmp/tide_fuzz_XXXXXX";
static int listener = -1;

static void require(int holds)
{
	if (!holds)
		abort();
}

static void stop_listening(void)
{
	tide_control_close(dir, listener);
	rmdir(dir);
}

static void start_listening(void)
{
	struct tide_log_options quiet = { .level = TIDE_ERROR };
	tide_log_init(&quiet);
	require(mkdtemp(dir) != NULL);
	require(tide_control_listen(dir, &listener, NULL) == TIDE_OK);
	require(atexit(stop_listening) == 0);
}

static void check_request(const char *line)
{
	struct tide_control_request request;
	if (!tide_control_parse(line, &request))
		return;
	char again[LINE_MAX];
	require(request.epochs >= 0 && request.epochs <= TIDE_SHADOW_EPOCHS_MAX);
	require(request.max_diff[0] == '\0' || request.epochs > 0);
	/* Nothing of the line is left out, but zeroes before a number. */
	snprintf(again, sizeof again, " max=%s", request.max_diff);
	require(strncmp(line, "reload", 6) == 0);
	require(request.max_diff[0] == '\0' || strstr(line, again) != NULL);
}

/* `sent` is a line without its end. */
static void try_line(const char *sent)
{
	char line[LINE_MAX];
	FILE *client = NULL;
	require(tide_control_ask(dir, sent, &client, NULL) == TIDE_OK);
	FILE *server = tide_control_accept(listener, line, sizeof line);
	require((server != NULL) == (strcspn(sent, "\n") + 1 < sizeof line));
	if (server != NULL) {
		require(strncmp(line, sent, strlen(line)) == 0);
		fclose(server);
	}
	fclose(client);
}

static void try_answer(const uint8_t *data, size_t size, FILE *out)
{
	struct tide_error err = { 0 };
	FILE *in = fmemopen((void *)(uintptr_t)data, size, "r");
	require(in != NULL);
	int rc = tide_control_hear(in, out, &err);
	require(rc == TIDE_OK || (rc >= TIDE_ERR_STOPPED && err.text[0] != '\0'));
	fclose(in);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return mutate_sample(samples, sizeof samples / sizeof samples[0], data, size, max_size,
	                     seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *out;
	if (listener < 0)
		start_listening();
	if (out == NULL)
		out = fopen("/dev/null", "w");
	char *text = malloc(size + 1);
	require(text != NULL && out != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	check_request(text);
	if (size > 0 && data[0] % 8 == 0)
		try_line(text);
	if (size > 0)
		try_answer(data, size, out);
	free(text);
	return 0;
}
