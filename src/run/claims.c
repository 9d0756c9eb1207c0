/* SPDX-License-Identifier: Apache-2.0 */
/* Claims. */
#include "run/claims.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "run/exchange.h"
#include "state/table.h"

struct list {
	struct tide_claim *items;
	size_t count, capacity;
};

struct tide_claims {
	const struct tide_keyspec *spec;
	struct tide_rows *rows;
	struct tide_buf keys;
	int owners;
	struct list *lists; /* per owner */
	uint32_t *passed;
	size_t passed_capacity;
};

struct tide_claims *tide_claims_new(const struct tide_schema *row, const struct tide_keyspec *spec,
                                    int owners)
{
	assert(row->count > 2 && owners > 0);
	struct tide_claims *claims = calloc(1, sizeof *claims);
	if (claims == NULL)
		return NULL;
	claims->spec = spec;
	claims->owners = owners;
	claims->rows = tide_rows_new(row);
	claims->lists = calloc((size_t)owners, sizeof *claims->lists);
	if (claims->rows == NULL || claims->lists == NULL) {
		tide_claims_free(claims);
		return NULL;
	}
	return claims;
}

void tide_claims_free(struct tide_claims *claims)
{
	if (claims == NULL)
		return;
	for (int o = 0; claims->lists != NULL && o < claims->owners; o++)
		free(claims->lists[o].items);
	free(claims->lists);
	free(claims->passed);
	tide_rows_free(claims->rows);
	tide_buf_fini(&claims->keys);
	free(claims);
}

void tide_claims_clear(struct tide_claims *claims)
{
	tide_rows_clear(claims->rows);
	tide_buf_clear(&claims->keys);
	for (int o = 0; o < claims->owners; o++)
		claims->lists[o].count = 0;
}

static struct tide_claim *list_add(struct list *list)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity * 2 + 256;
		struct tide_claim *grown = realloc(list->items, capacity * sizeof *grown);
		if (grown == NULL)
			return NULL;
		list->items = grown;
		list->capacity = capacity;
	}
	return &list->items[list->count++];
}

static bool claim_add(struct tide_claims *claims, uint32_t row)
{
	struct tide_cell cells[TIDE_COLUMNS_MAX];
	int columns = tide_rows_schema(claims->rows)->count;
	for (int i = 0; i < claims->spec->count; i++) {
		int column = claims->spec->columns[i];
		cells[column] = tide_rows_cell(claims->rows, row, column);
	}
	size_t size = tide_key_size(claims->spec, cells), at = claims->keys.len;
	char room[256], *key = size <= sizeof room ? room : malloc(size);
	if (key == NULL)
		return false;
	tide_key_encode(claims->spec, cells, key);
	tide_buf_put(&claims->keys, key, size);
	uint32_t shard = tide_key_shard(key, size);
	if (key != room)
		free(key);
	struct tide_claim *claim =
		list_add(&claims->lists[tide_exchange_owner(shard, claims->owners)]);
	if (claim == NULL || claims->keys.failed || claims->keys.len > UINT32_MAX)
		return false;
	*claim = (struct tide_claim){
		.row = row,
		.key_at = (uint32_t)at,
		.key_len = (uint32_t)size,
		.shard = (uint8_t)shard,
		.time_us = tide_rows_cell(claims->rows, row, columns - 2).i,
		.offset = tide_rows_cell(claims->rows, row, columns - 1).i,
	};
	return true;
}

bool tide_claims_add(struct tide_claims *claims, const struct tide_rows *rows)
{
	uint32_t first = tide_rows_count(claims->rows);
	static const char slack[TIDE_KEY_SLACK];
	if (!tide_rows_extend(claims->rows, rows))
		return false;
	bool ok = true;
	for (uint32_t row = first; ok && row < tide_rows_count(claims->rows); row++)
		ok = claim_add(claims, row);
	/* Readable, but not in use: the next keys go over it. */
	tide_buf_put(&claims->keys, slack, sizeof slack);
	ok = ok && !claims->keys.failed;
	if (ok)
		claims->keys.len -= sizeof slack;
	return ok;
}

struct tide_claim *tide_claims_of(struct tide_claims *claims, int owner, size_t *count)
{
	assert(owner < claims->owners);
	*count = claims->lists[owner].count;
	return claims->lists[owner].items;
}

const char *tide_claims_keys(const struct tide_claims *claims)
{
	return claims->keys.p;
}

const struct tide_rows *tide_claims_rows(const struct tide_claims *claims)
{
	return claims->rows;
}

size_t tide_claims_bytes(const struct tide_claims *claims)
{
	return tide_rows_bytes(claims->rows) + claims->keys.len +
	       tide_rows_count(claims->rows) * sizeof(struct tide_claim);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

bool tide_claims_passed(struct tide_claims *claims, const uint32_t **rows, size_t *count)
{
	size_t all = tide_rows_count(claims->rows);
	*count = 0;
	if (all > claims->passed_capacity) {
		free(claims->passed);
		claims->passed = malloc(all * sizeof *claims->passed);
		claims->passed_capacity = claims->passed != NULL ? all : 0;
		if (claims->passed == NULL)
			return false;
	}
	for (int o = 0; o < claims->owners; o++)
		for (size_t i = 0; i < claims->lists[o].count; i++)
			if (claims->lists[o].items[i].passes)
				claims->passed[(*count)++] = claims->lists[o].items[i].row;
	if (*count > 0)
		qsort(claims->passed, *count, sizeof *claims->passed, by_number);
	*rows = claims->passed;
	return true;
}
