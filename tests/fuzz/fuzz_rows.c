/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as stored rows, under a good checksum: refused, or exactly what
 * encoding writes, and every cell can be read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "record/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

static void read_cells(const struct tide_rows *rows)
{
	unsigned sum = 0;
	const struct tide_schema *schema = tide_rows_schema(rows);
	for (uint32_t r = 0; r < tide_rows_count(rows); r++) {
		for (int c = 0; c < schema->count; c++) {
			enum tide_type type = schema->columns[c].type;
			struct tide_cell cell = tide_rows_cell(rows, r, c);
			bool text = type == TIDE_STRING || type == TIDE_BYTES;
			require(cell.len >= 0 || schema->columns[c].nullable);
			require(text || cell.len <= 0);
			for (int32_t i = 0; text && i < cell.len; i++)
				sum += (unsigned char)cell.p[i];
		}
	}
	require(sum < UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tide_rows *rows = NULL;
	uint64_t sum = tide_hash(data, size, 0);
	char *bytes = malloc(size + sizeof sum);
	require(bytes != NULL);
	if (size > 0)
		memcpy(bytes, data, size);
	memcpy(bytes + size, &sum, sizeof sum);
	struct tide_slice given = { bytes, size + sizeof sum };
	if (tide_rows_decode(given, &rows, NULL) == TIDE_OK) {
		struct tide_buf again = { 0 };
		uint32_t *order = calloc(tide_rows_count(rows) + 1, sizeof *order);
		require(order != NULL);
		read_cells(rows);
		tide_rows_sort(rows, order);
		tide_rows_encode(rows, &again);
		require(again.len == given.len && memcmp(again.p, bytes, given.len) == 0);
		free(order);
		tide_buf_fini(&again);
		tide_rows_free(rows);
	}
	free(bytes);
	return 0;
}
