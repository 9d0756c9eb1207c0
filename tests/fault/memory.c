/* SPDX-License-Identifier: Apache-2.0 */
/* Every nth allocation of ours fails: in decoders, in opening, deciding and reading
 * a checkpoint, and in a whole job with its epochs. Each either ends with an error
 * that says so, or as if nothing had failed; a job goes on exact in both cases.
 *
 *   memory SCENARIO FIRST COUNT   fails at allocations FIRST, FIRST + 1, …
 *
 * The linker wraps the functions below for our own objects only: what RocksDB,
 * librdkafka and libc take does not fail. Ends with "N failed", and, where the last
 * had nothing to fail any more, with " of M": so many there are. */
#include <errno.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/copy.h"
#include "decode/json.h"
#include "decode/redact.h"
#include "record/rows.h"
#include "run/testing.h"
#include "source/recording.h"
#include "state/keys.h"

/* ---- allocations ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);

static atomic_ulong taken, fail_at; /* fail_at 0: none */
static atomic_bool hit;

static bool fails(void)
{
	unsigned long at = atomic_load(&fail_at);
	if (at == 0 || atomic_fetch_add(&taken, 1) + 1 != at)
		return false;
	atomic_store(&hit, true);
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
	return fails() ? NULL : __real_strndup(text, len);
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return fails() ? MAP_FAILED : __real_mmap(at, len, prot, flags, fd, offset);
}

static void arm(unsigned long at)
{
	atomic_store(&taken, 0);
	atomic_store(&hit, false);
	atomic_store(&fail_at, at);
}

static void disarm(void)
{
	atomic_store(&fail_at, 0);
}

/* ---- what must hold ---- */

static const char *scenario_name = "";
static unsigned long strike;

static void require_at(bool holds, const char *what, int line, const char *text)
{
	if (holds)
		return;
	fprintf(stderr, "memory %s %lu 1: line %d: %s does not hold: %s\n", scenario_name, strike,
	        line, what, text);
	abort();
}

#define REQUIRE(holds)          require_at(holds, #holds, __LINE__, "")
#define REQUIRE_ERR(holds, err) require_at(holds, #holds, __LINE__, (err)->text)

/* The error of an allocation, said as one. */
static void require_clean(int rc, const struct tide_error *err)
{
	if (rc != TIDE_OK)
		REQUIRE_ERR(rc == TIDE_ERR_NOMEM && err->text[0] != '\0', err);
}

static struct tide_slice slice_of(const struct tide_buf *buf)
{
	return (struct tide_slice){ buf->p, buf->len };
}

static bool same(const struct tide_buf *a, const struct tide_buf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->p, b->p, a->len) == 0);
}

/* ---- decoders ---- */

static struct tide_buf sample_meta(void)
{
	struct tide_meta meta = { .epoch = 7, .checkpoint_id = 9, .watermark_us = INT64_MIN };
	struct tide_buf bytes = { 0 };
	for (int p = 0; p < 3; p++)
		REQUIRE(tide_meta_position_add(&meta, "orders", p) != NULL);
	REQUIRE(tide_meta_sink_add(&meta, "console:orders") != NULL);
	struct tide_event_mark *mark = tide_meta_mark(&meta, "at");
	REQUIRE(mark != NULL && tide_meta_mark_part(mark, "orders", 1) != NULL);
	REQUIRE(tide_meta_late(&meta, "count") != NULL);
	tide_meta_encode(&meta, &bytes);
	REQUIRE(!bytes.failed);
	tide_meta_fini(&meta);
	return bytes;
}

static void strike_meta(void)
{
	static struct tide_buf bytes;
	struct tide_buf again = { 0 };
	struct tide_meta meta, copy;
	struct tide_error err = { 0 };
	if (bytes.len == 0)
		bytes = sample_meta();
	arm(strike);
	int rc = tide_meta_decode(slice_of(&bytes), &meta, &err);
	bool copied = rc == TIDE_OK && tide_meta_copy(&copy, &meta);
	if (rc == TIDE_OK)
		tide_meta_encode(&meta, &again);
	disarm();
	require_clean(rc, &err);
	REQUIRE(rc != TIDE_OK || again.failed || same(&again, &bytes));
	if (copied)
		tide_meta_fini(&copy);
	if (rc == TIDE_OK)
		tide_meta_fini(&meta);
	tide_buf_fini(&again);
}

static struct tide_rows *sample_rows(void)
{
	struct tide_schema *schema = tide_schema_new(3);
	REQUIRE(schema != NULL);
	schema->columns[0] = (struct tide_column){ "a", TIDE_INT, true };
	schema->columns[1] = (struct tide_column){ "b", TIDE_STRING, true };
	schema->columns[2] = (struct tide_column){ "c", TIDE_BYTES, true };
	struct tide_rows *rows = tide_rows_new(schema);
	for (int i = 0; rows != NULL && i < 100; i++) {
		struct tide_cell cells[3] = { { .i = i, .len = i % 7 == 0 ? -1 : 0 },
			                      { .p = "some text", .len = i % 10 },
			                      { .p = "bytes", .len = i % 5 } };
		REQUIRE(tide_rows_append(rows, cells));
	}
	free(schema);
	return rows;
}

static void strike_rows(void)
{
	static struct tide_rows *sample;
	static struct tide_buf bytes;
	struct tide_rows *rows = NULL, *more = NULL;
	struct tide_buf again = { 0 };
	struct tide_error err = { 0 };
	if (sample == NULL) {
		sample = sample_rows();
		tide_rows_encode(sample, &bytes);
	}
	arm(strike);
	int rc = tide_rows_decode(slice_of(&bytes), &rows, &err);
	if (rc == TIDE_OK)
		tide_rows_encode(rows, &again);
	more = tide_rows_new(tide_rows_schema(sample));
	bool extended = more != NULL && tide_rows_extend(more, sample) &&
	                tide_rows_extend_range(more, sample, 10, 50);
	disarm();
	require_clean(rc, &err);
	REQUIRE(rc != TIDE_OK || again.failed || same(&again, &bytes));
	REQUIRE(!extended || tide_rows_count(more) == 150);
	tide_rows_free(rows);
	tide_rows_free(more);
	tide_buf_fini(&again);
}

static struct tide_buf sample_recording(void)
{
	struct tide_recording recording = { 0 };
	struct tide_buf bytes = { 0 };
	REQUIRE(tide_option_set(&recording.info, "job", "j"));
	REQUIRE(tide_recording_file(&recording, "job.lua", "return 1") != NULL);
	REQUIRE(tide_recording_part(&recording, 0, "orders", 0) != NULL);
	REQUIRE(tide_recording_output(&recording, "console:orders"));
	for (int s = 0; s < 3; s++) {
		struct tide_recorded_step *step = tide_recording_step(&recording);
		REQUIRE(step != NULL && tide_recorded_step_init(step, 1, 0, 1));
		step->kind = TIDE_RECORDED_EPOCH;
		step->epoch = s;
		step->rows[0] = s == 1 ? sample_rows() : NULL;
	}
	tide_recording_encode(&recording, &bytes);
	REQUIRE(!bytes.failed);
	tide_recording_fini(&recording);
	return bytes;
}

static void strike_recording(void)
{
	static struct tide_buf bytes;
	struct tide_recording recording;
	struct tide_buf again = { 0 };
	struct tide_error err = { 0 };
	if (bytes.len == 0)
		bytes = sample_recording();
	arm(strike);
	int rc = tide_recording_decode(slice_of(&bytes), "sample", &recording, &err);
	if (rc == TIDE_OK)
		tide_recording_encode(&recording, &again);
	disarm();
	require_clean(rc, &err);
	REQUIRE(rc != TIDE_OK || again.failed || same(&again, &bytes));
	if (rc == TIDE_OK)
		tide_recording_fini(&recording);
	tide_buf_fini(&again);
}

static void strike_json(void)
{
	static const struct tide_field fields[] = { { "a", 1, TIDE_INT, 1, 0 },
		                                    { "d.e", 3, TIDE_STRING, 1, 0 },
		                                    { "t", 1, TIDE_TIMESTAMP, 1, 0 } };
	static char doc[70000] = "{\"a\":12,\"d\":{\"e\":\"x\\u00e9\\n";
	struct tide_cell cells[3];
	struct tide_scan_error why;
	if (doc[60000] == '\0') {
		memset(doc + strlen(doc), 'y', 65000);
		strcpy(doc + 65000, "\"},\"t\":\"2024-01-01T00:00:00Z\"}");
	}
	arm(strike);
	struct tide_json_spec *spec = tide_json_spec_new(fields, 3);
	struct tide_arena *arena = tide_arena_new();
	enum tide_scan code = TIDE_SCAN_OK;
	if (spec != NULL && arena != NULL)
		code = tide_json_scan(spec, doc, (int32_t)strlen(doc), arena, cells, &why);
	disarm();
	if (spec != NULL && arena != NULL && code == TIDE_SCAN_OK)
		REQUIRE(cells[0].i == 12 && cells[1].len > 60000);
	else
		REQUIRE(atomic_load(&hit));
	tide_json_spec_free(spec);
	tide_arena_free(arena);
}

static void strike_config(void)
{
	char *flags[] = { "--brokers=a:1", "-Xsasl.password=secret", "--memory=256M", NULL };
	char *variables[] = { "TIDEMARK_WORKERS=3", "KAFSCALE_TOPIC=t", "TIDEMARK_WORKRES=1",
		              NULL };
	struct tide_buf text = { 0 };
	struct tide_error err = { 0 };
	int taken_flags, rc = TIDE_OK;
	arm(strike);
	struct tide_config *config = tide_config_new();
	if (config != NULL)
		rc = tide_config_set_job(config, "wordcount", &err);
	for (int i = 0; config != NULL && rc == TIDE_OK && i < 3; i++)
		rc = tide_config_flag(config, 3 - i, flags + i, &taken_flags, &err);
	if (config != NULL && rc == TIDE_OK)
		rc = tide_config_environment(config, variables, &err);
	if (config != NULL && rc == TIDE_OK)
		rc = tide_config_job_value(config, "trigger", "10s", "job.lua", &err);
	if (config != NULL && rc == TIDE_OK)
		rc = tide_config_settle(config, &err);
	if (config != NULL && rc == TIDE_OK)
		tide_config_dump_text(config, &text);
	disarm();
	require_clean(rc, &err);
	REQUIRE(config != NULL || atomic_load(&hit));
	tide_config_free(config);
	tide_buf_fini(&text);
}

/* ---- a checkpoint ---- */

static char root[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static const char *fresh_root(void)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	strcpy(root, "/tmp/tide_memory_XXXXXX");
	REQUIRE(mkdtemp(root) != NULL);
	return root;
}

static void path_in_root(char *out, size_t size, const char *name)
{
	snprintf(out, size, "%s/%s", root, name);
}

enum { ROWS = (1 << 20) + 100 /* a segment of its own */ };

/* The next epoch: a state that says which, rows, and the release of those before. */
static int decide(struct tide_checkpoint *cp, struct tide_error *err)
{
	static char rows[ROWS];
	struct tide_state_op op;
	struct tide_meta meta;
	struct tide_buf key = { 0 };
	int rc = tide_checkpoint_op(cp, "count", TIDE_ORDER_KEYS, &op, err);
	if (rc != TIDE_OK)
		return rc;
	if (!tide_meta_copy(&meta, tide_checkpoint_meta(cp)))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory");
	int64_t epoch = ++meta.epoch;
	struct tide_position *at = tide_meta_position(&meta, "t", 0);
	struct tide_sink_mark *mark = tide_meta_sink(&meta, "out");
	at = at != NULL ? at : tide_meta_position_add(&meta, "t", 0);
	mark = mark != NULL ? mark : tide_meta_sink_add(&meta, "out");
	struct tide_writes *writes = tide_writes_new();
	bool ok = at != NULL && mark != NULL && writes != NULL;
	if (ok) {
		at->next = epoch * 10;
		mark->due = epoch;
		mark->acked = epoch - 1;
		tide_state_key(&key, op, tide_key_shard("\1k", 2), "\1k", 2);
		ok = !key.failed && tide_writes_put(writes, slice_of(&key),
		                                    (struct tide_slice){ (char *)&epoch, 8 });
	}
	memset(rows, (int)('a' + epoch), sizeof rows);
	struct tide_outbox_entry entry = { "out", { rows, epoch % 2 == 0 ? ROWS : 20 } };
	rc = ok ? tide_checkpoint_decide(cp, &meta, &writes, 1, &entry, 1, err)
	        : tide_fail(err, TIDE_ERR_NOMEM, "no memory");
	tide_writes_free(writes);
	tide_buf_fini(&key);
	tide_meta_fini(&meta);
	return rc;
}

/* The rows of the newest epoch are those it was decided with. */
static int read_back(struct tide_checkpoint *cp, struct tide_error *err)
{
	struct tide_buf rows = { 0 };
	bool found = false;
	int64_t epoch = tide_checkpoint_meta(cp)->epoch;
	int rc = tide_checkpoint_outbox(cp, "out", epoch, &rows, &found, err);
	if (rc == TIDE_OK) {
		REQUIRE(found && rows.len == (epoch % 2 == 0 ? ROWS : 20));
		REQUIRE(rows.p[0] == 'a' + epoch && rows.p[rows.len - 1] == 'a' + epoch);
	}
	tide_buf_fini(&rows);
	return rc;
}

static bool count_one(const struct tide_meta *meta, void *arg)
{
	(void)meta;
	++*(int *)arg;
	return true;
}

static int open_and_decide(const char *dir, int epochs, struct tide_error *err)
{
	struct tide_checkpoint_options options = { 0 };
	struct tide_checkpoint *cp = NULL;
	struct tide_buf meta = { 0 }, state = { 0 };
	int count = 0;
	int rc = tide_checkpoint_open(dir, &options, &cp, err);
	for (int i = 0; rc == TIDE_OK && i < epochs; i++) {
		rc = decide(cp, err);
		if (rc == TIDE_OK)
			rc = read_back(cp, err);
	}
	if (rc == TIDE_OK)
		rc = tide_checkpoint_history(cp, count_one, &count, err);
	if (rc == TIDE_OK)
		rc = tide_checkpoint_copy(cp, 1 << 20, &meta, &state, err);
	tide_buf_fini(&meta);
	tide_buf_fini(&state);
	tide_checkpoint_close(cp);
	return rc;
}

static void strike_checkpoint(void)
{
	char dir[128];
	struct tide_error err = { 0 };
	struct tide_checkpoint_options options = { 0 };
	struct tide_checkpoint *cp = NULL;
	struct tide_verify_report report = { 0 };
	fresh_root();
	path_in_root(dir, sizeof dir, "cp");
	/* Every other time it is a new one. */
	int before = strike % 2 == 0 ? 3 : 0;
	if (before > 0)
		REQUIRE_ERR(open_and_decide(dir, before, &err) == TIDE_OK, &err);
	arm(strike / 2 + 1);
	int rc = open_and_decide(dir, 3, &err);
	disarm();
	bool was_hit = atomic_load(&hit);
	REQUIRE(rc == TIDE_OK || was_hit);
	REQUIRE_ERR(rc == TIDE_OK || err.text[0] != '\0', &err);
	/* What is decided is there, and the rest goes on from it. */
	REQUIRE_ERR(tide_checkpoint_open(dir, &options, &cp, &err) == TIDE_OK, &err);
	int64_t epoch = tide_checkpoint_meta(cp)->epoch;
	REQUIRE(epoch >= before - 1 && epoch <= before + 2 &&
	        (rc != TIDE_OK || epoch == before + 2));
	if (epoch >= 0)
		REQUIRE_ERR(read_back(cp, &err) == TIDE_OK, &err);
	while (epoch++ < before + 2)
		REQUIRE_ERR(decide(cp, &err) == TIDE_OK, &err);
	tide_checkpoint_close(cp);
	REQUIRE_ERR(tide_checkpoint_verify(dir, &report, &err) == TIDE_OK, &err);
	atomic_store(&hit, was_hit);
}

/* ---- a job ---- */

static const char job_text[] =
	"local tide = require 'tidemark'\n"
	"local s = tide.from(tide.kafka { topic = 't', start = 'earliest' })\n"
	"   :json { 'n:int', 'who:string?' }\n"
	"return { s:select { 'n' }:to(tide.console { mode = 'append' }),\n"
	"   s:group_by('who'):count():to(tide.console { mode = 'update', name = 'counts' }) }\n";

enum { JOB_FED = 200, JOB_WHO = 20 };

static void feed(struct tide_testing *testing)
{
	for (int n = 0; n < JOB_FED; n++) {
		char text[64];
		int len = snprintf(text, sizeof text, "{\"n\":%d,\"who\":\"w%d\"}", n, n % JOB_WHO);
		REQUIRE(tide_testing_feed(testing, "t", n % 2, NULL, 0, text, (size_t)len,
		                          1000 + n));
	}
}

static bool run_epochs(struct tide_testing *testing)
{
	bool ran = true, ok = true;
	while (ok && ran)
		ok = tide_testing_epoch(testing, &ran);
	return ok;
}

/* Each number once, and the newest count of each is all of them. */
static void check_job(struct tide_testing *testing)
{
	bool seen[JOB_FED] = { false };
	int64_t counts[JOB_WHO] = { 0 };
	REQUIRE(tide_testing_rows(testing, 0) == JOB_FED);
	for (int32_t r = 0; r < JOB_FED; r++) {
		int64_t n = tide_testing_cell(testing, 0, r, 0).i;
		REQUIRE(n >= 0 && n < JOB_FED && !seen[n]);
		seen[n] = true;
	}
	for (int32_t r = 0; r < tide_testing_rows(testing, 1); r++) {
		struct tide_cell who = tide_testing_cell(testing, 1, r, 0);
		int64_t count = tide_testing_cell(testing, 1, r, 1).i;
		char text[16];
		snprintf(text, sizeof text, "%.*s", (int)who.len, who.p);
		int w = atoi(text + 1);
		REQUIRE(w >= 0 && w < JOB_WHO && count > counts[w]);
		counts[w] = count;
	}
	for (int w = 0; w < JOB_WHO; w++)
		REQUIRE(counts[w] == JOB_FED / JOB_WHO);
}

/* `starts`: the start fails, else an epoch of what runs. */
static void strike_job(bool starts)
{
	char dir[128], job[128];
	fresh_root();
	path_in_root(dir, sizeof dir, "cp");
	path_in_root(job, sizeof job, "job.lua");
	FILE *file = fopen(job, "w");
	REQUIRE(file != NULL && fputs(job_text, file) >= 0 && fclose(file) == 0);
	struct tide_testing_options options = { .job_path = job,
		                                .lua_dir = "lua",
		                                .checkpoint_dir = dir,
		                                .workers = 2,
		                                .partitions = 2,
		                                .batch_records_max = 60,
		                                .jit_off = true };
	struct tide_testing *testing = tide_testing_new(2);
	REQUIRE(testing != NULL);
	feed(testing);
	if (starts)
		arm(strike);
	bool ok = tide_testing_start(testing, &options);
	if (!starts)
		arm(strike);
	bool ran = !starts && ok && run_epochs(testing);
	if (!starts)
		ran = tide_testing_stop(testing, true) && ran;
	disarm();
	bool was_hit = atomic_load(&hit);
	REQUIRE((starts ? ok : ran) || was_hit);
	if (!(starts ? ok : ran))
		REQUIRE(tide_testing_error(testing)[0] != '\0');
	if (!(starts && ok))
		require_at(tide_testing_start(testing, &options), "goes on", __LINE__,
		           tide_testing_error(testing));
	require_at(run_epochs(testing), "runs on", __LINE__, tide_testing_error(testing));
	check_job(testing);
	tide_testing_free(testing);
	atomic_store(&hit, was_hit);
}

static void strike_start(void)
{
	strike_job(true);
}

static void strike_epoch(void)
{
	strike_job(false);
}

/* ---- */

static const struct {
	const char *name;
	void (*strike)(void);
} scenarios[] = {
	{ "meta", strike_meta },   { "rows", strike_rows },     { "recording", strike_recording },
	{ "json", strike_json },   { "config", strike_config }, { "checkpoint", strike_checkpoint },
	{ "start", strike_start }, { "epoch", strike_epoch },
};

int main(int argc, char **argv)
{
	struct tide_log_options quiet = { .level = TIDE_ERROR + 1 };
	unsigned long first = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
	unsigned long count = argc > 3 ? strtoul(argv[3], NULL, 10) : 1000000, hits = 0, missed = 0;
	size_t s = 0;
	tide_log_init(&quiet);
	while (s < sizeof scenarios / sizeof scenarios[0] &&
	       (argc < 2 || strcmp(scenarios[s].name, argv[1]) != 0))
		s++;
	if (s == sizeof scenarios / sizeof scenarios[0] || first == 0) {
		fprintf(stderr, "usage: memory SCENARIO FIRST COUNT\n");
		return 2;
	}
	scenario_name = scenarios[s].name;
	/* Two in a row that fail nothing: threads may take one more or one less. */
	for (strike = first; strike < first + count && missed < 2; strike++) {
		scenarios[s].strike();
		hits += atomic_load(&hit);
		missed = atomic_load(&hit) ? 0 : missed + 1;
	}
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("%s: %lu failed", scenario_name, hits);
	if (!atomic_load(&hit))
		printf(" of %lu",
		       atomic_load(&taken) * (scenarios[s].strike == strike_checkpoint ? 2 : 1));
	printf("\n");
	return 0;
}
