/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a JSON document: no crash, no read outside, and cells that hold.
 * clang -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -Isrc tests/fuzz/fuzz_json.c
 *       src/decode/json*.c src/record/arena.c src/base/{clock,error}.c -lm */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decode/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct tide_field fields[] = {
	{ "a", 1, TIDE_INT, 1, 0 },       { "b", 1, TIDE_STRING, 1, 0 },
	{ "c", 1, TIDE_DOUBLE, 0, 0 },    { "d.e", 3, TIDE_TIMESTAMP, 1, 0 },
	{ "d.f.g", 5, TIDE_BYTES, 0, 0 }, { "d", 1, TIDE_STRING, 1, 0 },
	{ "a", 1, TIDE_TIMESTAMP, 1, 0 }, { "a long name", 11, TIDE_BOOL, 1, 0 },
};

enum { FIELDS = sizeof fields / sizeof fields[0] };

static void require(int holds)
{
	if (!holds)
		abort();
}

/* Every byte of text can be read, and a null holds nothing. */
static void check_cell(const struct tide_cell *cell, uint8_t type)
{
	unsigned sum = 0;
	require(cell->spare == 0 && cell->len >= -1);
	if (cell->len < 0)
		require(cell->i == 0);
	else if (type == TIDE_STRING || type == TIDE_BYTES)
		for (int32_t i = 0; i < cell->len; i++)
			sum += (unsigned char)cell->p[i];
	else
		require(cell->len == 0);
	require(sum < UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tide_json_spec *spec;
	static struct tide_arena *arena;
	if (spec == NULL) {
		spec = tide_json_spec_new(fields, FIELDS);
		arena = tide_arena_new();
	}
	require(spec != NULL && arena != NULL);
	char *doc = malloc(size + (size == 0)); /* exactly: one byte more is found */
	require(doc != NULL);
	if (size > 0)
		memcpy(doc, data, size);
	struct tide_cell cells[FIELDS];
	struct tide_scan_error why;
	memset(&why, 0x7F, sizeof why);
	tide_arena_reset(arena);
	enum tide_scan code = tide_json_scan(spec, doc, (int32_t)size, arena, cells, &why);
	for (int i = 0; i < FIELDS; i++)
		check_cell(&cells[i], fields[i].type);
	if (code != TIDE_SCAN_OK) {
		require(why.code == (int32_t)code);
		require(why.at >= 0 && (size_t)why.at <= size);
		require(memchr(why.text, '\0', sizeof why.text) != NULL);
		require((why.field >= 0) == (code != TIDE_SCAN_MALFORMED));
	}
	free(doc);
	return 0;
}
