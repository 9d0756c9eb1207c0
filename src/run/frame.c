/* SPDX-License-Identifier: Apache-2.0 */
/* What `tidemark dev` shows of one try. */
#include "run/frame.h"

#include <ctype.h>
#include <string.h>

/* The front of a line of the log: "07:28:14.336 INFO  ". */
static const struct {
	const char *level, *says;
} levels[] = {
	{ "DEBUG ", "" },
	{ "INFO  ", "" },
	{ "WARN  ", "warning: " },
	{ "ERROR ", "error: " },
};
enum { TIME_LEN = 13, LEVEL_LEN = 6, COLUMNS_MIN = 20, ROWS_MIN = 3 };

static bool is_time(struct tide_slice line)
{
	static const char shape[] = "00:00:00.000 ";
	if (line.len < TIME_LEN + LEVEL_LEN)
		return false;
	for (size_t i = 0; i < TIME_LEN; i++)
		if (shape[i] == '0' ? !isdigit((unsigned char)line.p[i]) : shape[i] != line.p[i])
			return false;
	return true;
}

/* The log without its times: a try is over before they differ. */
static void put_log(struct tide_slice log, struct tide_buf *out)
{
	const char *end = log.p + log.len;
	for (const char *at = log.p; at < end;) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *next = newline != NULL ? newline + 1 : end;
		struct tide_slice line = { at, (size_t)(next - at) };
		for (size_t i = 0; is_time(line) && i < sizeof levels / sizeof levels[0]; i++) {
			if (strncmp(line.p + TIME_LEN, levels[i].level, LEVEL_LEN) != 0)
				continue;
			tide_buf_printf(out, "%s", levels[i].says);
			line.p += TIME_LEN + LEVEL_LEN;
			line.len -= TIME_LEN + LEVEL_LEN;
			break;
		}
		tide_buf_put(out, line.p, line.len);
		at = next;
	}
	if (log.len > 0 && end[-1] != '\n')
		tide_buf_u8(out, '\n');
}

/* --- a terminal --------------------------------------------------------------------- */

/* How many of its lines a text line of so many bytes takes. */
static int height_of(const char *p, size_t len, int columns)
{
	size_t width = 0;
	for (size_t i = 0; i < len; i++)
		width += ((unsigned char)p[i] & 0xc0) != 0x80;
	return width == 0 ? 1 : (int)((width - 1) / (size_t)columns) + 1;
}

static size_t line_len(struct tide_slice text)
{
	const char *newline = memchr(text.p, '\n', text.len);
	return newline != NULL ? (size_t)(newline - text.p) : text.len;
}

static void skip_line(struct tide_slice *text, size_t len)
{
	size_t taken = len < text->len ? len + 1 : len;
	text->p += taken;
	text->len -= taken;
}

static int heights(struct tide_slice text, int columns)
{
	int sum = 0;
	while (text.len > 0) {
		size_t len = line_len(text);
		sum += height_of(text.p, len, columns);
		skip_line(&text, len);
	}
	return sum;
}

/* What a job prints must not move the cursor. */
static void put_plain(struct tide_buf *out, const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)p[i];
		tide_buf_u8(out, c == '\t' ? ' ' : c < 0x20 || c == 0x7f ? '?' : c);
	}
}

/* Lines as long as they fit into `room`, and how many there are more. */
static int put_lines(struct tide_slice text, int room, int columns, struct tide_buf *out)
{
	int used = 0, hidden = 0;
	bool all = heights(text, columns) <= room;
	while (text.len > 0) {
		size_t len = line_len(text);
		int height = height_of(text.p, len, columns);
		if (hidden > 0 || used + height > room - !all) {
			hidden++;
		} else {
			put_plain(out, text.p, len);
			tide_buf_printf(out, "\033[K\n");
			used += height;
		}
		skip_line(&text, len);
	}
	if (hidden > 0)
		tide_buf_printf(out, "... %d more line%s\033[K\n", hidden, hidden == 1 ? "" : "s");
	return used + (hidden > 0);
}

static struct tide_slice slice_of(const struct tide_buf *buf)
{
	return (struct tide_slice){ buf->p, buf->len };
}

static void put_terminal(const struct tide_frame *frame, const struct tide_buf *log, int lines,
                         int columns, struct tide_buf *out)
{
	columns = columns < COLUMNS_MIN ? COLUMNS_MIN : columns;
	int room = lines - 2; /* its own first line, and where the cursor rests */
	struct tide_slice summary = frame->summary;
	int summed = summary.len > 0 ? height_of(summary.p, summary.len, columns) : 0;
	int logged = heights(slice_of(log), columns), rows = room - logged - summed;
	if (rows < ROWS_MIN)
		rows = ROWS_MIN;
	tide_buf_printf(out, "\033[H%s, run %d%s (%lld ms)\033[K\n", frame->job, frame->number,
	                frame->failed ? " failed" : "", (long long)frame->took_ms);
	room -= put_lines(frame->rows, rows, columns, out);
	room -= put_lines(slice_of(log), room - summed, columns, out);
	if (summed > 0) {
		put_plain(out, summary.p, summary.len);
		tide_buf_printf(out, "\033[K\n");
	}
	tide_buf_printf(out, "\033[J");
}

/* --- a pipe ------------------------------------------------------------------------- */

static void put_pipe(const struct tide_frame *frame, const struct tide_buf *log,
                     struct tide_buf *out)
{
	tide_buf_printf(out, "== %s, run %d%s\n", frame->job, frame->number,
	                frame->failed ? " failed" : "");
	tide_buf_put(out, frame->rows.p, frame->rows.len);
	tide_buf_put(out, log->p, log->len);
	if (frame->summary.len > 0)
		tide_buf_printf(out, "%.*s\n", (int)frame->summary.len, frame->summary.p);
}

void tide_frame_put(const struct tide_frame *frame, int lines, int columns, struct tide_buf *out)
{
	struct tide_buf log = { 0 };
	put_log(frame->log, &log);
	if (lines > 0)
		put_terminal(frame, &log, lines, columns, out);
	else
		put_pipe(frame, &log, out);
	out->failed = out->failed || log.failed;
	tide_buf_fini(&log);
}
