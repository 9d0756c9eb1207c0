/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs in a VM as run/ uses it: load, plan, run, merge, finish, and limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "job/vm.h"
#include "record/rows.h"
#include "state/queue.h"
#include "state/table.h"

enum { PLACES_MAX = 4 };

/* All that a worker has around its VM. */
struct world {
	char path[64];
	struct tide_vm *vm;
	struct tide_plan *plan;
	struct tide_ring *ring;
	struct tide_keyspec specs[PLACES_MAX];
	struct tide_table *tables[PLACES_MAX];
	struct tide_queue *queues[PLACES_MAX];
	struct tide_rows *rows[PLACES_MAX];
	struct tide_error err;
	int64_t offset;
	int bad;
	char bad_text[512];
	bool go_on;
};

static const struct tide_state_ops state_ops = { .push = tide_queue_push,
	                                         .drop = tide_queue_drop,
	                                         .resolve = tide_queue_resolve,
	                                         .forget = tide_queue_forget };

static const char *const wordcount = "jobs/wordcount.lua";

static bool on_bad_row(void *arg, const struct tide_batch *batch, uint32_t row, const char *message,
                       const char *reason, const char *place)
{
	struct world *world = arg;
	assert_non_null(strstr(message, reason));
	assert_non_null(strstr(message, place));
	assert_true(row < batch->count);
	world->bad++;
	snprintf(world->bad_text, sizeof world->bad_text, "%s", message);
	return world->go_on;
}

static int vm_new(struct world *world, struct tide_vm_options options)
{
	memset(world, 0, sizeof *world);
	options.lua_dir = "lua";
	world->go_on = true;
	return tide_vm_new(&options, &world->vm, &world->err);
}

/* A job in a file of its own; text that ends in .lua is a path. */
static int job_load(struct world *world, const char *text)
{
	size_t len = strlen(text);
	tide_plan_free(world->plan);
	world->plan = tide_plan_new();
	if (len > 4 && strcmp(text + len - 4, ".lua") == 0)
		return tide_vm_load(world->vm, text, world->plan, &world->err);
	strcpy(world->path, "/tmp/tide_vm_XXXXXX.lua");
	int fd = mkstemps(world->path, 4);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	close(fd);
	int rc = tide_vm_load(world->vm, world->path, world->plan, &world->err);
	unlink(world->path);
	return rc;
}

static void keyed_open(struct world *world, int k)
{
	const struct tide_plan_keyed *keyed = &world->plan->keyed[k];
	struct tide_keyspec *spec = &world->specs[k];
	bool is_text[8];
	spec->count = keyed->key_count;
	for (int i = 0; i < keyed->key_count; i++) {
		spec->columns[i] = keyed->keys[i];
		spec->types[i] = keyed->row->columns[keyed->keys[i]].type;
	}
	for (int i = 0; i < keyed->arg_count; i++) {
		enum tide_type type = keyed->row->columns[keyed->args[i]].type;
		is_text[i] = type == TIDE_STRING || type == TIDE_BYTES;
	}
	world->tables[k] = tide_table_new(spec, (size_t)keyed->state_size);
	world->queues[k] =
		tide_queue_new(world->tables[k], spec, keyed->args, is_text, keyed->arg_count);
	assert_non_null(world->queues[k]);
}

static void bind(struct world *world)
{
	struct tide_vm_bind bind = {
		.state_ops = &state_ops,
		.queues = world->queues,
		.rows = world->rows,
		.ring = world->ring,
		.bad_row = on_bad_row,
		.arg = world,
		.now_us = 1700000000000000,
		.epoch = 3,
	};
	assert_int_equal(tide_vm_bind(world->vm, &bind, &world->err), 0);
}

static void open_with(struct world *world, const char *job, struct tide_vm_options options)
{
	assert_int_equal(vm_new(world, options), 0);
	if (job_load(world, job) != 0)
		fail_msg("%s", world->err.text);
	assert_true(world->plan->keyed_count <= PLACES_MAX);
	assert_true(world->plan->output_count <= PLACES_MAX);
	for (int k = 0; k < world->plan->keyed_count; k++)
		keyed_open(world, k);
	for (int o = 0; o < world->plan->output_count; o++)
		world->rows[o] = tide_rows_new(world->plan->outputs[o].row);
	world->ring = tide_ring_new();
	bind(world);
}

static void world_close(struct world *world)
{
	for (int i = 0; i < PLACES_MAX; i++) {
		tide_queue_free(world->queues[i]);
		tide_table_free(world->tables[i]);
		tide_rows_free(world->rows[i]);
	}
	tide_vm_free(world->vm);
	tide_ring_free(world->ring);
	tide_plan_free(world->plan);
}

static struct tide_slice slice(const char *text)
{
	return (struct tide_slice){ text, text == NULL ? 0 : strlen(text) };
}

static struct tide_batch *batch_new(struct world *world)
{
	struct tide_batch *batch = tide_ring_next(world->ring, "topic", 2);
	assert_non_null(batch);
	return batch;
}

static struct tide_rec *add(struct world *world, struct tide_batch *batch, const char *key,
                            const char *value)
{
	struct tide_rec *rec =
		tide_batch_add(batch, slice(key), slice(value), world->offset++, 1700000000000);
	assert_non_null(rec);
	return rec;
}

static struct tide_run_result run(struct world *world, const struct tide_batch *batch)
{
	struct tide_run_result result;
	if (tide_vm_run(world->vm, 0, batch, &result, &world->err) != 0)
		fail_msg("%s", world->err.text);
	return result;
}

/* All states of keyed operator k, finished into the rows of its outputs. */
static int finish(struct world *world, int k, int output)
{
	const struct tide_keyspec *spec = &world->specs[k];
	uint32_t count = tide_table_count(world->tables[k]);
	struct tide_cell *cells = calloc((size_t)(count + 1) * (size_t)spec->count, sizeof *cells);
	uint64_t *states = calloc(count + 1, sizeof *states), at = 0;
	struct tide_entry *entry;
	for (uint32_t i = 0; (entry = tide_table_each(world->tables[k], &at)) != NULL; i++) {
		states[i] = (uintptr_t)tide_entry_state(entry);
		assert_true(tide_key_decode(spec, tide_entry_key(world->tables[k], entry),
		                            entry->key_len, cells + i * (uint32_t)spec->count));
	}
	int rc = tide_vm_finish(world->vm, k, output, cells, spec->count, states, count,
	                        &world->err);
	free(states);
	free(cells);
	return rc;
}

static bool text_is(struct tide_cell cell, const char *text)
{
	return cell.len == (int32_t)strlen(text) && memcmp(cell.p, text, strlen(text)) == 0;
}

static int64_t count_of(struct world *world, const char *field, const char *word)
{
	for (uint32_t i = 0; i < tide_rows_count(world->rows[0]); i++)
		if (text_is(tide_rows_cell(world->rows[0], i, 0), field) &&
		    text_is(tide_rows_cell(world->rows[0], i, 1), word))
			return tide_rows_cell(world->rows[0], i, 2).i;
	return 0;
}

/* A fixed mixture of records in batches of `most`; a digest of what was counted. */
static uint64_t wordcount_digest(bool jit_off, uint32_t most)
{
	struct world world;
	unsigned seed = 42;
	open_with(&world, wordcount, (struct tide_vm_options){ .jit_off = jit_off });
	for (int left = 4000; left > 0;) {
		struct tide_batch *batch = batch_new(&world);
		for (uint32_t n = 0; n < most && left > 0; n++, left--) {
			char value[256];
			int len = 0;
			for (int w = rand_r(&seed) % 14; w > 0; w--)
				len += snprintf(value + len, sizeof value - (size_t)len, "%s%d",
				                w % 3 ? " Word" : ", w-", rand_r(&seed) % 300);
			value[len] = '\0';
			add(&world, batch, rand_r(&seed) % 4 ? "A key" : NULL, value);
			if (rand_r(&seed) % 3 == 0) {
				assert_true(tide_batch_headers(batch, 1));
				assert_true(tide_batch_header_set(batch, 0, slice("some-name"),
				                                  slice("V")));
			}
		}
		run(&world, batch);
	}
	assert_int_equal(finish(&world, 0, -1), 0);
	uint64_t digest = 0;
	for (uint32_t i = 0; i < tide_rows_count(world.rows[0]); i++) {
		struct tide_cell word = tide_rows_cell(world.rows[0], i, 1);
		uint64_t hash = (uint64_t)tide_rows_cell(world.rows[0], i, 2).i;
		for (int32_t c = 0; c < word.len; c++)
			hash = hash * 1099511628211u + (unsigned char)word.p[c];
		digest += hash; /* whatever the order */
	}
	assert_int_equal(world.bad, 0);
	world_close(&world);
	return digest;
}

static void word_count_counts_over_batches(void **state)
{
	(void)state;
	struct world world;
	open_with(&world, wordcount, (struct tide_vm_options){ 0 });
	for (int i = 0; i < 3; i++) {
		struct tide_batch *batch = batch_new(&world);
		add(&world, batch, "order order", "Widget");
		assert_true(tide_batch_headers(batch, 1));
		assert_true(tide_batch_header_set(batch, 0, slice("authorization"), slice("")));
		add(&world, batch, "order", NULL);
		add(&world, batch, NULL, "");
		struct tide_run_result result = run(&world, batch);
		assert_int_equal(result.rows_in, 3);
		assert_int_equal(result.rows_failed, 0);
	}
	assert_int_equal(finish(&world, 0, 0), 0);
	assert_int_equal(count_of(&world, "key", "order"), 9);
	assert_int_equal(count_of(&world, "value", "widget"), 3);
	assert_int_equal(count_of(&world, "header", "authorization"), 3);
	assert_int_equal(count_of(&world, "stats", "no-key"), 3);
	assert_int_equal(count_of(&world, "stats", "no-value"), 6);
	assert_int_equal(count_of(&world, "stats", "no-header"), 6);
	assert_int_equal(tide_rows_count(world.rows[0]), 6);
	world_close(&world);
}

static void lint_writes_warnings_into_the_plan(void **state)
{
	(void)state;
	struct world world;
	open_with(&world,
	          "local tide, total = require 'tidemark', 0\n"
	          "return tide.from(tide.kafka { topic = 't' })\n"
	          "   :filter(function(rec) total = total + 1 return true end)\n"
	          "   :to(tide.console {})\n",
	          (struct tide_vm_options){ 0 });
	assert_int_equal(world.plan->warning_count, 0);
	assert_int_equal(tide_vm_lint(world.vm, world.plan, false, &world.err), 0);
	assert_int_equal(world.plan->warning_count, 1);
	const struct tide_plan_warning *warning = &world.plan->warnings[0];
	assert_string_equal(warning->path, world.path);
	assert_int_equal(warning->line, 3);
	assert_non_null(strstr(warning->text, "\"total\" is assigned"));
	assert_non_null(strstr(warning->source, "total = total + 1"));
	world_close(&world);
}

/* Loads a job with these lines in it and tries it. */
static int try_job(struct world *world, const char *before, const char *steps)
{
	char job[4096];
	snprintf(job, sizeof job,
	         "local tide = require 'tidemark'\n%s\n"
	         "return tide.from(tide.kafka { topic = 't' })%s:to(tide.console {})\n",
	         before, steps);
	open_with(world, job, (struct tide_vm_options){ 0 });
	return tide_vm_lint(world->vm, world->plan, true, &world->err);
}

static void tried(struct world *world, const char *before, const char *steps)
{
	assert_int_equal(try_job(world, before, steps), TIDE_OK);
}

static const char *warning_text(const struct world *world)
{
	assert_int_equal(world->plan->warning_count, 1);
	return world->plan->warnings[0].text;
}

static void trial_finds_tables_that_change_behind_an_object(void **state)
{
	(void)state;
	struct world world;
	tried(&world,
	      "local Counter = {} Counter.__index = Counter\n"
	      "function Counter:add() self.n = self.n + 1 end\n"
	      "local counter = setmetatable({ n = 0 }, Counter)",
	      "\n:filter(function() counter:add() return true end)");
	assert_non_null(strstr(warning_text(&world), "\"counter\" is changed when the function"));
	assert_int_equal(world.plan->warnings[0].line, 6);
	world_close(&world);
}

static void trial_reaches_functions_behind_json_and_map(void **state)
{
	(void)state;
	struct world world;
	tried(&world, "local deep = { deeper = setmetatable({}, {}) }",
	      "\n:json { 'a.b:int', 'ok:bool', 'at=a.t:timestamp', 's:string' }\n"
	      ":map(function(row) return row.a_b, row.ok, row.at, row.s end,\n"
	      "   { 'n:int', 'ok:bool', 'at:timestamp', 's' })\n"
	      ":filter(function(row)\n"
	      "   if row.n > 1 and row.at and row.s == 'text 2' then deep.deeper.x = 1 end\n"
	      "   return row.ok end)");
	assert_non_null(strstr(warning_text(&world), "\"deep.deeper\" is changed"));
	assert_int_equal(world.plan->warnings[0].line, 7);
	world_close(&world);
}

static void trial_names_a_row_that_never_ends(void **state)
{
	(void)state;
	struct world world;
	int rc =
		try_job(&world, "local n = 0",
	                "\n:filter(function(rec) while rec.key == 'key 1' do end return true end)");
	assert_int_equal(rc, TIDE_ERR_SCRIPT);
	assert_non_null(strstr(world.err.text, ":4: a function of the job was tried"));
	world_close(&world);
	rc = try_job(&world, "local n = 0",
	             "\n:filter(function(rec) while true do pcall(function() end) end end)");
	assert_int_equal(rc, TIDE_ERR_SCRIPT);
	world_close(&world);
}

static void trial_survives_rows_that_fail(void **state)
{
	(void)state;
	struct world world;
	tried(&world, "local log = setmetatable({}, {})",
	      "\n:filter(function(rec) error('no') end)"
	      "\n:filter(function(rec) log[1] = 1 end)");
	assert_int_equal(world.plan->warning_count, 0);
	world_close(&world);
	tried(&world, "print('loading')",
	      "\n:filter(function(rec) print(rec.value:len()) return 1 end)");
	assert_int_equal(world.plan->warning_count, 0);
	world_close(&world);
}

static void trial_does_not_repeat_what_the_code_shows(void **state)
{
	(void)state;
	struct world world;
	tried(&world, "local seen, cache = {}, {}",
	      ":filter(function(rec) seen[rec.offset] = 1\n"
	      "cache[1] = 2 -- tidemark: ok\n return true end)");
	assert_non_null(strstr(warning_text(&world), "\"seen\" is changed but"));
	world_close(&world);
}

static void counts_do_not_depend_on_the_jit_or_on_batches(void **state)
{
	(void)state;
	uint64_t digest = wordcount_digest(false, TIDE_BATCH_RECORDS_MAX);
	assert_true(digest != 0);
	assert_true(digest == wordcount_digest(true, TIDE_BATCH_RECORDS_MAX));
	assert_true(digest == wordcount_digest(false, 7));
	assert_true(digest == wordcount_digest(true, 1));
}

static void states_merge_between_two_vms(void **state)
{
	(void)state;
	struct world a, b;
	open_with(&a, wordcount, (struct tide_vm_options){ 0 });
	open_with(&b, wordcount, (struct tide_vm_options){ .jit_off = true });
	struct world *both[] = { &a, &b };
	for (int i = 0; i < 2; i++) {
		struct tide_batch *batch = batch_new(both[i]);
		add(both[i], batch, "k", i == 0 ? "x y" : "y y z");
		run(both[i], batch);
	}
	struct tide_entry *entry;
	uint64_t at = 0;
	while ((entry = tide_table_each(b.tables[0], &at)) != NULL) {
		struct tide_entry *into = tide_table_put(
			a.tables[0], tide_entry_key(b.tables[0], entry), entry->key_len);
		struct tide_pair pair = { (uintptr_t)tide_entry_state(into),
			                  (uintptr_t)tide_entry_state(entry) };
		assert_int_equal(tide_vm_merge(a.vm, 0, &pair, 1, &a.err), 0);
	}
	assert_int_equal(finish(&a, 0, -1), 0);
	assert_int_equal(count_of(&a, "value", "x"), 1);
	assert_int_equal(count_of(&a, "value", "y"), 3);
	assert_int_equal(count_of(&a, "value", "z"), 1);
	assert_int_equal(count_of(&a, "key", "k"), 2);
	world_close(&a);
	world_close(&b);
}

static void plan_of_the_word_count_is_filled(void **state)
{
	(void)state;
	struct world world;
	open_with(&world, wordcount, (struct tide_vm_options){ 0 });
	const struct tide_plan *plan = world.plan;
	assert_string_equal(plan->job, "wordcount");
	assert_string_equal(plan->path, wordcount);
	assert_true(plan->hash != 0);
	assert_string_equal(tide_option_get(&plan->settings, "fail_on_data_loss"), "false");
	assert_int_equal(plan->input_count, 1);
	assert_string_equal(plan->inputs[0].kind, "kafka");
	assert_string_equal(tide_option_get(&plan->inputs[0].options, "topics"), "demo-topic-1");
	assert_string_equal(tide_option_get(&plan->inputs[0].options, "start"), "latest");
	assert_int_equal(plan->keyed_count, 1);
	assert_string_equal(plan->keyed[0].name, "count(field,word)");
	assert_string_equal(plan->keyed[0].layout,
	                    "key field:string,word:string; count=count(){n:int, 8 bytes}");
	assert_int_equal(plan->keyed[0].key_count, 2);
	assert_int_equal(plan->keyed[0].keys[1], 1);
	assert_int_equal(plan->keyed[0].state_size, 8);
	assert_int_equal(plan->keyed[0].arg_count, 0);
	assert_int_equal(plan->output_count, 1);
	assert_int_equal(plan->outputs[0].inputs, 0);
	assert_int_equal(plan->outputs[0].keyed, 0);
	assert_string_equal(plan->outputs[0].sink, "console");
	assert_string_equal(tide_option_get(&plan->outputs[0].options, "mode"), "update");
	assert_string_equal(plan->outputs[0].row->columns[2].name, "count");
	assert_int_equal(plan->outputs[0].row->columns[2].type, TIDE_INT);
	assert_int_equal(plan->step_count, 5);
	assert_string_equal(plan->steps[1].text, "flat_map(tokens) -> field:string, word:string");
	assert_int_equal(plan->steps[1].parent, 0);
	assert_true(plan->steps[1].line > 0);
	world_close(&world);
}

static const char passing[] =
	"local tide = require 'tidemark'\n"
	"return tide.from(tide.kafka { topic = 't' })\n"
	"   :filter(function(rec) if rec.key == 'bad' then error('no') end return true end)\n"
	"   :map(function(rec) return rec.value end, { 'v' })\n"
	"   :to(tide.console { })\n";

static void hash_follows_the_source(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(vm_new(&world, (struct tide_vm_options){ 0 }), 0);
	assert_int_equal(job_load(&world, passing), 0);
	uint64_t first = world.plan->hash;
	assert_int_equal(job_load(&world, passing), 0);
	assert_true(world.plan->hash == first);
	char changed[sizeof passing + 8];
	snprintf(changed, sizeof changed, "%s-- x\n", passing);
	assert_int_equal(job_load(&world, changed), 0);
	assert_true(world.plan->hash != first);
	world_close(&world);
}

static void bad_row_is_reported_and_passed(void **state)
{
	(void)state;
	struct world world;
	open_with(&world, passing, (struct tide_vm_options){ 0 });
	struct tide_batch *batch = batch_new(&world);
	add(&world, batch, "a", "1");
	add(&world, batch, "bad", "2");
	add(&world, batch, "a", "3");
	struct tide_run_result result = run(&world, batch);
	assert_int_equal(result.rows_in, 3);
	assert_int_equal(result.rows_failed, 1);
	assert_int_equal(world.bad, 1);
	assert_non_null(strstr(world.bad_text, "topic[2]@1: "));
	assert_non_null(strstr(world.bad_text, ".lua:3: no; on_error = \"skip\""));
	assert_int_equal(tide_rows_count(world.rows[0]), 2);
	assert_true(text_is(tide_rows_cell(world.rows[0], 1, 0), "3"));
	world_close(&world);
}

static void bad_row_stops_the_batch_when_told_to(void **state)
{
	(void)state;
	struct world world;
	open_with(&world, passing, (struct tide_vm_options){ 0 });
	world.go_on = false;
	struct tide_batch *batch = batch_new(&world);
	struct tide_run_result result;
	add(&world, batch, "a", "1");
	add(&world, batch, "bad", "2");
	assert_int_equal(tide_vm_run(world.vm, 0, batch, &result, &world.err), TIDE_ERR_SCRIPT);
	assert_non_null(strstr(world.err.text, "topic[2]@1: "));
	assert_int_equal(tide_rows_count(world.rows[0]), 1);
	world_close(&world);
}

static void load_errors_name_file_line_and_text(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(vm_new(&world, (struct tide_vm_options){ 0 }), 0);
	assert_int_equal(job_load(&world, "/nowhere/job.lua"), TIDE_ERR_SCRIPT);
	assert_non_null(strstr(world.err.text, "/nowhere/job.lua: cannot read this job file"));
	assert_int_equal(job_load(&world, "local x\nlocal y = = 1\n"), TIDE_ERR_SCRIPT);
	assert_non_null(strstr(world.err.text, ".lua:2: syntax error: "));
	assert_non_null(strstr(world.err.text, "\n     2 | local y = = 1"));
	assert_int_equal(job_load(&world, "return nil"), TIDE_ERR_SCRIPT);
	assert_non_null(strstr(world.err.text, "the job returns nothing"));
	/* The VM is as good as new. */
	assert_int_equal(job_load(&world, passing), 0);
	world_close(&world);
}

static void plan_names_the_files_of_a_job_that_does_not_load(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(vm_new(&world, (struct tide_vm_options){ 0 }), 0);
	assert_int_equal(job_load(&world, "require 'no.such'\n"), TIDE_ERR_SCRIPT);
	assert_int_equal(world.plan->file_count, 2);
	assert_string_equal(world.plan->files[0], world.path);
	assert_string_equal(world.plan->files[1], "/tmp/no/such.lua");
	assert_int_equal(job_load(&world, passing), 0);
	assert_int_equal(world.plan->file_count, 1);
	world_close(&world);
}

static void wrong_library_folder_is_named(void **state)
{
	(void)state;
	struct tide_vm *vm = NULL;
	struct tide_error err;
	struct tide_vm_options options = { .lua_dir = "/nowhere" };
	assert_int_equal(tide_vm_new(&options, &vm, &err), TIDE_ERR_SCRIPT);
	assert_null(vm);
	assert_non_null(strstr(err.text, "the Lua library in /nowhere does not start"));
}

static void settings_reach_the_job(void **state)
{
	(void)state;
	struct world world;
	struct tide_options set = { 0 };
	assert_true(tide_option_set(&set, "include_headers", "false"));
	open_with(&world, wordcount, (struct tide_vm_options){ .set = &set });
	struct tide_batch *batch = batch_new(&world);
	add(&world, batch, "k", "v");
	run(&world, batch);
	assert_int_equal(finish(&world, 0, -1), 0);
	assert_int_equal(tide_rows_count(world.rows[0]), 2);
	world_close(&world);
	tide_options_fini(&set);
}

static const char greedy[] = "local tide = require 'tidemark'\n"
			     "local kept = {}\n"
			     "return tide.from(tide.kafka { topic = 't' })\n"
			     "   :map(function(rec)\n"
			     "      if rec.key == 'grow' then\n"
			     "         local list = {}\n"
			     "         for i = 1, 1e7 do list[i] = { i, tostring(i) } end\n"
			     "      end\n"
			     "      return 1\n"
			     "   end, { 'v:int' }):to(tide.console { })\n";

enum { LACKING_NOWHERE = 40, LACKING_NAMED, LACKING_BLAMED, LACKING_ELSEWHERE };

/* A big JSON text with escapes, while an arena does not grow (TIDEMARK_FAILPOINT):
 * how that ends, as an exit code. */
static int lacking(void)
{
	struct world world;
	struct tide_run_result result;
	static char value[300 * 1024];
	size_t len = (size_t)sprintf(value, "{\"a\":\"\\n");
	memset(value + len, 'x', sizeof value - len);
	memcpy(value + sizeof value - 3, "\"}", 3);
	open_with(&world,
	          "local tide = require \"tidemark\"\n"
	          "return tide.from(tide.kafka { topic = \"t\" })"
	          ":json({ \"a:string?\" }, { malformed = \"null\" }):to(tide.console {})",
	          (struct tide_vm_options){ 0 });
	int seen = LACKING_ELSEWHERE;
	struct tide_batch *batch = NULL;
	if (world.ring != NULL)
		batch = tide_ring_next(world.ring, "topic", 2);
	if (batch != NULL && tide_batch_add(batch, slice("k"), slice(value), 0, 0) != NULL) {
		int rc = tide_vm_run(world.vm, 0, batch, &result, &world.err);
		bool named = strstr(world.err.text, "out of memory while reading JSON") != NULL;
		uint32_t rows = tide_rows_count(world.rows[0]);
		if (rc != TIDE_OK)
			seen = named && rows == 0 ? LACKING_NAMED : LACKING_BLAMED;
		else
			seen = rows == 1 && tide_rows_cell(world.rows[0], 0, 0).len > 0
			               ? LACKING_NOWHERE
			               : LACKING_BLAMED;
		seen = world.bad > 0 ? LACKING_BLAMED : seen;
	}
	world_close(&world);
	return seen;
}

/* This program once more, so that fail points are read anew. */
static int lacking_at(int growth)
{
	char setting[64];
	int status;
	pid_t child;
	char *argv[] = { (char *)(uintptr_t) "test_vm", (char *)(uintptr_t) "lacking", NULL };
	extern char **environ;
	snprintf(setting, sizeof setting, "arena=io@%d", growth);
	setenv("TIDEMARK_FAILPOINT", setting, 1);
	int rc = posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ);
	unsetenv("TIDEMARK_FAILPOINT");
	assert_int_equal(rc, 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void lack_of_memory_is_no_bad_record(void **state)
{
	(void)state;
	bool named = false;
	int seen = 0;
	for (int growth = 1; seen != LACKING_NOWHERE; growth++) {
		assert_true(growth < 100);
		seen = lacking_at(growth);
		assert_int_not_equal(seen, LACKING_BLAMED);
		named = named || seen == LACKING_NAMED;
	}
	assert_true(named);
}

static void greedy_row_fails_alone_and_the_limit_is_named(void **state)
{
	(void)state;
	struct world world;
	open_with(&world, greedy, (struct tide_vm_options){ .memory_max = 24 << 20 });
	for (int i = 0; i < 5; i++) {
		struct tide_batch *batch = batch_new(&world);
		add(&world, batch, "a", NULL);
		add(&world, batch, "grow", NULL);
		add(&world, batch, "a", NULL);
		struct tide_run_result result = run(&world, batch);
		assert_int_equal(result.rows_failed, 1);
		assert_true(tide_vm_memory(world.vm) <= 24 << 20);
	}
	assert_int_equal(world.bad, 5);
	assert_non_null(strstr(world.bad_text, "topic[2]@13: "));
	assert_non_null(strstr(world.bad_text, "24 MiB"));
	assert_non_null(strstr(world.bad_text, "--script-memory"));
	assert_int_equal(tide_rows_count(world.rows[0]), 10);
	world_close(&world);
}

/* Compiled code asks for the memory, again and again: LuaJIT's own error for that has
 * looked for somebody to catch it on a stack in no order. */
static void greed_that_catches_its_errors_ends_as_well(void **state)
{
	(void)state;
	struct world world;
	open_with(&world,
	          "local tide = require 'tidemark'\n"
	          "return tide.from(tide.kafka { topic = 't' })\n"
	          "   :map(function(rec) local k = tostring(rec.key)\n"
	          "if k == 'grow' then local t = {} while true do pcall(function() "
	          "for i = 1, 1e9 do t[#t + 1] = { i } end end) end end return k end, "
	          "{ 'v:string' }):to(tide.console { })\n",
	          (struct tide_vm_options){ .memory_max = 64 << 20 });
	for (int i = 0; i < 10; i++) {
		struct tide_batch *batch = batch_new(&world);
		add(&world, batch, "a", NULL);
		add(&world, batch, "grow", NULL);
		add(&world, batch, "a", NULL);
		struct tide_run_result result = run(&world, batch);
		assert_int_equal(result.rows_failed, 1);
		assert_int_equal(world.bad, i + 1);
		assert_non_null(strstr(world.bad_text, "64 MiB"));
		assert_int_equal(tide_rows_count(world.rows[0]), 2 * (i + 1));
	}
	world_close(&world);
}

static void greedy_load_names_the_limit(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(vm_new(&world, (struct tide_vm_options){ .memory_max = 16 << 20 }), 0);
	assert_int_equal(job_load(&world, "local t = {}\nfor i = 1, 1e8 do t[i] = { i } end\n"),
	                 TIDE_ERR_SCRIPT);
	assert_non_null(strstr(world.err.text, "16 MiB (--script-memory)"));
	if (job_load(&world, passing) != 0)
		fail_msg("%s", world.err.text);
	world_close(&world);
}

static void state_too_small_to_start_is_an_error(void **state)
{
	(void)state;
	for (size_t max = 1 << 10; max < 1400 << 10; max += 13 << 10) {
		struct world world;
		int rc = vm_new(&world, (struct tide_vm_options){ .memory_max = max });
		if (rc == 0)
			rc = job_load(&world, wordcount);
		assert_true(rc == 0 || rc == TIDE_ERR_SCRIPT || rc == TIDE_ERR_NOMEM);
		assert_true(rc == 0 || world.err.text[0] != '\0');
		world_close(&world);
	}
}

static void memory_stays_put_over_many_batches(void **state)
{
	(void)state;
	struct world world;
	size_t before = 0;
	open_with(&world, wordcount, (struct tide_vm_options){ 0 });
	for (int i = 0; i < 400; i++) {
		struct tide_batch *batch = batch_new(&world);
		for (int n = 0; n < 100; n++)
			add(&world, batch, "some key", "a few words of text, and more of them");
		run(&world, batch);
		if (i == 200)
			before = tide_vm_memory(world.vm);
	}
	assert_true(tide_vm_memory(world.vm) < before * 4 + (4 << 20));
	world_close(&world);
}

static void views_of_a_million_words_and_ten_thousand_headers_work(void **state)
{
	(void)state;
	struct world world;
	enum { BIG = 1 << 20, HEADERS = 10000 };
	char *text = malloc(BIG);
	for (int i = 0; i < BIG; i++)
		text[i] = i % 2 ? ' ' : 'a';
	open_with(&world, wordcount, (struct tide_vm_options){ 0 });
	for (int round = 0; round < 3; round++) {
		struct tide_batch *batch = batch_new(&world);
		assert_non_null(tide_batch_add(batch, (struct tide_slice){ text, BIG },
		                               (struct tide_slice){ text, BIG }, round, 0));
		assert_true(tide_batch_headers(batch, HEADERS));
		for (uint32_t i = 0; i < HEADERS; i++)
			assert_true(tide_batch_header_set(batch, i, slice("name"), slice("v")));
		run(&world, batch);
	}
	assert_int_equal(finish(&world, 0, -1), 0);
	assert_int_equal(count_of(&world, "key", "a"), 3 * BIG / 2);
	assert_int_equal(count_of(&world, "value", "a"), 3 * BIG / 2);
	assert_int_equal(count_of(&world, "header", "name"), 3 * HEADERS);
	world_close(&world);
	free(text);
}

static void empty_batches_and_no_states_are_fine(void **state)
{
	(void)state;
	struct world world;
	open_with(&world, wordcount, (struct tide_vm_options){ 0 });
	assert_int_equal(run(&world, batch_new(&world)).rows_in, 0);
	assert_int_equal(finish(&world, 0, -1), 0);
	assert_int_equal(tide_vm_merge(world.vm, 0, NULL, 0, &world.err), 0);
	world_close(&world);
}

static void version_names_luajit(void **state)
{
	(void)state;
	assert_non_null(strstr(tide_vm_version(), "LuaJIT 2."));
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "lacking") == 0)
		return lacking();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(word_count_counts_over_batches),
		cmocka_unit_test(lint_writes_warnings_into_the_plan),
		cmocka_unit_test(trial_finds_tables_that_change_behind_an_object),
		cmocka_unit_test(trial_reaches_functions_behind_json_and_map),
		cmocka_unit_test(trial_names_a_row_that_never_ends),
		cmocka_unit_test(trial_survives_rows_that_fail),
		cmocka_unit_test(trial_does_not_repeat_what_the_code_shows),
		cmocka_unit_test(counts_do_not_depend_on_the_jit_or_on_batches),
		cmocka_unit_test(states_merge_between_two_vms),
		cmocka_unit_test(plan_of_the_word_count_is_filled),
		cmocka_unit_test(hash_follows_the_source),
		cmocka_unit_test(bad_row_is_reported_and_passed),
		cmocka_unit_test(bad_row_stops_the_batch_when_told_to),
		cmocka_unit_test(load_errors_name_file_line_and_text),
		cmocka_unit_test(plan_names_the_files_of_a_job_that_does_not_load),
		cmocka_unit_test(wrong_library_folder_is_named),
		cmocka_unit_test(settings_reach_the_job),
		cmocka_unit_test(greedy_row_fails_alone_and_the_limit_is_named),
		cmocka_unit_test(lack_of_memory_is_no_bad_record),
		cmocka_unit_test(greed_that_catches_its_errors_ends_as_well),
		cmocka_unit_test(greedy_load_names_the_limit),
		cmocka_unit_test(state_too_small_to_start_is_an_error),
		cmocka_unit_test(memory_stays_put_over_many_batches),
		cmocka_unit_test(views_of_a_million_words_and_ten_thousand_headers_work),
		cmocka_unit_test(empty_batches_and_no_states_are_fine),
		cmocka_unit_test(version_names_luajit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
