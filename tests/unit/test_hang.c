/* SPDX-License-Identifier: Apache-2.0 */
/* Scripts that do not return: each is ended in its record, and the batch goes on as if
 * that record had failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <unistd.h>

#include "job/hang.h"
#include "job/sampler.h"
#include "job/vm.h"
#include "record/rows.h"
#include "state/queue.h"
#include "state/table.h"

enum { ROWS = 40, LIMIT_MS = 60 };

struct world {
	char path[64];
	struct tide_vm *vm;
	struct tide_plan *plan;
	struct tide_ring *ring;
	struct tide_keyspec spec;
	struct tide_table *table;
	struct tide_queue *queue;
	struct tide_rows *rows;
	struct tide_error err;
	bool go_on;
	int bad;
	uint32_t bad_row;
	char text[1024], place[256];
};

static const struct tide_state_ops state_ops = { .push = tide_queue_push,
	                                         .drop = tide_queue_drop,
	                                         .resolve = tide_queue_resolve,
	                                         .forget = tide_queue_forget };

static bool on_bad_row(void *arg, const struct tide_batch *batch, uint32_t row, const char *message,
                       const char *reason, const char *place)
{
	struct world *world = arg;
	(void)batch, (void)reason;
	world->bad++;
	world->bad_row = row;
	snprintf(world->text, sizeof world->text, "%s", message);
	snprintf(world->place, sizeof world->place, "%s", place);
	return world->go_on;
}

static void write_job(struct world *world, const char *text)
{
	strcpy(world->path, "/tmp/tide_hang_XXXXXX.lua");
	int fd = mkstemps(world->path, 4);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void bind(struct world *world)
{
	struct tide_vm_bind bind = {
		.state_ops = &state_ops,
		.queues = &world->queue,
		.rows = &world->rows,
		.ring = world->ring,
		.bad_row = on_bad_row,
		.arg = world,
		.now_us = 1700000000000000,
	};
	assert_int_equal(tide_vm_bind(world->vm, &bind, &world->err), 0);
}

static int world_load(struct world *world, const char *job, size_t memory_max)
{
	struct tide_vm_options options = { .lua_dir = "lua", .memory_max = memory_max };
	*world = (struct world){ .go_on = true };
	assert_int_equal(tide_hang_start(LIMIT_MS, &world->err), 0);
	write_job(world, job);
	world->plan = tide_plan_new();
	world->ring = tide_ring_new();
	assert_int_equal(tide_vm_new(&options, &world->vm, &world->err), 0);
	int rc = tide_vm_load(world->vm, world->path, world->plan, &world->err);
	unlink(world->path); /* Another state gets the text that was loaded. */
	return rc;
}

static void world_open(struct world *world, const char *job, size_t memory_max)
{
	if (world_load(world, job, memory_max) != 0)
		fail_msg("%s", world->err.text);
	if (world->plan->keyed_count > 0) {
		const struct tide_plan_keyed *keyed = &world->plan->keyed[0];
		bool is_text[8] = { false };
		world->spec.count = keyed->key_count;
		for (int i = 0; i < keyed->key_count; i++) {
			world->spec.columns[i] = keyed->keys[i];
			world->spec.types[i] = keyed->row->columns[keyed->keys[i]].type;
		}
		world->table = tide_table_new(&world->spec, (size_t)keyed->state_size);
		world->queue = tide_queue_new(world->table, &world->spec, keyed->args, is_text,
		                              keyed->arg_count);
		tide_queue_limit(world->queue, 24 << 20);
	}
	world->rows = tide_rows_new(world->plan->outputs[0].row);
	tide_rows_limit(world->rows, 24 << 20);
	bind(world);
}

static void world_close(struct world *world)
{
	tide_vm_free(world->vm);
	tide_queue_free(world->queue);
	tide_table_free(world->table);
	tide_rows_free(world->rows);
	tide_ring_free(world->ring);
	tide_plan_free(world->plan);
	tide_hang_start(0, NULL);
}

/* Records "1" to "40", but for the one at `bad`, whose value is "bad". */
static struct tide_run_result run(struct world *world, uint32_t bad, int *rc)
{
	struct tide_run_result result = { 0 };
	struct tide_batch *batch = tide_ring_next(world->ring, "topic", 2);
	for (uint32_t i = 0; i < ROWS; i++) {
		char value[16];
		struct tide_slice key = { "k", 1 }, of_value = { value, 0 };
		of_value.len =
			(size_t)snprintf(value, sizeof value, i == bad ? "bad" : "%u", i + 1);
		assert_non_null(tide_batch_add(batch, key, of_value, i, 0));
	}
	*rc = tide_vm_run(world->vm, 0, batch, &result, &world->err);
	return result;
}

static const char mapping[] =
	"local tide = require 'tidemark'\n"
	"local t, kept = {}, setmetatable({}, { __index = function(_, k) return k end })\n"
	"return tide.from(tide.kafka { topic = 't' }):%s(function(rec%s)\n"
	"   local v = tostring(rec.value)\n"
	"   if v == 'bad' then\n"
	"      %s\n"
	"   end\n"
	"   %s tonumber(v) or 0 %s\n"
	"end, { 'n:int' }):to(tide.console {})\n";

static const char *const endless[] = {
	"while true do end",
	"local n = 0 while true do n = n + 1 end",
	"repeat until false",
	"local function f() return f() end f()",
	"while true do pcall(error, 'x') end",
	"while true do pcall(function() error({}) end) end",
	"while true do xpcall(function() error('x') end, function(e) return e end) end",
	"while true do pcall(function() while true do end end) end",
	"local c = coroutine.wrap(function() while true do coroutine.yield(1) end end) "
	"while true do c() end",
	"local c = coroutine.create(function() while true do end end) while true do "
	"coroutine.resume(c) end",
	"while true do for w in tide.words('a few words of it') do kept[1] = w and 1 end end",
	"while true do local s = ('x'):rep(1000) .. #t end",
	"while true do t[1] = { {}, {} } end",
	"while true do t[#t % 1000 + 1] = tostring({}) end",
	"while true do string.format('%5.2f %s', 1.5, 'x') end",
	"while true do local x = kept[t] end",
	"string.find(('a'):rep(40), ('a?'):rep(40) .. ('a'):rep(41))",
	"local s = ('a'):rep(300) s:match('.-.-.-.-.-.-.-b')",
	"('a'):rep(2000):gsub('.-.-.-.-b', '')",
	"for x in ('a'):rep(2000):gmatch('a*a*a*a*b') do end",
	"('x'):rep(10):gsub('x', function() while true do end end)",
	"table.sort({ 3, 1, 2 }, function(a, b) while true do end end)",
	"for i = 1, math.huge do t.x = i end",
	"while true do rec:headers() end",
	"while true do local x = rec.value == 'y' end",
	"setmetatable({}, { __tostring = function() while true do end end }).x = tostring(t)"
	" while true do tostring(kept) end",
	"error(setmetatable({}, { __tostring = function() while true do end end }))",
	"goto again ::again:: goto again",
	"while true do local f = function() return v end f() end",
	"local n = 1 while true do n = bit.bxor(n, 5) * 1.5 end",
};

static void row_that_never_returns_fails_alone(void **state)
{
	(void)state;
	char job[2048];
	for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) {
		struct world world;
		snprintf(job, sizeof job, mapping, "map", "", endless[i], "return", "");
		world_open(&world, job, 0);
		uint32_t rounds = i < 3 ? 3 : 1;
		for (uint32_t round = 0; round < rounds; round++) {
			int rc;
			uint32_t bad = round * 17 % ROWS;
			struct tide_run_result result = run(&world, bad, &rc);
			if (rc != 0)
				fail_msg("%s: %s", endless[i], world.err.text);
			assert_int_equal(result.rows_in, ROWS);
			assert_int_equal(result.rows_failed, 1);
			assert_int_equal(world.bad_row, bad);
			if (strstr(world.text, "--record-timeout") == NULL ||
			    (strstr(world.place, ".lua:6") == NULL &&
			     strstr(world.place, ".lua:2") == NULL))
				fail_msg("%s: %s (%s)", endless[i], world.text, world.place);
			assert_int_equal(tide_rows_count(world.rows), ROWS - 1);
			assert_int_equal(tide_rows_cell(world.rows, ROWS - 2, 0).i,
			                 bad == ROWS - 1 ? ROWS - 1 : ROWS);
			tide_rows_clear(world.rows);
		}
		assert_int_equal(world.bad, rounds);
		world_close(&world);
	}
}

static const char *const floods[] = {
	"while true do emit(1) end",
	"while true do for w in rec.value:words() do end end",
	"while true do local s = rec.value:lower() end",
	"while true do for w in rec.value:split(',') do end end",
};

static void row_that_makes_things_for_ever_fails_alone(void **state)
{
	(void)state;
	char job[2048];
	for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
		struct world world;
		struct rusage before, after;
		int rc;
		snprintf(job, sizeof job, mapping, "flat_map", ", emit", floods[i], "emit(", ")");
		world_open(&world, job, 24 << 20);
		tide_hang_start(60000, NULL); /* It is memory that ends these. */
		getrusage(RUSAGE_SELF, &before);
		for (int round = 0; round < 3; round++) {
			struct tide_run_result result = run(&world, 5, &rc);
			if (rc != 0)
				fail_msg("%s: %s", floods[i], world.err.text);
			assert_int_equal(result.rows_failed, 1);
			assert_int_equal(world.bad_row, 5);
			assert_int_equal(tide_rows_count(world.rows), ROWS - 1);
			tide_rows_clear(world.rows);
		}
		getrusage(RUSAGE_SELF, &after);
#ifndef __SANITIZE_ADDRESS__
		assert_true(after.ru_maxrss - before.ru_maxrss < 64 * 1024);
#endif
		world_close(&world);
	}
}

static const char *const hogs[] = {
	"local t = {} while true do pcall(function() for i = 1, 1e9 do t[#t + 1] = { i } end end) "
	"end",
	"local t = {} for i = 1, 1e9 do t[i] = { i } end",
	"local t = {} for i = 1, 1e9 do t['key ' .. i] = true end",
	"local f for i = 1, 1e9 do local g = f f = function() return g end end",
	"local s = 'x' for _ = 1, 60 do s = s .. s end",
	"local c = coroutine.wrap(function() local t = {} while true do t[#t + 1] = {} end end) "
	"pcall(c) pcall(c)  error 'not enough memory'",
};

static const char hoarding[] =
	"local tide = require 'tidemark'\n"
	"local mine = tide.aggregator { state = { n = 'int', s = 'double' }, returns = 'double?',\n"
	"   add = function(s, v) s.n = s.n + 1 s.s = s.s + v\n"
	"      if v == 7 then %s end end,\n"
	"   merge = function(s, o) s.n = s.n + o.n s.s = s.s + o.s end,\n"
	"   result = function(s) return s.s end }\n"
	"return tide.from(tide.kafka { topic = 't' })\n"
	"   :map(function(rec) return 'k', tonumber(tostring(rec.value)) or 7 end,\n"
	"        { 'k:string', 'v:int' })\n"
	"   :group_by('k'):aggregate { mine('v'):as 's' }:to(tide.console { mode = 'update' })\n";

static double total(struct world *world);

/* LuaJIT of 2022 spoils its stack when it tells a script that memory is short: with
 * what a pcall goes on with, the process used to die, in one run of four. */
static void row_that_takes_all_memory_fails_alone(void **state)
{
	(void)state;
	char job[2048];
	for (size_t i = 0; i < 2 * sizeof hogs / sizeof hogs[0]; i++) {
		struct world world;
		int rc, round;
		bool adds = i % 2 == 1;
		snprintf(job, sizeof job, adds ? hoarding : mapping, adds ? hogs[i / 2] : "map", "",
		         hogs[i / 2], "return", "");
		world_open(&world, job, 16 << 20);
		tide_hang_start(60000, NULL); /* It is memory that ends these. */
		for (round = 1; round <= 3; round++) {
			struct tide_run_result result = run(&world, 11, &rc);
			if (rc != 0)
				fail_msg("%s: %s", hogs[i / 2], world.err.text);
			assert_int_equal(result.rows_failed, adds ? 2 : 1);
			assert_non_null(strstr(world.text, "16 MiB"));
			if (adds)
				assert_true(total(&world) ==
				            round * (ROWS * (ROWS + 1) / 2.0 - 7 - 12));
			else
				assert_int_equal(tide_rows_count(world.rows), ROWS - 1);
			tide_rows_clear(world.rows);
		}
		world_close(&world);
	}
}

static const char adding[] =
	"local tide = require 'tidemark'\n"
	"local mine = tide.aggregator { state = { n = 'int', s = 'double' }, returns = 'double?',\n"
	"   add = function(s, v) s.n = s.n + 1 s.s = s.s + v\n"
	"      while v == 7 do end end,\n"
	"   merge = function(s, o) while s.n == o.n do s.s = s.s + 1 s.s = s.s - 1 end end,\n"
	"   result = function(s) while s.s == 1 do end return s.s end }\n"
	"return tide.from(tide.kafka { topic = 't' })\n"
	"   :map(function(rec) return 'k', tonumber(tostring(rec.value)) or 7 end,\n"
	"        { 'k:string', 'v:int' })\n"
	"   :group_by('k'):aggregate { mine('v'):as 's' }:to(tide.console { mode = 'update' })\n";

static double total(struct world *world)
{
	uint64_t at = 0;
	struct tide_entry *entry = tide_table_each(world->table, &at);
	double both[2];
	memcpy(both, tide_entry_state(entry), sizeof both);
	return both[0] > 1e-300 ? both[0] : both[1];
}

static void add_that_never_returns_is_taken_back(void **state)
{
	(void)state;
	struct world world;
	int rc;
	world_open(&world, adding, 0);
	for (int round = 1; round <= 3; round++) {
		/* Records 7 and "bad" are sevens. */
		struct tide_run_result result = run(&world, 11, &rc);
		if (rc != 0)
			fail_msg("%s", world.err.text);
		assert_int_equal(result.rows_failed, 2);
		assert_int_equal(world.bad, 2 * round);
		assert_non_null(strstr(world.place, ".lua:4"));
		assert_true(total(&world) == round * (ROWS * (ROWS + 1) / 2.0 - 7 - 12));
	}
	world_close(&world);
}

static void merge_and_result_that_never_return_end_the_job_at_their_line(void **state)
{
	(void)state;
	for (int what = 0; what < 2; what++) {
		struct world world;
		struct {
			int64_t n;
			double s;
		} a = { 1, 1 }, b = { 1, 1 };
		world_open(&world, adding, 0);
		struct tide_pair pair = { .into = (uintptr_t)&a, .from = (uintptr_t)&b };
		uint64_t states[] = { (uintptr_t)&a };
		struct tide_cell key = { .p = "k", .len = 1 };
		int64_t first;
		memcpy(&first, &a, sizeof first);
		int rc = what == 0
		                 ? tide_vm_merge(world.vm, 0, &pair, 1, &world.err)
		                 : tide_vm_finish(world.vm, 0, -1, &key, 1, states, 1, &world.err);
		assert_int_equal(rc, TIDE_ERR_SCRIPT);
		assert_non_null(
			strstr(world.err.text, what == 0 ? ".lua:5: merging" : ".lua:6: fin"));
		assert_int_equal(tide_vm_merge(world.vm, 0, &pair, 1, &world.err), TIDE_ERR_SCRIPT);
		world_close(&world);
	}
}

static void told_to_stop_the_batch_ends_with_the_row(void **state)
{
	(void)state;
	struct world world;
	char job[2048];
	int rc;
	snprintf(job, sizeof job, mapping, "map", "", endless[0], "return", "");
	world_open(&world, job, 0);
	world.go_on = false;
	run(&world, 9, &rc);
	assert_int_equal(rc, TIDE_ERR_SCRIPT);
	assert_non_null(strstr(world.err.text, "topic[2]@9: "));
	assert_non_null(strstr(world.err.text, ".lua:6: "));
	world_close(&world);
}

static void pattern_that_never_ends_while_loading_is_an_error(void **state)
{
	(void)state;
	struct world world;
	assert_int_equal(world_load(&world,
	                            "local tide = require 'tidemark'\n"
	                            "string.find(('a'):rep(40), ('a?'):rep(40) .. ('a'):rep(41))\n",
	                            0),
	                 TIDE_ERR_SCRIPT);
	assert_non_null(strstr(world.err.text, ".lua:2: the job file does not return"));
	world_close(&world);
}

static void pattern_that_never_ends_while_tried_is_an_error(void **state)
{
	(void)state;
	struct world world;
	char job[2048];
	snprintf(job, sizeof job, mapping, "map", "", "",
	         "string.find(('a'):rep(40), "
	         "('a?'):rep(40) .. ('a'):rep(41)) return",
	         "");
	assert_int_equal(world_load(&world, job, 0), 0);
	assert_int_equal(tide_vm_lint(world.vm, world.plan, true, &world.err), TIDE_ERR_SCRIPT);
	assert_non_null(strstr(world.err.text, "does not return"));
	world_close(&world);
}

static void slow_batch_of_quick_rows_is_left_alone(void **state)
{
	(void)state;
	struct world world;
	char job[2048];
	int rc;
	snprintf(job, sizeof job, mapping, "map", "", "",
	         "local n = 0 for i = 1, 2e6 do n = n + i % 7 end return", "");
	world_open(&world, job, 0);
	tide_hang_start(2000, NULL); /* Each takes milliseconds, and all together more. */
	struct tide_run_result result = run(&world, 0, &rc);
	assert_int_equal(rc, 0);
	assert_int_equal(result.rows_failed, 0);
	world_close(&world);
}

/* LuaJIT's profiler cannot be left behind in a state that is given up, so one that it
 * looks at is not ended; between its looks all are. */
static void row_that_never_returns_fails_in_a_run_that_is_profiled_too(void **state)
{
	(void)state;
	struct tide_sampler_options options = {
		.lua_dir = "lua", .vms = 1, .look_ms = 1, .rests = true
	};
	struct tide_sampler *sampler = tide_sampler_new(&options);
	struct world world;
	char job[2048];
	int rc;
	snprintf(job, sizeof job, mapping, "map", "", "", "while v == 'bad' do end return", "");
	world_open(&world, job, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tide_vm_sample(world.vm, sampler, 0, &world.err), 0);
		while (tide_sampler_looks(sampler, 0))
			bind(&world);
		run(&world, 17, &rc);
		assert_int_equal(rc, 0);
		assert_int_equal(world.bad, i + 1);
		assert_int_equal(world.bad_row, 17);
	}
	world_close(&world);
	assert_non_null(strstr(tide_sampler_report(sampler), "== profile: "));
	tide_sampler_free(sampler);
}

/* A virtual machine that its host leaves aside for two seconds finds that the clock of
 * the thread that was running has gone on. */
static void time_that_the_machine_was_away_is_not_the_rows(void **state)
{
	(void)state;
	struct tide_hang hang = { 0 };
	int64_t clock_us = 5000000;
	assert_int_equal(tide_hang_count(&hang, 1, 7, clock_us), 0);
	for (int i = 1; i <= 20; i++)
		assert_int_equal(tide_hang_count(&hang, 1, 7, clock_us += 50000), i * 50000);
	assert_int_equal(tide_hang_count(&hang, 1, 7, clock_us += 2000000), 1100000);
	assert_int_equal(tide_hang_count(&hang, 1, 7, clock_us += 500), 1100500);
	assert_int_equal(tide_hang_count(&hang, 1, 8, clock_us += 50000), 0);
	assert_int_equal(tide_hang_count(&hang, 1, 8, clock_us += 30000), 30000);
	assert_int_equal(tide_hang_count(&hang, 3, 8, clock_us += 30000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(row_that_never_returns_fails_alone),
		cmocka_unit_test(row_that_makes_things_for_ever_fails_alone),
		cmocka_unit_test(row_that_takes_all_memory_fails_alone),
		cmocka_unit_test(add_that_never_returns_is_taken_back),
		cmocka_unit_test(merge_and_result_that_never_return_end_the_job_at_their_line),
		cmocka_unit_test(told_to_stop_the_batch_ends_with_the_row),
		cmocka_unit_test(pattern_that_never_ends_while_loading_is_an_error),
		cmocka_unit_test(pattern_that_never_ends_while_tried_is_an_error),
		cmocka_unit_test(slow_batch_of_quick_rows_is_left_alone),
		cmocka_unit_test(row_that_never_returns_fails_in_a_run_that_is_profiled_too),
		cmocka_unit_test(time_that_the_machine_was_away_is_not_the_rows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
