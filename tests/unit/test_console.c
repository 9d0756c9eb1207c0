/* SPDX-License-Identifier: Apache-2.0 */
/* The console sink: golden files in tests/golden/console, odd bytes, odd readers,
 * and the live table on a pseudo-terminal.
 *
 * A golden file has three blocks after its remark: rows (a line of columns, then
 * `epoch N` and its rows as JSON), options, and the output to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "decode/json.h"
#include "sink/cells.h"
#include "sink/live.h"
#include "sink/sink.h"

static const char GOLDEN[] = "tests/golden/console";

/* --- Sinks under test ------------------------------------------------------ */

struct sunk {
	struct tide_plan_output output;
	struct tide_sink_options options;
	struct tide_sink *sink;
	struct tide_error err;
};

static void sunk_option(struct sunk *sunk, const char *key, const char *value)
{
	if (strcmp(key, "format") == 0)
		sunk->options.format = value;
	else
		assert_true(tide_option_set(&sunk->output.options, key, value));
}

static int sunk_open(struct sunk *sunk, int fd)
{
	const struct tide_sink_ops *ops = tide_sink_find("console");
	const char *mode = tide_option_get(&sunk->output.options, "mode");
	assert_non_null(ops);
	sunk->options.output = &sunk->output;
	sunk->options.mode = tide_sink_mode_of(mode != NULL ? mode : "append");
	sunk->options.fd = fd;
	return ops->open(&sunk->sink, &sunk->options, &sunk->err);
}

static int sunk_publish(struct sunk *sunk, int64_t epoch, const struct tide_rows *rows)
{
	return sunk->sink->ops->publish(sunk->sink, epoch, rows, &sunk->err);
}

static void sunk_close(struct sunk *sunk)
{
	if (sunk->sink != NULL)
		sunk->sink->ops->close(sunk->sink);
	tide_options_fini(&sunk->output.options);
}

/* Reads an fd to its end on a thread, so that no writer ever waits for us. */
struct drain {
	int fd;
	pthread_t thread;
	struct tide_buf got;
};

static void *drain_main(void *arg)
{
	struct drain *drain = arg;
	char chunk[4096];
	ssize_t n;
	while ((n = read(drain->fd, chunk, sizeof chunk)) > 0)
		tide_buf_put(&drain->got, chunk, (size_t)n);
	return NULL;
}

static int drain_start(struct drain *drain)
{
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	*drain = (struct drain){ .fd = ends[0] };
	assert_int_equal(pthread_create(&drain->thread, NULL, drain_main, drain), 0);
	return ends[1];
}

/* After the write end is closed: all that came, with a NUL behind it. */
static void drain_end(struct drain *drain)
{
	pthread_join(drain->thread, NULL);
	close(drain->fd);
	tide_buf_u8(&drain->got, 0);
	assert_false(drain->got.failed);
	drain->got.len--;
}

/* --- Rows ------------------------------------------------------------------- */

struct table {
	struct tide_schema *schema;
	struct tide_field fields[16];
	struct tide_json_spec *spec;
	struct tide_arena *arena;
	struct tide_rows *rows;
};

static enum tide_type type_of(const char *name, size_t len)
{
	for (int type = TIDE_INT; type <= TIDE_TIMESTAMP; type++)
		if (strlen(tide_type_name(type)) == len &&
		    memcmp(tide_type_name(type), name, len) == 0)
			return type;
	fail_msg("no type %.*s", (int)len, name);
	return 0;
}

/* "field:string? count:int" */
static void table_make(struct table *table, const char *columns)
{
	char text[512];
	int count = 0;
	*table = (struct table){ 0 };
	snprintf(text, sizeof text, "%s", columns);
	for (const char *p = text; (p = strchr(p, ':')) != NULL; p++)
		count++;
	table->schema = tide_schema_new(count);
	assert_non_null(table->schema);
	char *rest = text;
	for (int c = 0; c < count; c++) {
		char *word = strtok_r(NULL, " ", &rest);
		char *colon = strchr(word, ':');
		size_t len = strlen(colon + 1);
		struct tide_column *column = &table->schema->columns[c];
		column->nullable = colon[len] == '?';
		column->type = type_of(colon + 1, len - column->nullable);
		snprintf(column->name, sizeof column->name, "%.*s", (int)(colon - word), word);
		table->fields[c] =
			(struct tide_field){ column->name, (int32_t)(colon - word),
			                     (uint8_t)column->type, column->nullable, 0 };
	}
	table->spec = tide_json_spec_new(table->fields, count);
	table->arena = tide_arena_new();
	table->rows = tide_rows_new(table->schema);
	assert_true(table->spec != NULL && table->arena != NULL && table->rows != NULL);
}

static void table_add(struct table *table, const char *json, size_t len)
{
	struct tide_cell cells[16];
	struct tide_scan_error why;
	tide_arena_reset(table->arena);
	if (tide_json_scan(table->spec, json, (int32_t)len, table->arena, cells, &why) !=
	    TIDE_SCAN_OK)
		fail_msg("%s: %.*s", why.text, (int)len, json);
	assert_true(tide_rows_append(table->rows, cells));
}

static void table_add_text(struct table *table, const char *text, size_t len)
{
	struct tide_cell cell = { .p = text, .len = (int32_t)len };
	assert_true(tide_rows_append(table->rows, &cell));
}

static void table_drop(struct table *table)
{
	tide_rows_free(table->rows);
	tide_arena_free(table->arena);
	tide_json_spec_free(table->spec);
	free(table->schema);
}

/* --- Golden files ----------------------------------------------------------- */

/* Ends the block at the marker line and returns what follows it. */
static char *split_at(char *text, const char *marker)
{
	char line[64];
	snprintf(line, sizeof line, "\n--- %s\n", marker);
	char *at = strstr(text, line);
	if (at == NULL)
		fail_msg("no block \"%s\"", marker);
	at[1] = '\0';
	return at + strlen(line);
}

static void publish_block(struct sunk *sunk, struct table *table, char *line)
{
	long long epoch = -1;
	char *end;
	for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		if (strncmp(line, "epoch ", 6) != 0) {
			table_add(table, line, (size_t)(end - line));
			continue;
		}
		if (epoch >= 0)
			assert_int_equal(sunk_publish(sunk, epoch, table->rows), TIDE_OK);
		tide_rows_clear(table->rows);
		epoch = strtoll(line + 6, NULL, 10);
	}
	assert_int_equal(sunk_publish(sunk, epoch, table->rows), TIDE_OK);
}

/* CR LF in the output becomes a mark that an editor keeps. */
static void mark_crlf(struct tide_buf *got, const char *mark)
{
	for (char *p = got->p; (p = strstr(p, "\r\n")) != NULL; p++)
		*p = *mark;
}

static void check_golden(const char *path)
{
	struct sunk sunk = { 0 };
	struct table table;
	struct drain drain;
	struct tide_error err;
	char *text, *mark = NULL, *save = NULL;
	size_t len;
	if (tide_file_read(path, 1 << 20, &text, &len, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	char *rows = split_at(text, "rows");
	char *options = split_at(rows, "options");
	char *want = split_at(options, "output");
	for (char *item = strtok_r(options, " \n", &save); item != NULL;
	     item = strtok_r(NULL, " \n", &save)) {
		char *value = strchr(item, '=');
		*value++ = '\0';
		if (strcmp(item, "crlf") == 0)
			mark = value;
		else
			sunk_option(&sunk, item, value);
	}
	char *lines = strchr(rows, '\n') + 1;
	lines[-1] = '\0';
	table_make(&table, rows);
	int fd = drain_start(&drain);
	assert_int_equal(sunk_open(&sunk, fd), TIDE_OK);
	publish_block(&sunk, &table, lines);
	sunk_close(&sunk);
	close(fd);
	drain_end(&drain);
	if (mark != NULL)
		mark_crlf(&drain.got, mark);
	if (strcmp(drain.got.p, want) != 0 || drain.got.len != strlen(want)) {
		fputs(drain.got.p, stderr); /* whole: cmocka's messages are cut */
		fail_msg("%s: got the above", path);
	}
	tide_buf_fini(&drain.got);
	table_drop(&table);
	free(text);
}

static void golden_files_come_out_to_the_byte(void **state)
{
	(void)state;
	int checked = 0;
	DIR *dir = opendir(GOLDEN);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		char path[300];
		size_t len = strlen(entry->d_name);
		if (len < 4 || strcmp(entry->d_name + len - 4, ".txt") != 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", GOLDEN, entry->d_name);
		check_golden(path);
		checked++;
	}
	closedir(dir);
	assert_true(checked >= 8);
}

/* --- Cells ------------------------------------------------------------------ */

static void doubles_read_back_as_themselves(void **state)
{
	(void)state;
	uint64_t bits = 88172645463325252;
	struct tide_buf out = { 0 };
	for (int i = 0; i < 200000; i++) {
		double value, again;
		bits ^= bits << 13;
		bits ^= bits >> 7;
		bits ^= bits << 17;
		memcpy(&value, &bits, sizeof value);
		if (i % 2 == 0)
			value = (double)(int64_t)bits / 1048576 / 1000;
		if (isnan(value) || isinf(value))
			continue;
		tide_buf_clear(&out);
		tide_cell_double(&out, value);
		tide_buf_u8(&out, 0);
		again = strtod(out.p, NULL);
		if (memcmp(&again, &value, sizeof value) != 0)
			fail_msg("%a became %s", value, out.p);
		assert_non_null(strchr(out.p, '.'));
	}
	tide_buf_fini(&out);
}

static void doubles_look_as_in_java(void **state)
{
	(void)state;
	static const struct {
		double value;
		const char *text;
	} cases[] = { { 0, "0.0" },
		      { 1, "1.0" },
		      { 100, "100.0" },
		      { 1234567, "1234567.0" },
		      { 1e7, "1.0E7" },
		      { 123456789.125, "1.23456789125E8" },
		      { 0.001, "0.001" },
		      { 0.00099, "9.9E-4" },
		      { 0.0125, "0.0125" },
		      { -2.5, "-2.5" },
		      { 1e21, "1.0E21" },
		      { 4.9e-324, "4.9E-324" },
		      { 1.0 / 3, "0.3333333333333333" },
		      { 2.2250738585072014e-308, "2.2250738585072014E-308" },
		      { NAN, "NaN" },
		      { -INFINITY, "-Infinity" },
		      { INFINITY, "Infinity" } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct tide_buf out = { 0 };
		tide_cell_double(&out, cases[i].value);
		tide_buf_u8(&out, 0);
		assert_string_equal(out.p, cases[i].text);
		tide_buf_fini(&out);
	}
}

/* Rows of arbitrary bytes in every format. */
static void any_bytes_stay_utf8_and_harmless(void **state)
{
	(void)state;
	static const char *const formats[] = { "spark", "json", "csv" };
	uint32_t seed = 12345;
	for (int f = 0; f < 3; f++) {
		struct sunk sunk = { .options = { .terminal = f == 2 } };
		struct table table;
		struct drain drain;
		table_make(&table, "s:string");
		for (int i = 0; i < 500; i++) {
			char text[40];
			for (size_t k = 0; k < sizeof text; k++) {
				seed = seed * 1664525 + 1013904223;
				text[k] = (char)(seed >> 24);
			}
			table_add_text(&table, text, (size_t)i % sizeof text);
		}
		table_add_text(&table, "\xC0\x80\xED\xA0\x80\xF5\x80", 7);
		sunk_option(&sunk, "format", formats[f]);
		sunk_option(&sunk, "truncate", "false");
		sunk_option(&sunk, "rows", "1000");
		int fd = drain_start(&drain);
		assert_int_equal(sunk_open(&sunk, fd), TIDE_OK);
		assert_int_equal(sunk_publish(&sunk, 0, table.rows), TIDE_OK);
		sunk_close(&sunk);
		close(fd);
		drain_end(&drain);
		/* One JSON text of it all: our scanner accepts only valid UTF-8. */
		struct tide_scan_error why;
		struct tide_cell cell;
		struct tide_buf doc = { 0 };
		tide_buf_put(&doc, "{\"s\":\"", 6);
		for (size_t i = 0; i < drain.got.len; i++) {
			unsigned char c = (unsigned char)drain.got.p[i];
			assert_true((c >= 0x20 && c != 0x7F) || c == '\n' || c == '\r');
			assert_true(c != 0xC2 || (unsigned char)drain.got.p[i + 1] >= 0xA0);
			if (c >= 0x20 && c != '"' && c != '\\')
				tide_buf_put(&doc, &c, 1);
		}
		tide_buf_put(&doc, "\"}", 2);
		tide_arena_reset(table.arena);
		assert_int_equal(tide_json_scan(table.spec, doc.p, (int32_t)doc.len, table.arena,
		                                &cell, &why),
		                 TIDE_SCAN_OK);
		tide_buf_fini(&doc);
		tide_buf_fini(&drain.got);
		table_drop(&table);
	}
}

/* --- Options and readers ---------------------------------------------------- */

static void wrong_options_are_named(void **state)
{
	(void)state;
	static const char *const cases[][3] = { { "rows", "many", "rows = \"many\"" },
		                                { "rows", "-1", "rows = \"-1\"" },
		                                { "truncate", "maybe", "truncate = \"maybe\"" },
		                                { "format", "xml", "\"xml\"" } };
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sunk sunk = { 0 };
		sunk_option(&sunk, cases[i][0], cases[i][1]);
		assert_int_equal(sunk_open(&sunk, 1), TIDE_ERR_USAGE);
		assert_null(sunk.sink);
		if (strstr(sunk.err.text, cases[i][2]) == NULL)
			fail_msg("%s", sunk.err.text);
		sunk_close(&sunk);
	}
}

static void kinds_and_modes_are_found_by_name(void **state)
{
	(void)state;
	assert_null(tide_sink_find("paper"));
	assert_string_equal(tide_sink_find("console")->kind, "console");
	assert_string_equal(tide_sink_find("kafka")->kind, "kafka");
	assert_int_equal(tide_sink_mode_of("append"), TIDE_MODE_APPEND);
	assert_int_equal(tide_sink_mode_of("update"), TIDE_MODE_UPDATE);
	assert_int_equal(tide_sink_mode_of("complete"), TIDE_MODE_COMPLETE);
	assert_int_equal(tide_sink_mode_of("sideways"), 0);
	assert_int_equal(tide_sink_mode_of(NULL), 0);
}

static void muted_console_takes_nothing(void **state)
{
	(void)state;
	struct sunk sunk = { .options = { .muted = true } };
	struct table table;
	struct drain drain;
	int64_t epoch = 5;
	table_make(&table, "n:int");
	table_add(&table, "{\"n\":1}", 7);
	int fd = drain_start(&drain);
	assert_int_equal(sunk_open(&sunk, fd), TIDE_OK);
	assert_int_equal(sunk_publish(&sunk, 0, table.rows), TIDE_OK);
	assert_int_equal(sunk.sink->ops->last_epoch(sunk.sink, &epoch, &sunk.err), TIDE_OK);
	assert_int_equal(epoch, -1);
	sunk_close(&sunk);
	close(fd);
	drain_end(&drain);
	assert_int_equal(drain.got.len, 0);
	tide_buf_fini(&drain.got);
	table_drop(&table);
}

static void reader_that_left_is_named(void **state)
{
	(void)state;
	struct sunk sunk = { 0 };
	struct table table;
	int ends[2];
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	table_make(&table, "n:int");
	table_add(&table, "{\"n\":1}", 7);
	assert_int_equal(sunk_open(&sunk, ends[1]), TIDE_OK);
	assert_int_equal(sunk_publish(&sunk, 0, table.rows), TIDE_ERR_UNAVAILABLE);
	assert_string_equal(sunk.err.text, "the reader of stdout is gone");
	sunk_close(&sunk);
	close(ends[1]);
	table_drop(&table);
}

/* A pipe without blocking takes little at a time and then says EAGAIN. */
static void slow_reader_gets_every_row(void **state)
{
	(void)state;
	enum { ROWS = 100 * 1000 };
	struct sunk sunk = { 0 };
	struct table table;
	struct drain drain;
	table_make(&table, "n:int");
	for (int i = ROWS; i-- > 0;) {
		struct tide_cell cell = { .i = i };
		assert_true(tide_rows_append(table.rows, &cell));
	}
	sunk_option(&sunk, "format", "json");
	int fd = drain_start(&drain);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(sunk_open(&sunk, fd), TIDE_OK);
	assert_int_equal(sunk_publish(&sunk, 0, table.rows), TIDE_OK);
	sunk_close(&sunk);
	close(fd);
	drain_end(&drain);
	const char *p = drain.got.p;
	for (int i = 0; i < ROWS; i++) {
		char want[32];
		size_t len = (size_t)snprintf(want, sizeof want, "{\"n\":%d}\n", i);
		assert_memory_equal(p, want, len);
		p += len;
	}
	assert_ptr_equal(p, drain.got.p + drain.got.len);
	tide_buf_fini(&drain.got);
	table_drop(&table);
}

struct stopper {
	atomic_int stop;
	struct sunk *sunk;
	const struct tide_rows *rows;
	int rc;
};

static void *stopper_main(void *arg)
{
	struct stopper *stopper = arg;
	stopper->rc = sunk_publish(stopper->sunk, 7, stopper->rows);
	return NULL;
}

/* Fills a pipe that nobody reads; returns how many bytes went in. */
static size_t pipe_filled(int fd)
{
	int last = -1, now = 0;
	while (now == 0 || now != last) {
		last = now;
		usleep(20000);
		assert_int_equal(ioctl(fd, FIONREAD, &now), 0);
	}
	return (size_t)now;
}

static void reader_that_stopped_is_given_up_when_we_shall_stop(void **state)
{
	(void)state;
	enum { ROWS = 20000 };
	struct sunk sunk = { 0 };
	struct stopper stopper = { .sunk = &sunk };
	struct table table;
	pthread_t thread;
	int ends[2];
	table_make(&table, "n:int");
	for (int i = 0; i < ROWS; i++) {
		struct tide_cell cell = { .i = i };
		assert_true(tide_rows_append(table.rows, &cell));
	}
	stopper.rows = table.rows;
	sunk_option(&sunk, "format", "json");
	sunk.options.stop = &stopper.stop;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(sunk_open(&sunk, ends[1]), TIDE_OK);
	/* Whoever shares the pipe still has a descriptor that blocks. */
	assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(pthread_create(&thread, NULL, stopper_main, &stopper), 0);
	size_t size = pipe_filled(ends[0]);
	assert_true(size > 0);
	atomic_store(&stopper.stop, 1);
	pthread_join(thread, NULL);
	assert_int_equal(stopper.rc, TIDE_ERR_STOPPED);
	assert_non_null(strstr(sunk.err.text, "epoch 7 waits in the checkpoint"));
	sunk_close(&sunk);
	close(ends[1]);
	/* What it did take are whole lines. */
	char *got = malloc(size + 1);
	assert_non_null(got);
	assert_int_equal(read(ends[0], got, size), (ssize_t)size);
	assert_int_equal(got[size - 1], '\n');
	free(got);
	close(ends[0]);
	table_drop(&table);
}

/* --- The live table --------------------------------------------------------- */

enum { LINES = 24, COLUMNS = 60 };

/* As much of a terminal as the table needs. */
struct screen {
	char text[LINES][COLUMNS + 1];
	int row, column, saved_row, saved_column, top, bottom;
};

static void screen_line_feed(struct screen *screen)
{
	if (screen->row < screen->bottom) {
		screen->row++;
		return;
	}
	for (int r = screen->top; r < screen->bottom; r++)
		memcpy(screen->text[r], screen->text[r + 1], COLUMNS + 1);
	memset(screen->text[screen->bottom], ' ', COLUMNS);
}

/* The sequence behind ESC; returns its length. Unknown ones fail. */
static size_t screen_escape(struct screen *screen, const char *p)
{
	if (*p == '7' || *p == '8') {
		if (*p == '7') {
			screen->saved_row = screen->row;
			screen->saved_column = screen->column;
		} else {
			screen->row = screen->saved_row;
			screen->column = screen->saved_column;
		}
		return 1;
	}
	int args[2] = { 0, 0 }, count = 0;
	const char *at = p + 1;
	assert_int_equal(*p, '[');
	if (strncmp(at, "?25h", 4) == 0)
		return 5;
	for (; (*at >= '0' && *at <= '9') || *at == ';'; at++) {
		if (*at == ';')
			count++;
		else
			args[count] = args[count] * 10 + *at - '0';
		assert_true(count < 2);
	}
	if (*at == 'r') {
		screen->top = args[0] > 0 ? args[0] - 1 : 0;
		screen->bottom = args[1] > 0 ? args[1] - 1 : LINES - 1;
		screen->row = screen->column = 0;
	} else if (*at == 'H') {
		screen->row = args[0] < LINES ? args[0] - 1 : LINES - 1;
		screen->column = args[1] - 1;
	} else if (*at == 'K') {
		memset(screen->text[screen->row], ' ', COLUMNS);
	} else if (*at != 'm') {
		fail_msg("unexpected ESC [ … %c", *at);
	}
	return (size_t)(at + 1 - p);
}

static void screen_play(struct screen *screen, const char *p, size_t len)
{
	*screen = (struct screen){ .bottom = LINES - 1 };
	memset(screen->text, ' ', sizeof screen->text);
	for (const char *end = p + len; p < end; p++) {
		if (*p == '\033') {
			p += screen_escape(screen, p + 1);
		} else if (*p == '\n') {
			screen_line_feed(screen);
		} else if (*p == '\r') {
			screen->column = 0;
		} else {
			assert_true(screen->row < LINES && screen->column < COLUMNS);
			screen->text[screen->row][screen->column++] = *p;
		}
	}
	for (int r = 0; r < LINES; r++) {
		screen->text[r][COLUMNS] = '\0';
		for (int c = COLUMNS; c > 0 && screen->text[r][c - 1] == ' '; c--)
			screen->text[r][c - 1] = '\0';
	}
}

/* A terminal of LINES by COLUMNS. */
static int terminal_open(int *master)
{
	*master = posix_openpt(O_RDWR | O_NOCTTY);
	assert_true(*master >= 0);
	assert_int_equal(grantpt(*master), 0);
	assert_int_equal(unlockpt(*master), 0);
	int fd = open(ptsname(*master), O_RDWR | O_NOCTTY);
	assert_true(fd >= 0);
	struct winsize window = { .ws_row = LINES, .ws_col = COLUMNS };
	assert_int_equal(ioctl(fd, TIOCSWINSZ, &window), 0);
	return fd;
}

static void drain_begin(struct drain *drain, int fd)
{
	*drain = (struct drain){ .fd = fd };
	assert_int_equal(pthread_create(&drain->thread, NULL, drain_main, drain), 0);
}

/* What is written to it ends up in `drain`. */
static int terminal_start(struct drain *drain)
{
	int master, fd = terminal_open(&master);
	drain_begin(drain, master);
	return fd;
}

static void table_is_drawn_at_the_top_of_a_terminal(void **state)
{
	(void)state;
	struct sunk sunk = { .options = { .terminal = true } };
	struct table table;
	struct drain drain;
	struct screen screen;
	setenv("TERM", "xterm", 1);
	table_make(&table, "field:string word:string count:int");
	sunk_option(&sunk, "format", "table");
	sunk_option(&sunk, "mode", "update");
	sunk_option(&sunk, "rows", "5");
	int fd = terminal_start(&drain);
	tide_clock_set(1000000);
	assert_int_equal(sunk_open(&sunk, fd), TIDE_OK);
	for (int i = 1; i <= 3; i++) {
		char row[100];
		tide_rows_clear(table.rows);
		for (int w = 0; w < 8; w++) {
			int len = snprintf(
				row, sizeof row,
				"{\"field\":\"key\",\"word\":\"w\\u001b[2J%d\",\"count\":%d}", w,
				i * w);
			table_add(&table, row, (size_t)len);
		}
		assert_int_equal(sunk_publish(&sunk, i, table.rows), TIDE_OK);
	}
	sunk_close(&sunk);
	close(fd);
	drain_end(&drain);
	tide_clock_set(-1);
	screen_play(&screen, drain.got.p, drain.got.len);
	assert_string_equal(screen.text[0], "  field       word  count");
	assert_string_equal(screen.text[1], "    key  w\\x1B[2J7     21  +7.3/s");
	assert_string_equal(screen.text[5], "    key  w\\x1B[2J3      9  +3.1/s");
	assert_string_equal(screen.text[6], "  epoch 3, 8 rows changed");
	assert_string_equal(screen.text[7], "");
	/* The whole screen scrolls again, and the cursor is below the table. */
	assert_int_equal(screen.top, 0);
	assert_int_equal(screen.bottom, LINES - 1);
	assert_int_equal(screen.row, 8);
	tide_buf_fini(&drain.got);
	table_drop(&table);
}

/* Reads a terminal until `what` has come. */
static void read_until(int master, struct tide_buf *got, const char *what)
{
	do {
		assert_true(tide_buf_reserve(got, 4096));
		ssize_t n = read(master, got->p + got->len, 4095);
		assert_true(n > 0);
		got->len += (size_t)n;
		got->p[got->len] = '\0';
	} while (strstr(got->p, what) == NULL);
}

static void terminal_comes_back_when_the_process_ends_amid_a_table(void **state)
{
	(void)state;
	struct sunk sunk = { .options = { .terminal = true } };
	struct tide_buf got = { 0 };
	struct table table;
	struct drain drain;
	struct screen screen;
	int master;
	setenv("TERM", "xterm", 1);
	table_make(&table, "n:int");
	table_add(&table, "{\"n\":1}", 7);
	sunk_option(&sunk, "format", "table");
	sunk_option(&sunk, "mode", "update");
	int fd = terminal_open(&master);
	assert_int_equal(sunk_open(&sunk, fd), TIDE_OK);
	tide_live_abandon(); /* nothing is shown yet */
	assert_int_equal(sunk_publish(&sunk, 1, table.rows), TIDE_OK);
	read_until(master, &got, "\0338");
	screen_play(&screen, got.p, got.len);
	assert_true(screen.top > 0);
	tide_live_abandon();
	tide_live_abandon();
	read_until(master, &got, "\033[?25h");
	screen_play(&screen, got.p, got.len);
	assert_int_equal(screen.top, 0);
	assert_int_equal(screen.bottom, LINES - 1);
	assert_int_equal(screen.row, LINES - 1);
	assert_int_equal(screen.column, 0);
	drain_begin(&drain, master);
	sunk_close(&sunk);
	close(fd);
	drain_end(&drain);
	assert_null(strstr(drain.got.p, "\033[?25h"));
	tide_buf_fini(&drain.got);
	tide_buf_fini(&got);
	table_drop(&table);
}

static void table_forgets_what_stands_still(void **state)
{
	(void)state;
	struct sunk sunk = { .options = { .terminal = true } };
	struct table table;
	struct drain drain;
	struct screen screen;
	char row[100];
	setenv("TERM", "xterm", 1);
	table_make(&table, "word:string count:int");
	sunk_option(&sunk, "format", "table");
	sunk_option(&sunk, "mode", "update");
	int fd = terminal_start(&drain);
	assert_int_equal(sunk_open(&sunk, fd), TIDE_OK);
	for (int i = 0; i < 20000; i++)
		table_add(&table, row,
		          (size_t)snprintf(row, sizeof row, "{\"word\":\"w%d\",\"count\":1}", i));
	assert_int_equal(sunk_publish(&sunk, 0, table.rows), TIDE_OK);
	tide_rows_clear(table.rows);
	table_add(&table, row,
	          (size_t)snprintf(row, sizeof row, "{\"word\":\"hot\",\"count\":900}"));
	assert_int_equal(sunk_publish(&sunk, 1, table.rows), TIDE_OK);
	tide_rows_clear(table.rows);
	table_add(&table, row,
	          (size_t)snprintf(row, sizeof row, "{\"word\":\"hot\",\"count\":5000}"));
	assert_int_equal(sunk_publish(&sunk, 2, table.rows), TIDE_OK);
	sunk_close(&sunk);
	close(fd);
	drain_end(&drain);
	screen_play(&screen, drain.got.p, drain.got.len);
	assert_non_null(strstr(screen.text[1], " hot   5000  +"));
	tide_buf_fini(&drain.got);
	table_drop(&table);
}

static void dumb_terminal_gets_a_grid(void **state)
{
	(void)state;
	struct sunk sunk = { .options = { .terminal = true } };
	struct table table;
	struct drain drain;
	setenv("TERM", "dumb", 1);
	table_make(&table, "n:int");
	table_add(&table, "{\"n\":1}", 7);
	sunk_option(&sunk, "format", "table");
	sunk_option(&sunk, "mode", "update");
	int fd = terminal_start(&drain);
	assert_int_equal(sunk_open(&sunk, fd), TIDE_OK);
	assert_int_equal(sunk_publish(&sunk, 4, table.rows), TIDE_OK);
	sunk_close(&sunk);
	close(fd);
	drain_end(&drain);
	assert_non_null(strstr(drain.got.p, "Batch: 4"));
	assert_null(strchr(drain.got.p, '\033'));
	tide_buf_fini(&drain.got);
	table_drop(&table);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_files_come_out_to_the_byte),
		cmocka_unit_test(doubles_read_back_as_themselves),
		cmocka_unit_test(doubles_look_as_in_java),
		cmocka_unit_test(any_bytes_stay_utf8_and_harmless),
		cmocka_unit_test(wrong_options_are_named),
		cmocka_unit_test(kinds_and_modes_are_found_by_name),
		cmocka_unit_test(muted_console_takes_nothing),
		cmocka_unit_test(reader_that_left_is_named),
		cmocka_unit_test(slow_reader_gets_every_row),
		cmocka_unit_test(reader_that_stopped_is_given_up_when_we_shall_stop),
		cmocka_unit_test(table_is_drawn_at_the_top_of_a_terminal),
		cmocka_unit_test(terminal_comes_back_when_the_process_ends_amid_a_table),
		cmocka_unit_test(table_forgets_what_stands_still),
		cmocka_unit_test(dumb_terminal_gets_a_grid),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
