/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one write a line, and a status line that stays below it. */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

static const char ERASE[] = "\r\033[K";

/* One log a process: stderr is one. The lock guards all of it. */
static struct {
	pthread_mutex_t lock;
	struct tide_log_options options;
	struct tide_buf status;
	struct tide_buf out; /* of the line being written; kept for its memory */
	int paused;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER, .options = { .level = TIDE_INFO } };

void tide_log_init(const struct tide_log_options *options)
{
	assert(options != NULL);
	pthread_mutex_lock(&state.lock);
	state.options = *options;
	state.options.color = options->color && options->terminal;
	tide_buf_fini(&state.status);
	tide_buf_fini(&state.out);
	state.paused = 0;
	pthread_mutex_unlock(&state.lock);
}

enum tide_level tide_log_level(enum tide_level level)
{
	pthread_mutex_lock(&state.lock);
	enum tide_level before = state.options.level;
	state.options.level = level;
	pthread_mutex_unlock(&state.lock);
	return before;
}

/* A log that cannot be written has nobody left to tell. */
static void out_flush(void)
{
	const char *p = state.out.p;
	size_t left = state.out.len;
	while (left > 0) {
		ssize_t n = write(STDERR_FILENO, p, left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		p += n;
		left -= (size_t)n;
	}
	tide_buf_clear(&state.out);
}

static void out_str(const char *s)
{
	tide_buf_put(&state.out, s, strlen(s));
}

/* Text without control characters: a record's bytes in a message must not be
 * able to drive the terminal. Nor bytes that are no UTF-8: without it, some of
 * them are control characters. */
static void out_clean(const char *p, size_t len, bool lines)
{
	for (size_t i = 0, n; i < len; i += n) {
		unsigned char c = (unsigned char)p[i];
		size_t known = tide_utf8_len(p + i, len - i);
		n = known > 0 ? known : 1;
		if (lines ? c == '\n' || c == '\t' : false)
			tide_buf_put(&state.out, p + i, 1);
		else if (c == '\n' || c == '\t' || c == '\r')
			out_str(" ");
		else if (known == 0 || tide_utf8_steers(p + i, n))
			tide_buf_printf(&state.out, "\\x%02X", (unsigned char)p[i + n - 1]);
		else
			tide_buf_put(&state.out, p + i, n);
	}
}

/* The bytes of `line` that fit the terminal: a line that wraps could not be
 * removed again. */
static size_t status_fits(const char *line, size_t len)
{
	struct winsize size = { 0 };
	size_t columns = 80;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		columns = size.ws_col;
	size_t seen = 0;
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)line[i] & 0xC0) != 0x80 && ++seen >= columns)
			return i;
	return len;
}

static bool status_shown(void)
{
	return state.options.terminal && state.paused == 0 && state.status.len > 0;
}

static void status_draw(void)
{
	if (status_shown())
		out_clean(state.status.p, status_fits(state.status.p, state.status.len), false);
}

static void status_erase(void)
{
	if (status_shown())
		out_str(ERASE);
}

static void line_text(enum tide_level level, const char *text, size_t len)
{
	static const char *const names[] = { "DEBUG", "INFO ", "WARN ", "ERROR" };
	static const char *const colors[] = { "\033[2m", "", "\033[33m", "\033[31m" };
	int64_t us = tide_clock_us();
	time_t second = (time_t)(us / 1000000);
	struct tm tm;
	localtime_r(&second, &tm);
	tide_buf_printf(&state.out, "%02d:%02d:%02d.%03d ", tm.tm_hour, tm.tm_min, tm.tm_sec,
	                (int)(us / 1000 % 1000));
	bool color = state.options.color && *colors[level] != '\0';
	if (color)
		out_str(colors[level]);
	out_str(names[level]);
	if (color)
		out_str("\033[0m");
	out_str(" ");
	out_clean(text, len, true);
}

static void line_json(enum tide_level level, const char *text, size_t len)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	char when[32];
	tide_clock_format_ms(tide_clock_us() / 1000, when, sizeof when);
	tide_buf_printf(&state.out, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", when,
	                names[level]);
	tide_buf_json(&state.out, text, len);
	out_str("}");
}

void tide_log(enum tide_level level, const char *fmt, ...)
{
	assert(level >= TIDE_DEBUG && level <= TIDE_ERROR);
	struct tide_buf text = { 0 };
	pthread_mutex_lock(&state.lock);
	if (level < state.options.level)
		goto out;
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int len = vsnprintf(NULL, 0, fmt, ap);
	if (len >= 0 && tide_buf_reserve(&text, (size_t)len + 1))
		vsnprintf(text.p, (size_t)len + 1, fmt, again);
	va_end(again);
	va_end(ap);
	/* Without memory the bare format still tells where things stood. */
	const char *p = text.p != NULL ? text.p : fmt;
	size_t size = text.p != NULL ? (size_t)len : strlen(fmt);
	while (size > 0 && p[size - 1] == '\n')
		size--;
	status_erase();
	if (state.options.json)
		line_json(level, p, size);
	else
		line_text(level, p, size);
	out_str("\n");
	status_draw();
	out_flush();
out:
	pthread_mutex_unlock(&state.lock);
	tide_buf_fini(&text);
}

void tide_log_status(const char *line)
{
	assert(line != NULL);
	pthread_mutex_lock(&state.lock);
	if (state.options.terminal) {
		status_erase();
		tide_buf_clear(&state.status);
		tide_buf_put(&state.status, line, strlen(line));
		status_draw();
		out_flush();
	}
	pthread_mutex_unlock(&state.lock);
}

void tide_log_pause(void)
{
	pthread_mutex_lock(&state.lock);
	status_erase();
	state.paused++;
	out_flush();
	pthread_mutex_unlock(&state.lock);
}

void tide_log_resume(void)
{
	pthread_mutex_lock(&state.lock);
	assert(state.paused > 0);
	state.paused--;
	status_draw();
	out_flush();
	pthread_mutex_unlock(&state.lock);
}
