/* SPDX-License-Identifier: Apache-2.0 */
/* The console sink: an epoch's rows become bytes, and those go out in one write. */
#include "sink/console.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "sink/cells.h"
#include "sink/grid.h"
#include "sink/live.h"
#include "sink/stream.h"

enum {
	ROWS_DEFAULT = 20,
	CHARS_DEFAULT = 20,
	WRITE_BYTES_MAX = 1024 * 1024 /* more than this goes out in several writes */
};

struct console {
	struct tide_sink sink;
	enum { FORMAT_SPARK, FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV } format;
	struct tide_stream stream;
	bool terminal, muted;
	bool names_put; /* csv: the header is out */
	uint32_t rows_max;
	size_t chars_max;
	struct tide_buf out;
	uint32_t *order;
	size_t order_cap;
	struct tide_live *live; /* table, from the first rows on */
};

/* A whole number from 0 to INT32_MAX, or -1. */
static int64_t number_of(const char *text)
{
	char *end;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < 0 || value > INT32_MAX)
		return -1;
	return value;
}

static int read_options(struct console *console, const struct tide_sink_options *options,
                        struct tide_error *err)
{
	const char *rows = tide_option_get(&options->output->options, "rows");
	const char *truncate = tide_option_get(&options->output->options, "truncate");
	int64_t rows_max = rows != NULL ? number_of(rows) : ROWS_DEFAULT;
	int64_t chars_max = CHARS_DEFAULT;
	if (truncate != NULL && strcmp(truncate, "false") == 0)
		chars_max = 0;
	else if (truncate != NULL && strcmp(truncate, "true") != 0)
		chars_max = number_of(truncate);
	if (rows_max < 0)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "console: rows = \"%s\" is no number of rows; "
		                 "give a whole number, as rows = 50",
		                 rows);
	if (chars_max < 0)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "console: truncate = \"%s\" is neither true, "
		                 "false nor a number of characters",
		                 truncate);
	console->rows_max = (uint32_t)rows_max;
	console->chars_max = (size_t)chars_max;
	return TIDE_OK;
}

static int read_format(struct console *console, const struct tide_sink_options *options,
                       struct tide_error *err)
{
	static const char *const names[] = { "spark", "table", "json", "csv" };
	const char *format = options->format != NULL ? options->format : "spark";
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(format, names[i]) != 0)
			continue;
		console->format = i;
		bool live = options->terminal && options->mode != TIDE_MODE_APPEND &&
		            tide_live_possible(options->fd);
		if (console->format == FORMAT_TABLE && !live)
			console->format = FORMAT_SPARK;
		return TIDE_OK;
	}
	return tide_fail(err, TIDE_ERR_USAGE,
	                 "console: no output format \"%s\"; choose one of "
	                 "auto, table, spark, json, csv",
	                 format);
}

static void console_close(struct tide_sink *sink)
{
	struct console *console = (struct console *)sink;
	if (console == NULL)
		return;
	tide_live_free(console->live);
	tide_stream_close(&console->stream);
	tide_buf_fini(&console->out);
	free(console->order);
	free(console);
}

static int console_open(struct tide_sink **out, const struct tide_sink_options *options,
                        struct tide_error *err)
{
	assert(options->output != NULL);
	struct console *console = calloc(1, sizeof *console);
	if (console == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the console");
	console->sink.ops = &tide_console_ops;
	tide_stream_open(&console->stream, options->fd, options->stop);
	console->terminal = options->terminal;
	console->muted = options->muted;
	int rc = read_options(console, options, err);
	if (rc == TIDE_OK)
		rc = read_format(console, options, err);
	if (rc != TIDE_OK) {
		console_close(&console->sink);
		return rc;
	}
	*out = &console->sink;
	return TIDE_OK;
}

/* What was printed is not known to us: a terminal does not tell. */
static int console_last_epoch(struct tide_sink *sink, int64_t *epoch, struct tide_error *err)
{
	(void)sink;
	(void)err;
	*epoch = -1;
	return TIDE_OK;
}

/* Everything in console->out, however slowly the reader takes it. */
static int flush_out(struct console *console, struct tide_error *err)
{
	if (console->out.failed)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the rows on stdout");
	int rc = tide_pass("console_write", err);
	if (rc == TIDE_OK)
		rc = tide_stream_write(&console->stream, console->out.p, console->out.len, err);
	if (rc == TIDE_OK)
		rc = tide_pass("console_written", err);
	tide_buf_clear(&console->out);
	return rc;
}

static void put_csv_names(struct console *console, const struct tide_schema *schema)
{
	for (int c = 0; c < schema->count; c++) {
		const char *name = schema->columns[c].name;
		tide_buf_put(&console->out, ",", c > 0);
		tide_cell_csv_text(&console->out, name, strlen(name), console->terminal);
	}
	tide_buf_put(&console->out, "\r\n", 2);
}

static void put_csv_row(struct console *console, const struct tide_rows *rows, uint32_t row)
{
	const struct tide_schema *schema = tide_rows_schema(rows);
	for (int c = 0; c < schema->count; c++) {
		tide_buf_put(&console->out, ",", c > 0);
		tide_cell_csv(&console->out, schema->columns[c].type, tide_rows_cell(rows, row, c),
		              console->terminal);
	}
	tide_buf_put(&console->out, "\r\n", 2);
}

static void put_json_row(struct console *console, const struct tide_rows *rows, uint32_t row)
{
	const struct tide_schema *schema = tide_rows_schema(rows);
	for (int c = 0; c < schema->count; c++) {
		const char *name = schema->columns[c].name;
		tide_buf_put(&console->out, c > 0 ? "," : "{", 1);
		tide_cell_json_text(&console->out, name, strlen(name));
		tide_buf_put(&console->out, ":", 1);
		tide_cell_json(&console->out, schema->columns[c].type,
		               tide_rows_cell(rows, row, c));
	}
	tide_buf_put(&console->out, "}\n", 2);
}

/* Rows as lines, written as a whole unless they are very many. */
static int publish_lines(struct console *console, const struct tide_rows *rows,
                         struct tide_error *err)
{
	uint32_t count = tide_rows_count(rows);
	if (console->format == FORMAT_CSV && !console->names_put) {
		put_csv_names(console, tide_rows_schema(rows));
		console->names_put = true;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (console->format == FORMAT_CSV)
			put_csv_row(console, rows, console->order[i]);
		else
			put_json_row(console, rows, console->order[i]);
		if (console->out.len < WRITE_BYTES_MAX)
			continue;
		int rc = flush_out(console, err);
		if (rc != TIDE_OK)
			return rc;
	}
	return flush_out(console, err);
}

static int publish_table(struct console *console, int64_t epoch, const struct tide_rows *rows,
                         struct tide_error *err)
{
	/* Rows from before a restart may be those of another version of the job. */
	if (console->live != NULL && !tide_live_fits(console->live, tide_rows_schema(rows))) {
		tide_live_free(console->live);
		console->live = NULL;
	}
	if (console->live == NULL) {
		struct tide_live_options options = {
			.stream = &console->stream,
			.schema = tide_rows_schema(rows),
			.rows_max = console->rows_max,
			.chars_max = console->chars_max,
		};
		int rc = tide_live_new(&options, &console->live, err);
		if (rc != TIDE_OK)
			return rc;
	}
	return tide_live_take(console->live, epoch, rows, err);
}

static bool sort_rows(struct console *console, const struct tide_rows *rows)
{
	size_t count = tide_rows_count(rows);
	if (count > console->order_cap) {
		uint32_t *order = realloc(console->order, count * sizeof *order);
		if (order == NULL)
			return false;
		console->order = order;
		console->order_cap = count;
	}
	tide_rows_sort(rows, console->order);
	return true;
}

static int console_publish(struct tide_sink *sink, int64_t epoch, const struct tide_rows *rows,
                           struct tide_error *err)
{
	struct console *console = (struct console *)sink;
	if (console->muted)
		return TIDE_OK;
	if (console->format == FORMAT_TABLE)
		return publish_table(console, epoch, rows, err);
	if (!sort_rows(console, rows))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to sort %u rows",
		                 tide_rows_count(rows));
	int rc;
	tide_buf_clear(&console->out);
	if (console->terminal)
		tide_log_pause();
	if (console->format == FORMAT_SPARK) {
		struct tide_spark_options options = { epoch, console->rows_max,
			                              console->chars_max };
		tide_spark_put(rows, console->order, &options, &console->out);
		rc = flush_out(console, err);
	} else {
		rc = publish_lines(console, rows, err);
	}
	if (console->terminal)
		tide_log_resume();
	if (rc == TIDE_ERR_STOPPED)
		tide_fail(err, rc,
		          "the reader of stdout takes nothing: epoch %lld waits in the checkpoint "
		          "and will be printed at the next start",
		          (long long)epoch);
	return rc;
}

const struct tide_sink_ops tide_console_ops = {
	.kind = "console",
	.modes = TIDE_MODE_APPEND | TIDE_MODE_UPDATE | TIDE_MODE_COMPLETE,
	.open = console_open,
	.last_epoch = console_last_epoch,
	.publish = console_publish,
	.close = console_close,
};
