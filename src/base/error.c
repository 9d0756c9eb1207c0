/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: filled where something goes wrong, read where a person is told. */
#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Copies text, cut at a whole character when it does not fit. */
static void text_set(struct tide_error *err, const char *text)
{
	size_t len = strlen(text);
	if (len >= sizeof err->text) {
		len = sizeof err->text - 1;
		while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
			len--;
	}
	memmove(err->text, text, len);
	err->text[len] = '\0';
}

int tide_fail(struct tide_error *err, int status, const char *fmt, ...)
{
	assert(status < 0);
	if (err == NULL)
		return status;
	/* Formatted aside, because callers pass err->text as an argument. */
	char text[sizeof err->text + 4];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	text_set(err, text);
	err->status = status;
	return status;
}

int tide_fail_within(struct tide_error *err, const char *fmt, ...)
{
	assert(err != NULL && err->status < 0);
	char text[2 * sizeof err->text + 4];
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(text, sizeof err->text, fmt, ap);
	va_end(ap);
	size_t at = len < 0 ? 0 : (size_t)len;
	if (at >= sizeof err->text)
		at = sizeof err->text - 1;
	snprintf(text + at, sizeof text - at, ": %s", err->text);
	text_set(err, text);
	return err->status;
}

int tide_exit_code(int status)
{
	switch (status) {
	case TIDE_OK:
	case TIDE_ERR_STOPPED: return 0;
	case TIDE_ERR_USAGE: return 2;
	case TIDE_ERR_SCRIPT: return 3;
	case TIDE_ERR_DIFFER: return 4;
	case TIDE_ERR_CHECKPOINT: return 5;
	case TIDE_ERR_DATA_LOSS: return 6;
	case TIDE_ERR_UNAVAILABLE: return 7;
	default: return 1;
	}
}
