/* SPDX-License-Identifier: Apache-2.0 */
/* A job under test. */
#include "run/testing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/keeper.h"
#include "run/loop.h"
#include "source/memory.h"

/* As src/job/ffi.c does it: types and entries that cannot be of two versions. */
__asm__(".section .rodata\n"
        ".type tide_testing_abi_text, @object\n"
        "tide_testing_abi_text:\n"
        ".incbin \"src/run/testing.h\"\n"
        ".byte 0\n"
        ".size tide_testing_abi_text, . - tide_testing_abi_text\n"
        ".previous\n");
extern const char tide_testing_abi_text[] __attribute__((visibility("hidden")));

const char *tide_testing_abi(void)
{
	return tide_testing_abi_text;
}

enum { MEMORY_BYTES = 256 << 20 };

struct tide_testing {
	struct tide_memory *memory;
	struct tide_keeper keeper;
	struct tide_harness harness;
	struct tide_settings settings;
	struct tide_options set;
	char *job_path, *lua_dir, *checkpoint_dir, *from;
	struct tide_vm *vm;
	struct tide_plan *plan;
	struct tide_board *board;
	struct tide_loop *loop;
	atomic_int stop;
	struct tide_buf progress;
	struct tide_error err;
};

/* --- life ------------------------------------------------------------------------ */

struct tide_testing *tide_testing_new(int32_t partitions)
{
	struct tide_testing *testing = calloc(1, sizeof *testing);
	if (testing == NULL)
		return NULL;
	testing->memory = tide_memory_new(partitions);
	tide_log_init(&(struct tide_log_options){ .level = TIDE_WARN });
	testing->harness = (struct tide_harness){
		.memory = testing->memory,
		.sink = &tide_keeper_ops,
		.sink_arg = &testing->keeper,
	};
	if (testing->memory == NULL) {
		free(testing);
		return NULL;
	}
	return testing;
}

static void let_go(struct tide_testing *testing)
{
	tide_vm_free(testing->vm);
	tide_plan_free(testing->plan);
	tide_board_free(testing->board);
	free(testing->job_path);
	free(testing->lua_dir);
	free(testing->checkpoint_dir);
	free(testing->from);
	testing->vm = NULL;
	testing->plan = NULL;
	testing->board = NULL;
	testing->job_path = testing->lua_dir = testing->checkpoint_dir = testing->from = NULL;
}

void tide_testing_free(struct tide_testing *testing)
{
	if (testing == NULL)
		return;
	tide_testing_stop(testing, false);
	tide_keeper_fini(&testing->keeper);
	tide_memory_free(testing->memory);
	tide_buf_fini(&testing->progress);
	tide_options_fini(&testing->set);
	free(testing);
}

const char *tide_testing_error(const struct tide_testing *testing)
{
	return testing->err.text;
}

static bool copy_options(struct tide_testing *testing, const struct tide_testing_options *options)
{
	testing->job_path = strdup(options->job_path);
	testing->lua_dir = strdup(options->lua_dir);
	testing->checkpoint_dir = strdup(options->checkpoint_dir);
	testing->from = options->from != NULL ? strdup(options->from) : NULL;
	testing->settings = (struct tide_settings){
		.job_path = testing->job_path,
		.lua_dir = testing->lua_dir,
		.checkpoint_dir = testing->checkpoint_dir,
		.brokers_default = "memory",
		.from = testing->from,
		.format = "json",
		.set = &testing->set,
		.workers = options->workers,
		.memory_bytes = options->memory_bytes > 0 ? options->memory_bytes : MEMORY_BYTES,
		.batch_records_max =
			options->batch_records_max > 0 ? options->batch_records_max : INT64_MAX,
		.fail_on_data_loss = true,
		.jit_off = options->jit_off,
		.harness = &testing->harness,
	};
	testing->harness.forget = options->forget;
	return testing->job_path != NULL && testing->lua_dir != NULL &&
	       testing->checkpoint_dir != NULL && (options->from == NULL || testing->from != NULL);
}

static int load(struct tide_testing *testing)
{
	struct tide_vm_options vm = {
		.lua_dir = testing->lua_dir,
		.jit_off = testing->settings.jit_off,
		.set = &testing->set,
	};
	int rc = tide_vm_new(&vm, &testing->vm, &testing->err);
	testing->plan = tide_plan_new();
	if (rc == TIDE_OK && testing->plan == NULL)
		rc = tide_fail(&testing->err, TIDE_ERR_NOMEM, "no memory for a plan");
	if (rc == TIDE_OK)
		rc = tide_vm_load(testing->vm, testing->job_path, testing->plan, &testing->err);
	if (rc != TIDE_OK)
		return rc;
	testing->board = tide_board_new(testing->plan->job, NULL, testing->settings.workers, NULL);
	return testing->board != NULL
	               ? TIDE_OK
	               : tide_fail(&testing->err, TIDE_ERR_NOMEM, "no memory to run");
}

bool tide_testing_set(struct tide_testing *testing, const char *key, const char *value)
{
	return tide_option_set(&testing->set, key, value) ||
	       tide_fail(&testing->err, TIDE_ERR_NOMEM, "no memory for settings") == TIDE_OK;
}

bool tide_testing_start(struct tide_testing *testing, const struct tide_testing_options *options)
{
	assert(testing->loop == NULL && options->workers > 0);
	int rc = copy_options(testing, options)
	                 ? load(testing)
	                 : tide_fail(&testing->err, TIDE_ERR_NOMEM, "no memory to run");
	if (rc == TIDE_OK) {
		struct tide_loop_options loop = {
			.settings = &testing->settings,
			.plan = testing->plan,
			.vm = testing->vm,
			.board = testing->board,
			.stop = &testing->stop,
			.result_fd = -1,
		};
		rc = tide_loop_open(&loop, &testing->loop, &testing->err);
	}
	if (rc != TIDE_OK)
		let_go(testing);
	return rc == TIDE_OK;
}

bool tide_testing_stop(struct tide_testing *testing, bool clean)
{
	int rc = tide_loop_close(testing->loop, clean, &testing->err);
	testing->loop = NULL;
	let_go(testing);
	return rc == TIDE_OK;
}

/* --- in and out ------------------------------------------------------------------ */

void tide_testing_clock(int64_t us)
{
	tide_clock_set(us);
}

bool tide_testing_feed(struct tide_testing *testing, const char *topic, int32_t partition,
                       const char *key, size_t key_len, const char *value, size_t value_len,
                       int64_t timestamp_ms)
{
	bool ok = tide_memory_add(testing->memory, topic, partition,
	                          (struct tide_slice){ key, key_len },
	                          (struct tide_slice){ value, value_len }, timestamp_ms);
	if (!ok)
		tide_fail(&testing->err, TIDE_ERR_USAGE, "topic %s has no partition %d", topic,
		          partition);
	return ok;
}

bool tide_testing_header(struct tide_testing *testing, const char *name, size_t name_len,
                         const char *value, size_t value_len)
{
	return tide_memory_header(testing->memory, (struct tide_slice){ name, name_len },
	                          (struct tide_slice){ value, value_len });
}

bool tide_testing_epoch(struct tide_testing *testing, bool *ran)
{
	assert(testing->loop != NULL);
	return tide_loop_step(testing->loop, ran, &testing->err) == TIDE_OK;
}

int32_t tide_testing_outputs(const struct tide_testing *testing)
{
	return testing->plan->output_count;
}

const char *tide_testing_output(const struct tide_testing *testing, int32_t output)
{
	return testing->plan->outputs[output].name;
}

int32_t tide_testing_columns(const struct tide_testing *testing, int32_t output)
{
	return testing->plan->outputs[output].row->count;
}

const char *tide_testing_column(const struct tide_testing *testing, int32_t output, int32_t column,
                                int32_t *type)
{
	const struct tide_column *found = &testing->plan->outputs[output].row->columns[column];
	*type = (int32_t)found->type;
	return found->name;
}

static const struct tide_rows *rows_of(const struct tide_testing *testing, int32_t output)
{
	return tide_keeper_rows(&testing->keeper, testing->plan->outputs[output].name);
}

int32_t tide_testing_rows(const struct tide_testing *testing, int32_t output)
{
	return (int32_t)tide_rows_count(rows_of(testing, output));
}

struct tide_cell tide_testing_cell(const struct tide_testing *testing, int32_t output, int32_t row,
                                   int32_t column)
{
	return tide_rows_cell(rows_of(testing, output), (uint32_t)row, column);
}

void tide_testing_clear(struct tide_testing *testing)
{
	tide_keeper_clear(&testing->keeper);
}

const char *tide_testing_progress(struct tide_testing *testing)
{
	tide_buf_clear(&testing->progress);
	tide_board_latest(testing->board, &testing->progress);
	tide_buf_u8(&testing->progress, '\0');
	return testing->progress.failed ? "" : testing->progress.p;
}

int64_t tide_testing_number(const struct tide_testing *testing, const char *name)
{
	const struct tide_meta *meta = tide_loop_meta(testing->loop);
	const struct {
		const char *name;
		int64_t value;
	} numbers[] = {
		{ "epoch", meta->epoch },
		{ "rows_in", (int64_t)meta->rows_in },
		{ "rows_out", (int64_t)meta->rows_out },
		{ "rows_filtered", (int64_t)meta->rows_filtered },
		{ "rows_failed", (int64_t)meta->rows_failed },
		{ "rows_malformed", (int64_t)meta->rows_malformed },
		{ "rows_late", (int64_t)meta->rows_late },
		{ "watermark_us", meta->watermark_us },
		{ "state_rows", (int64_t)tide_loop_state_rows(testing->loop) },
		{ "state_rows_stored", strcmp(name, "state_rows_stored") == 0
		                               ? tide_loop_state_stored(testing->loop)
		                               : 0 },
		{ "state_rows_held", (int64_t)tide_loop_state_held(testing->loop) },
	};
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (strcmp(numbers[i].name, name) == 0)
			return numbers[i].value;
	return INT64_MIN;
}
