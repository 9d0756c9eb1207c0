/* SPDX-License-Identifier: Apache-2.0 */
/* Draws the live table.
 *
 * Log lines come at any moment and from elsewhere, so nothing here may depend on
 * where the cursor is. The terminal is told to scroll only its lower part; the
 * table owns the lines above and each draw saves and restores the cursor. */
#include "sink/live.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "sink/grid.h"
#include "sink/live_rows.h"

enum {
	LOG_LINES_MIN = 6, /* left for the log */
	ROWS_MAX = 1000,   /* no window is higher */
	LINES_AROUND = 3,  /* names, the last line, and a blank one */
	WINDOW_LINES_MIN = 12,
	DRAW_MS_MIN = 100, /* between draws, however fast epochs come */
	DRAW_MS_MAX = 1000 /* rates fade even when none come */
};

struct tide_live {
	struct tide_stream *stream;
	uint32_t rows_max;
	size_t chars_max;
	pthread_t thread;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t changed;
	bool fresh, stopping;
	int rc; /* of the newest write */
	int64_t epoch;
	uint32_t epoch_rows;
	struct tide_live_rows *rows;
	/* Of the drawing thread. */
	struct winsize window;
	int lines; /* the table's part of the window */
	const struct tide_live_row **top;
	struct tide_buf out;
};

/* Of the terminal that a table has claimed, or -1. There is one stdout. */
static atomic_int claimed_fd = -1;

static bool window_of(int fd, struct winsize *window)
{
	memset(window, 0, sizeof *window);
	return ioctl(fd, TIOCGWINSZ, window) == 0 && window->ws_row >= WINDOW_LINES_MIN &&
	       window->ws_col >= 20;
}

bool tide_live_possible(int fd)
{
	struct winsize window;
	const char *term = getenv("TERM");
	return term != NULL && strcmp(term, "dumb") != 0 && window_of(fd, &window);
}

/* Claims the upper lines, at the start and when the window has another size.
 * What was on the screen scrolls out of it first, into the terminal's history. */
static void claim_lines(struct tide_live *live)
{
	struct winsize window;
	if (!window_of(live->stream->fd, &window))
		window = (struct winsize){ .ws_row = WINDOW_LINES_MIN, .ws_col = 80 };
	if (live->lines > 0 && window.ws_row == live->window.ws_row &&
	    window.ws_col == live->window.ws_col)
		return;
	int want = (int)live->rows_max + LINES_AROUND;
	int most = window.ws_row - LOG_LINES_MIN;
	tide_buf_printf(&live->out, "\033[r");
	if (live->lines == 0) {
		tide_buf_printf(&live->out, "\033[%d;1H", window.ws_row);
		for (int i = 0; i < window.ws_row; i++)
			tide_buf_put(&live->out, "\n", 1);
	} else {
		tide_buf_printf(&live->out, "\033[2J");
	}
	live->window = window;
	live->lines = want < most ? want : most;
	atomic_store(&claimed_fd, live->stream->fd);
	tide_buf_printf(&live->out, "\033[%d;%dr\033[%d;1H", live->lines + 1, window.ws_row,
	                live->lines + 1);
}

static void rate_text(double rate, char *out, size_t size)
{
	if (rate < 0.05)
		snprintf(out, size, "%s", "");
	else if (rate < 10)
		snprintf(out, size, "+%.1f/s", rate);
	else if (rate < 10000)
		snprintf(out, size, "+%.0f/s", rate);
	else if (rate < 1e7)
		snprintf(out, size, "+%.0fk/s", rate / 1e3);
	else
		snprintf(out, size, "+%.0fM/s", rate / 1e6);
}

/* The table as a grid: the names, then the top rows with their rates. */
static uint32_t fill_grid(struct tide_live *live, struct tide_grid *grid)
{
	const struct tide_schema *schema = tide_live_rows_schema(live->rows);
	size_t half = live->window.ws_col / 2;
	size_t chars_max = live->chars_max > 0 && live->chars_max < half ? live->chars_max : half;
	char rate[32];
	uint32_t room = (uint32_t)(live->lines - LINES_AROUND);
	uint32_t max = room < live->rows_max ? room : live->rows_max;
	uint32_t count = tide_live_rows_top(live->rows, max, live->top);
	grid->columns = schema->count + 1;
	tide_grid_add_names(grid, schema);
	tide_grid_add_text(grid, "");
	for (uint32_t r = 0; r < count; r++) {
		for (int c = 0; c < schema->count; c++)
			tide_grid_add(grid, schema->columns[c].type, live->top[r]->cells[c],
			              chars_max);
		rate_text(live->top[r]->score, rate, sizeof rate);
		tide_grid_add_text(grid, rate);
	}
	return count;
}

/* Everything the terminal shall get, into live->out. Under the lock. */
static void compose(struct tide_live *live)
{
	struct tide_grid grid = { .columns = 1 };
	struct tide_grid_line line = { .between = "  " };
	tide_live_rows_fade(live->rows, tide_clock_mono_us());
	claim_lines(live);
	line.width_max = live->window.ws_col;
	uint32_t count = fill_grid(live, &grid);
	tide_buf_printf(&live->out, "\0337");
	for (uint32_t r = 0; r <= count; r++) {
		tide_buf_printf(&live->out, "\033[%u;1H\033[2K%s", r + 1, r == 0 ? "\033[1m" : "");
		tide_grid_put(&grid, r, &line, &live->out);
		tide_buf_printf(&live->out, "%s", r == 0 ? "\033[0m" : "");
	}
	for (int r = (int)count + 1; r < live->lines; r++)
		tide_buf_printf(&live->out, "\033[%d;1H\033[2K", r + 1);
	char last[96];
	snprintf(last, sizeof last, "  epoch %lld, %u row%s changed", (long long)live->epoch,
	         live->epoch_rows, live->epoch_rows == 1 ? "" : "s");
	tide_buf_printf(&live->out, "\033[%d;1H\033[2m%.*s\033[0m\0338", (int)count + 2,
	                live->window.ws_col, last);
	tide_grid_fini(&grid);
}

/* Composes under the lock, writes without it: a terminal can be slow. */
static void draw(struct tide_live *live)
{
	compose(live);
	live->fresh = false;
	pthread_mutex_unlock(&live->lock);
	tide_log_pause();
	int rc = TIDE_OK;
	if (!live->out.failed)
		rc = tide_stream_write(live->stream, live->out.p, live->out.len, NULL);
	tide_log_resume();
	tide_buf_clear(&live->out);
	pthread_mutex_lock(&live->lock);
	if (rc != TIDE_OK)
		live->rc = rc;
}

static void wait_ms(struct tide_live *live, int64_t ms, bool for_rows)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	while (!live->stopping && !(for_rows && live->fresh))
		if (pthread_cond_timedwait(&live->changed, &live->lock, &until) != 0)
			break;
}

static void *live_main(void *arg)
{
	struct tide_live *live = arg;
	pthread_mutex_lock(&live->lock);
	while (!live->stopping && live->rc == TIDE_OK) {
		if (live->lines > 0 || live->fresh)
			draw(live);
		wait_ms(live, DRAW_MS_MIN, false);
		wait_ms(live, DRAW_MS_MAX - DRAW_MS_MIN, true);
	}
	if (live->rc == TIDE_OK && (live->lines > 0 || live->fresh))
		draw(live);
	pthread_mutex_unlock(&live->lock);
	return NULL;
}

int tide_live_new(const struct tide_live_options *options, struct tide_live **out,
                  struct tide_error *err)
{
	struct tide_live *live = calloc(1, sizeof *live);
	if (live == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the table");
	live->stream = options->stream;
	live->rows_max = options->rows_max < ROWS_MAX ? options->rows_max : ROWS_MAX;
	live->chars_max = options->chars_max;
	live->rows = tide_live_rows_new(options->schema);
	live->top = calloc(ROWS_MAX, sizeof *live->top);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&live->lock, NULL);
	pthread_cond_init(&live->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (live->rows != NULL && live->top != NULL &&
	    pthread_create(&live->thread, NULL, live_main, live) == 0) {
		*out = live;
		return TIDE_OK;
	}
	pthread_cond_destroy(&live->changed);
	pthread_mutex_destroy(&live->lock);
	tide_live_rows_free(live->rows);
	free(live->top);
	free(live);
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the table");
}

bool tide_live_fits(const struct tide_live *live, const struct tide_schema *schema)
{
	const struct tide_schema *own = tide_live_rows_schema(live->rows);
	bool fits = own->count == schema->count;
	for (int c = 0; fits && c < own->count; c++)
		fits = own->columns[c].type == schema->columns[c].type &&
		       strcmp(own->columns[c].name, schema->columns[c].name) == 0;
	return fits;
}

int tide_live_take(struct tide_live *live, int64_t epoch, const struct tide_rows *rows,
                   struct tide_error *err)
{
	pthread_mutex_lock(&live->lock);
	int rc = live->rc;
	bool ok = tide_live_rows_take(live->rows, rows);
	live->epoch = epoch;
	live->epoch_rows = tide_rows_count(rows);
	live->fresh = true;
	pthread_cond_signal(&live->changed);
	pthread_mutex_unlock(&live->lock);
	if (rc == TIDE_ERR_STOPPED)
		return tide_fail(err, rc, "the terminal of the table takes nothing");
	if (rc != TIDE_OK)
		return tide_fail(err, TIDE_ERR_UNAVAILABLE, "the terminal of the table is gone");
	return ok ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory for the table");
}

void tide_live_free(struct tide_live *live)
{
	static const char give_back[] = "\0337\033[r\0338";
	if (live == NULL)
		return;
	pthread_mutex_lock(&live->lock);
	live->stopping = true;
	pthread_cond_signal(&live->changed);
	pthread_mutex_unlock(&live->lock);
	pthread_join(live->thread, NULL);
	if (live->lines > 0 && live->rc == TIDE_OK)
		tide_stream_write(live->stream, give_back, sizeof give_back - 1, NULL);
	else if (live->lines > 0)
		tide_stream_try(live->stream->fd, give_back, sizeof give_back - 1);
	atomic_store(&claimed_fd, -1);
	pthread_cond_destroy(&live->changed);
	pthread_mutex_destroy(&live->lock);
	tide_live_rows_free(live->rows);
	tide_buf_fini(&live->out);
	free(live->top);
	free(live);
}

void tide_live_abandon(void)
{
	/* The cursor may be anywhere: below everything, on a line of its own. */
	static const char text[] = "\033[0m\033[r\033[999;1H\n\033[?25h";
	int fd = atomic_exchange(&claimed_fd, -1);
	if (fd >= 0)
		tide_stream_try(fd, text, sizeof text - 1);
}
