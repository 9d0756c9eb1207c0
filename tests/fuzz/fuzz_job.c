/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a job's file: it is refused with file and line, or has a plan that can
 * be shown, kept and compared with itself. What could loop is left out: nothing
 * bounds the time of a job's own code here. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "job/vm.h"
#include "run/plan.h"
#include "samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_MAX = 64 * 1024 * 1024 };

#define HEAD \
	"local tide = require \"tidemark\"\nlocal s = tide.from(tide.kafka { topic = \"t\" })\n"

static const char *const samples[] = {
	HEAD "   :json { \"a:int\", \"who=b.c:string?\", \"at:timestamp\" }\n"
	     "return s:filter(function(row) return row.a > 1 end)\n"
	     "   :with(\"d:double\", function(row) return row.a * 2 end)\n"
	     "   :to(tide.console { mode = \"append\" })\n",
	HEAD
	"   :json { \"a:int\", \"b:double\", \"at:timestamp\" }:watermark(\"at\", \"10s\")\n"
	"return s:group_by(\"a\"):window(\"1m\", { every = \"10s\" })\n"
	"   :aggregate { n = tide.count(), m = tide.max \"b\", p = tide.approx_percentile(\"b\", 0.9) }\n"
	"   :to(tide.kafka { topic = \"o\", key = \"a\" })\n",
	HEAD
	"   :json { \"id\", \"at:timestamp\" }:watermark(\"at\", \"10s\"):dedup { by = \"id\" }\n"
	"return tide.job { name = \"j\", on_error = tide.files { path = \"dead\" },\n"
	"   outputs = { s:group_by(\"id\"):session(\"30s\"):count():to(tide.console {}) } }\n",
	HEAD
	"return s:flat_map(function(rec, emit) emit(rec.key, #rec.value) end, { \"k:string?\", \"n:int\" })\n"
	"   :group_by(\"k\"):aggregate { top = tide.top(\"n\", 3), s = tide.sum \"n\" }\n"
	"   :to(tide.console { mode = \"complete\" })\n",
};

static void require(int holds)
{
	if (!holds)
		abort();
}

static bool may_loop(const uint8_t *data, size_t size)
{
	static const char *const words[] = { "while", "for",  "repeat", "goto",
		                             "rep",   "find", "match",  "sub" };
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (memmem(data, size, words[i], strlen(words[i])) != NULL)
			return true;
	return false;
}

static void show(const struct tide_plan *plan)
{
	static const enum tide_plan_format formats[] = { TIDE_PLAN_TEXT, TIDE_PLAN_DOT,
		                                         TIDE_PLAN_JSON };
	struct tide_buf print = { 0 };
	struct tide_error err = { 0 };
	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
		struct tide_buf text = { 0 };
		tide_plan_explain(plan, formats[i], &text);
		require(!text.failed && text.len > 0);
		tide_buf_fini(&text);
	}
	tide_plan_fingerprint(plan, &print);
	require(!print.failed);
	require(tide_plan_compare(print.p, plan, "/cp", &err) == TIDE_OK);
	tide_buf_fini(&print);
	for (int k = 0; k < plan->keyed_count; k++) {
		struct tide_keyspec spec;
		tide_plan_keyspec(&plan->keyed[k], &spec);
		require(spec.count > 0 && spec.count <= TIDE_KEY_PARTS_MAX);
		require(plan->keyed[k].state_size >= 0 && plan->keyed[k].state_size % 8 == 0);
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return mutate_sample(samples, sizeof samples / sizeof samples[0], data, size, max_size,
	                     seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tide_vm_options options = { .lua_dir = "lua",
		                           .memory_max = MEMORY_MAX,
		                           .jit_off = true };
	struct tide_error err = { 0 };
	struct tide_vm *vm = NULL;
	char path[64];
	if (may_loop(data, size))
		return -1;
	int fd = memfd_create("job.lua", MFD_CLOEXEC);
	require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	struct tide_plan *plan = tide_plan_new();
	require(plan != NULL && tide_vm_new(&options, &vm, &err) == TIDE_OK);
	if (tide_vm_load(vm, path, plan, &err) == TIDE_OK) {
		show(plan);
		require(tide_vm_lint(vm, plan, false, &err) == TIDE_OK);
	} else {
		require(err.text[0] != '\0');
	}
	tide_plan_free(plan);
	tide_vm_free(vm);
	close(fd);
	return 0;
}
