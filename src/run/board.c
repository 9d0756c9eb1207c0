/* SPDX-License-Identifier: Apache-2.0 */
/* What a run says of itself: the status line, progress as JSON, the summary. */
#include "run/board.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/timings.h"

enum { TABLE_ROWS = 50 };

struct epoch_note {
	int64_t epoch, records, run_us, total_us, started_us;
};

struct tide_board {
	pthread_mutex_t lock;
	char *job;
	char counted[TIDE_NAME_MAX + 1];
	uint64_t grouped;
	char run_id[37];
	int workers;
	FILE *progress;
	int64_t began_us; /* monotonic */
	char state[32], message[512], notice[512];
	char checkpoint[4096];
	struct tide_buf findings;                   /* members of the diagnosis */
	struct epoch_note notes[TIDE_BOARD_EPOCHS]; /* a ring by count */
	uint64_t epochs;
	struct tide_buf latest;  /* JSON of the newest epoch's progress */
	struct tide_buf table;   /* JSON of its rows */
	struct tide_buf sources; /* JSON of the partitions */
	int64_t lag;
	uint64_t records, rows_out, rows_failed, rows_malformed, rows_filtered, rows_lost,
		state_rows, state_bytes;
	struct tide_timings timings;
	double rate; /* records a second, smoothed for people */
	uint64_t drawn_records;
	int64_t drawn_us;
};

static void make_run_id(char *out, size_t size)
{
	unsigned char b[16] = { 0 };
	FILE *random = fopen("/dev/urandom", "rb");
	if (random != NULL) {
		if (fread(b, 1, sizeof b, random) != sizeof b)
			memset(b, 0, sizeof b);
		fclose(random);
	}
	snprintf(out, size,
	         "%02x%02x%02x%02x-%02x%02x-4%01x%02x-a%01x%02x-%02x%02x%02x%02x%02x%02x", b[0],
	         b[1], b[2], b[3], b[4], b[5], b[6] & 15u, b[7], b[8] & 15u, b[9], b[10], b[11],
	         b[12], b[13], b[14], b[15]);
}

struct tide_board *tide_board_new(const char *job, const char *counted, int workers,
                                  const char *progress_path)
{
	struct tide_board *board = calloc(1, sizeof *board);
	if (board == NULL)
		return NULL;
	pthread_mutex_init(&board->lock, NULL);
	board->job = strdup(job);
	snprintf(board->counted, sizeof board->counted, "%ss", counted ? counted : "row");
	board->workers = workers;
	board->began_us = board->drawn_us = tide_clock_mono_us();
	make_run_id(board->run_id, sizeof board->run_id);
	snprintf(board->state, sizeof board->state, "starting");
	if (progress_path != NULL) {
		board->progress = fopen(progress_path, "ae");
		if (board->progress == NULL)
			tide_log(TIDE_WARN, "progress file %s cannot be written: %m",
			         progress_path);
	}
	return board;
}

void tide_board_free(struct tide_board *board)
{
	if (board == NULL)
		return;
	if (board->progress != NULL)
		fclose(board->progress);
	tide_buf_fini(&board->latest);
	tide_buf_fini(&board->table);
	tide_buf_fini(&board->sources);
	tide_buf_fini(&board->findings);
	pthread_mutex_destroy(&board->lock);
	free(board->job);
	free(board);
}

static void json_string(struct tide_buf *out, const char *text)
{
	tide_buf_json(out, text, strlen(text));
}

static void json_cell(struct tide_buf *out, const struct tide_cell *cell, enum tide_type type)
{
	if (cell->len < 0) {
		tide_buf_printf(out, "null");
		return;
	}
	switch (type) {
	case TIDE_STRING:
	case TIDE_BYTES: tide_buf_json(out, cell->p, (size_t)cell->len); break;
	case TIDE_DOUBLE: tide_buf_printf(out, "%.17g", cell->d); break;
	case TIDE_BOOL: tide_buf_printf(out, cell->i ? "true" : "false"); break;
	case TIDE_INT:
	case TIDE_TIMESTAMP: tide_buf_printf(out, "%lld", (long long)cell->i); break;
	}
}

static void write_table(struct tide_buf *out, const struct tide_rows *rows)
{
	const struct tide_schema *schema = tide_rows_schema(rows);
	uint32_t count = tide_rows_count(rows);
	tide_buf_clear(out);
	tide_buf_printf(out, "{\"columns\":[");
	for (int c = 0; c < schema->count; c++) {
		tide_buf_printf(out, c ? "," : "");
		json_string(out, schema->columns[c].name);
	}
	tide_buf_printf(out, "],\"rowCount\":%u,\"rows\":[", count);
	for (uint32_t r = 0; r < count && r < TABLE_ROWS; r++) {
		tide_buf_printf(out, r ? ",[" : "[");
		for (int c = 0; c < schema->count; c++) {
			struct tide_cell cell = tide_rows_cell(rows, r, c);
			tide_buf_printf(out, c ? "," : "");
			json_cell(out, &cell, schema->columns[c].type);
		}
		tide_buf_printf(out, "]");
	}
	tide_buf_printf(out, "]}");
}

static void write_sources(struct tide_board *board, const struct tide_board_epoch *epoch)
{
	tide_buf_clear(&board->sources);
	board->lag = 0;
	tide_buf_printf(&board->sources, "[");
	for (int i = 0; i < epoch->part_count; i++) {
		const struct tide_board_part *part = &epoch->parts[i];
		int64_t lag = part->end > part->next ? part->end - part->next : 0;
		board->lag += lag;
		tide_buf_printf(&board->sources, "%s{\"topic\":", i ? "," : "");
		json_string(&board->sources, part->topic);
		tide_buf_printf(&board->sources,
		                ",\"partition\":%d,\"startOffset\":%lld,"
		                "\"endOffset\":%lld,\"latestOffset\":%lld,"
		                "\"next\":%lld,\"end\":%lld,\"lag\":%lld,"
		                "\"worker\":%d}",
		                part->partition, (long long)part->from, (long long)part->next,
		                (long long)part->end, (long long)part->next, (long long)part->end,
		                (long long)lag, part->worker);
	}
	tide_buf_printf(&board->sources, "]");
}

/* Records a second by the last epochs, from the first's start to now. */
static double input_rate(const struct tide_board *board)
{
	uint64_t kept = board->epochs < 20 ? board->epochs : 20;
	if (kept == 0)
		return 0;
	int64_t records = 0;
	for (uint64_t i = board->epochs - kept; i < board->epochs; i++)
		records += board->notes[i % TIDE_BOARD_EPOCHS].records;
	int64_t began = board->notes[(board->epochs - kept) % TIDE_BOARD_EPOCHS].started_us;
	int64_t span = tide_clock_us() - began;
	return span > 0 ? (double)records * 1e6 / (double)span : 0;
}

static void write_latest(struct tide_board *board, const struct tide_board_epoch *epoch)
{
	const struct epoch_note *note = &board->notes[(board->epochs - 1) % TIDE_BOARD_EPOCHS];
	double seconds = (double)note->total_us / 1e6;
	char when[32];
	tide_clock_format_ms(epoch->started_us / 1000, when, sizeof when);
	tide_buf_clear(&board->latest);
	tide_buf_printf(&board->latest, "\"name\":");
	json_string(&board->latest, board->job);
	tide_buf_printf(
		&board->latest,
		",\"runId\":\"%s\",\"timestamp\":\"%s\",\"batchId\":%lld,\"epoch\":%lld,"
		"\"version\":\"%08x\",\"numInputRows\":%lld,\"numOutputRows\":%lld,\"inputRowsPerSecond\":%.1f,"
		"\"processedRowsPerSecond\":%.1f,\"batchDurationMs\":%.3f,"
		"\"durationMs\":{\"run\":%.3f,\"wait\":%.3f,\"fold\":%.3f,\"decide\":%.3f,"
		"\"publish\":%.3f,\"triggerExecution\":%.3f},"
		"\"rowsFiltered\":%llu,\"rowsFailed\":%llu,\"rowsMalformed\":%llu,"
		"\"rowsLate\":%llu,"
		"\"lost_records\":%llu,",
		board->run_id, when, (long long)epoch->epoch, (long long)epoch->epoch,
		(unsigned)(epoch->job_hash >> 32), (long long)epoch->records,
		(long long)epoch->rows_out, input_rate(board),
		seconds > 0 ? (double)epoch->records / seconds : 0, (double)note->total_us / 1e3,
		(double)epoch->run_us / 1e3, (double)epoch->wait_us / 1e3,
		(double)epoch->fold_us / 1e3, (double)epoch->decide_us / 1e3,
		(double)epoch->publish_us / 1e3, (double)note->total_us / 1e3,
		(unsigned long long)epoch->rows_filtered, (unsigned long long)epoch->rows_failed,
		(unsigned long long)epoch->rows_malformed, (unsigned long long)epoch->rows_late,
		(unsigned long long)epoch->rows_lost);
	tide_progress_write(epoch->progress, &board->latest);
	tide_buf_printf(&board->latest, ",\"sources\":");
	tide_buf_put(&board->latest, board->sources.p, board->sources.len);
	tide_buf_printf(&board->latest, ",\"diagnosis\":{");
	tide_buf_put(&board->latest, epoch->diagnosis.p, epoch->diagnosis.len);
	tide_buf_printf(&board->latest, "}");
}

void tide_board_published(struct tide_board *board, const struct tide_board_epoch *epoch)
{
	pthread_mutex_lock(&board->lock);
	board->notes[board->epochs++ % TIDE_BOARD_EPOCHS] =
		(struct epoch_note){ epoch->epoch, epoch->records, epoch->run_us,
		                     epoch->run_us + epoch->wait_us + epoch->fold_us +
		                             epoch->decide_us + epoch->publish_us,
		                     epoch->started_us };
	tide_timings_add(&board->timings,
	                 (int64_t[TIDE_PHASES]){ epoch->run_us, epoch->wait_us, epoch->fold_us,
	                                         epoch->decide_us, epoch->publish_us });
	board->records += (uint64_t)epoch->records;
	board->rows_out += (uint64_t)epoch->rows_out;
	board->rows_filtered = epoch->rows_filtered;
	board->rows_failed = epoch->rows_failed;
	board->rows_malformed = epoch->rows_malformed;
	board->rows_lost = epoch->rows_lost;
	board->state_rows = epoch->state_rows;
	board->grouped = epoch->grouped;
	board->state_bytes = epoch->state_bytes;
	write_sources(board, epoch);
	write_latest(board, epoch);
	if (epoch->rows != NULL && tide_rows_count(epoch->rows) > 0)
		write_table(&board->table, epoch->rows);
	if (board->progress != NULL && !board->latest.failed) {
		fprintf(board->progress, "{%.*s}\n", (int)board->latest.len, board->latest.p);
		fflush(board->progress);
	}
	pthread_mutex_unlock(&board->lock);
}

int64_t tide_board_epoch(struct tide_board *board)
{
	pthread_mutex_lock(&board->lock);
	int64_t epoch = board->epochs > 0
	                        ? board->notes[(board->epochs - 1) % TIDE_BOARD_EPOCHS].epoch
	                        : -1;
	pthread_mutex_unlock(&board->lock);
	return epoch;
}

void tide_board_latest(struct tide_board *board, struct tide_buf *out)
{
	pthread_mutex_lock(&board->lock);
	if (board->latest.len > 0)
		tide_buf_printf(out, "{%.*s}", (int)board->latest.len, board->latest.p);
	pthread_mutex_unlock(&board->lock);
}

void tide_board_checkpoint(struct tide_board *board, const char *dir)
{
	char path[4096];
	pthread_mutex_lock(&board->lock);
	snprintf(board->checkpoint, sizeof board->checkpoint, "%s",
	         realpath(dir, path) != NULL ? path : dir);
	pthread_mutex_unlock(&board->lock);
}

void tide_board_say(struct tide_board *board, const char *state,
                    const struct tide_diagnosis *diagnosis)
{
	pthread_mutex_lock(&board->lock);
	snprintf(board->state, sizeof board->state, "%s", state);
	tide_diagnosis_line(diagnosis, board->message, sizeof board->message);
	tide_buf_clear(&board->findings);
	tide_diagnosis_write(diagnosis, &board->findings);
	pthread_mutex_unlock(&board->lock);
}

void tide_board_notice(struct tide_board *board, const char *text)
{
	pthread_mutex_lock(&board->lock);
	snprintf(board->notice, sizeof board->notice, "%s", text);
	pthread_mutex_unlock(&board->lock);
}

/* 1234567 as "1,234,567". */
static const char *grouped(uint64_t number, char *out, size_t size)
{
	char digits[24];
	int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
	size_t at = 0;
	for (int i = 0; i < len && at + 2 < size; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
	return out;
}

void tide_board_draw(struct tide_board *board, uint64_t records)
{
	char line[1280], total[32], rate[32], lag[32];
	int64_t now = tide_clock_mono_us();
	pthread_mutex_lock(&board->lock);
	if (now - board->drawn_us >= 200000) {
		double fresh = (double)(records - board->drawn_records) * 1e6 /
		               (double)(now - board->drawn_us);
		board->rate = board->rate * 0.6 + fresh * 0.4;
		board->drawn_records = records;
		board->drawn_us = now;
		snprintf(line, sizeof line, "%s: %s records, %s/s, epoch %lld, lag %s%s%s%s%.*s",
		         board->job, grouped(records, total, sizeof total),
		         grouped((uint64_t)(board->rate + 0.5), rate, sizeof rate),
		         board->epochs == 0
		                 ? -1LL
		                 : (long long)board->notes[(board->epochs - 1) % TIDE_BOARD_EPOCHS]
		                           .epoch,
		         grouped((uint64_t)board->lag, lag, sizeof lag),
		         board->message[0] ? " - " : "", board->message,
		         board->notice[0] ? " - the new version is refused: " : "",
		         (int)strcspn(board->notice, "\n"), board->notice);
		tide_log_status(line);
	}
	pthread_mutex_unlock(&board->lock);
}

static void get_progress(struct tide_board *board, struct tide_buf *body)
{
	int64_t up_us = tide_clock_mono_us() - board->began_us;
	tide_buf_printf(body, "{\"status\":");
	json_string(body, board->state);
	tide_buf_printf(body, ",\"message\":");
	json_string(body, board->message);
	tide_buf_printf(body, ",\"notice\":");
	json_string(body, board->notice);
	tide_buf_printf(body,
	                ",\"uptimeMs\":%lld,\"workers\":%d,\"totalRecords\":%llu,\"lag\":%lld,",
	                (long long)(up_us / 1000), board->workers,
	                (unsigned long long)board->records, (long long)board->lag);
	if (board->latest.len > 0) {
		tide_buf_put(body, board->latest.p, board->latest.len);
	} else {
		tide_buf_printf(body, "\"name\":");
		json_string(body, board->job);
		tide_buf_printf(body, ",\"runId\":\"%s\",\"epoch\":-1,\"numInputRows\":0",
		                board->run_id);
	}
	tide_buf_printf(body, ",\"table\":");
	if (board->table.len > 0)
		tide_buf_put(body, board->table.p, board->table.len);
	else
		tide_buf_printf(body, "null");
	tide_buf_printf(body, ",\"history\":[");
	uint64_t first = board->epochs > TIDE_BOARD_EPOCHS ? board->epochs - TIDE_BOARD_EPOCHS : 0;
	for (uint64_t i = first; i < board->epochs; i++) {
		const struct epoch_note *note = &board->notes[i % TIDE_BOARD_EPOCHS];
		tide_buf_printf(
			body,
			"%s{\"epoch\":%lld,\"rows\":%lld,\"durationMs\":%.3f,\"startedMs\":%lld}",
			i > first ? "," : "", (long long)note->epoch, (long long)note->records,
			(double)note->total_us / 1e3, (long long)(note->started_us / 1000));
	}
	tide_buf_printf(body, "]}");
}

static void get_diagnosis(struct tide_board *board, struct tide_buf *body)
{
	const struct epoch_note *last = &board->notes[(board->epochs - 1) % TIDE_BOARD_EPOCHS];
	tide_buf_printf(body, "{\"name\":");
	json_string(body, board->job);
	tide_buf_printf(body, ",\"checkpoint\":");
	json_string(body, board->checkpoint);
	tide_buf_printf(body, ",\"status\":");
	json_string(body, board->state);
	tide_buf_printf(body, ",\"message\":");
	json_string(body, board->message);
	tide_buf_printf(body, ",\"epoch\":%lld,\"totalRecords\":%llu,\"totalRowsOut\":%llu,",
	                board->epochs > 0 ? (long long)last->epoch : -1LL,
	                (unsigned long long)board->records, (unsigned long long)board->rows_out);
	if (board->findings.len > 0)
		tide_buf_put(body, board->findings.p, board->findings.len);
	else
		tide_buf_printf(body, "\"findings\":[],\"text\":\"\"");
	tide_buf_printf(body, "}");
}

bool tide_board_get(void *arg, const char *path, struct tide_buf *body, const char **content_type)
{
	struct tide_board *board = arg;
	bool known = true;
	*content_type = "application/json";
	pthread_mutex_lock(&board->lock);
	if (strcmp(path, "/api/v1/progress") == 0) {
		get_progress(board, body);
	} else if (strcmp(path, "/api/v1/diagnosis") == 0) {
		get_diagnosis(board, body);
	} else if (strcmp(path, "/api/v1/applications") == 0) {
		tide_buf_printf(body, "[{\"id\":\"%s\",\"name\":", board->run_id);
		json_string(body, board->job);
		tide_buf_printf(body, ",\"status\":");
		json_string(body, board->state);
		tide_buf_printf(body, ",\"workers\":%d,\"uptimeMs\":%lld}]", board->workers,
		                (long long)((tide_clock_mono_us() - board->began_us) / 1000));
	} else if (strcmp(path, "/livez") == 0) {
		*content_type = "text/plain; charset=utf-8";
		tide_buf_printf(body, "ok\n");
	} else {
		known = false;
	}
	pthread_mutex_unlock(&board->lock);
	return known;
}

void tide_board_summary(struct tide_board *board, bool timings, FILE *out)
{
	char a[32], b[32], c[32];
	pthread_mutex_lock(&board->lock);
	double seconds = (double)(tide_clock_mono_us() - board->began_us) / 1e6;
	int64_t slowest = 0;
	uint64_t first = board->epochs > TIDE_BOARD_EPOCHS ? board->epochs - TIDE_BOARD_EPOCHS : 0;
	for (uint64_t i = first; i < board->epochs; i++)
		if (board->notes[i % TIDE_BOARD_EPOCHS].total_us > slowest)
			slowest = board->notes[i % TIDE_BOARD_EPOCHS].total_us;
	fprintf(out, "\n%s ran %.1f s with %d worker%s\n", board->job, seconds, board->workers,
	        board->workers == 1 ? "" : "s");
	fprintf(out, "  records  %s in, %s rows out\n", grouped(board->records, a, sizeof a),
	        grouped(board->rows_out, b, sizeof b));
	fprintf(out, "  rate     %s records/s over the run\n",
	        grouped(seconds > 0 ? (uint64_t)((double)board->records / seconds) : 0, a,
	                sizeof a));
	fprintf(out, "  epochs   %s, slowest %.1f ms\n", grouped(board->epochs, a, sizeof a),
	        (double)slowest / 1e3);
	if (board->grouped > 0)
		fprintf(out, "  %-8s %s under %s keys, %s KiB in memory\n", board->counted,
		        grouped(board->grouped, a, sizeof a),
		        grouped(board->state_rows, b, sizeof b),
		        grouped(board->state_bytes / 1024, c, sizeof c));
	uint64_t failed = board->rows_failed + board->rows_malformed;
	if (failed + board->rows_lost + board->rows_filtered > 0)
		fprintf(out, "  not used %s filtered, %s failed, %s lost\n",
		        grouped(board->rows_filtered, a, sizeof a), grouped(failed, b, sizeof b),
		        grouped(board->rows_lost, c, sizeof c));
	if (timings)
		tide_timings_print(&board->timings, out);
	pthread_mutex_unlock(&board->lock);
}
