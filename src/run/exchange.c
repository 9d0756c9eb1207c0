/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange: what each worker's delta holds for each owner of shards. */
#include "run/exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One delta, its entries grouped by owner: owner o has [starts[o], starts[o+1]). */
struct parcel {
	struct tide_table *delta;
	struct tide_entry **entries;
	size_t capacity;
	size_t *starts; /* workers + 1 */
};

struct tide_exchange {
	int workers, keyed_count;
	struct parcel *parcels; /* [keyed][from] */
};

struct tide_exchange *tide_exchange_new(int workers, int keyed_count)
{
	assert(workers > 0);
	struct tide_exchange *exchange = calloc(1, sizeof *exchange);
	if (exchange == NULL)
		return NULL;
	size_t count = (size_t)workers * (size_t)keyed_count;
	exchange->workers = workers;
	exchange->keyed_count = keyed_count;
	exchange->parcels = calloc(count + 1, sizeof *exchange->parcels);
	for (size_t i = 0; exchange->parcels != NULL && i < count; i++) {
		struct parcel *parcel = &exchange->parcels[i];
		parcel->starts = calloc((size_t)workers + 1, sizeof *parcel->starts);
		if (parcel->starts == NULL) {
			tide_exchange_free(exchange);
			return NULL;
		}
	}
	if (exchange->parcels == NULL) {
		free(exchange);
		return NULL;
	}
	return exchange;
}

void tide_exchange_free(struct tide_exchange *exchange)
{
	if (exchange == NULL)
		return;
	int count = exchange->workers * exchange->keyed_count;
	for (int i = 0; i < count; i++) {
		free(exchange->parcels[i].entries);
		free(exchange->parcels[i].starts);
	}
	free(exchange->parcels);
	free(exchange);
}

int tide_exchange_owner(uint32_t shard, int workers)
{
	return (int)(shard * (uint32_t)workers / TIDE_SHARDS);
}

static struct parcel *parcel_of(struct tide_exchange *exchange, int keyed, int from)
{
	assert(keyed < exchange->keyed_count && from < exchange->workers);
	return &exchange->parcels[keyed * exchange->workers + from];
}

static bool parcel_reserve(struct parcel *parcel, size_t count)
{
	if (count <= parcel->capacity)
		return true;
	free(parcel->entries);
	parcel->capacity = count + count / 4 + 64;
	parcel->entries = malloc(parcel->capacity * sizeof(struct tide_entry *));
	if (parcel->entries == NULL)
		parcel->capacity = 0;
	return parcel->entries != NULL;
}

int tide_exchange_send(struct tide_exchange *exchange, int keyed, int from,
                       struct tide_table *delta, struct tide_error *err)
{
	struct parcel *parcel = parcel_of(exchange, keyed, from);
	int workers = exchange->workers;
	size_t *starts = parcel->starts;
	size_t fill[TIDE_WORKERS_MAX];
	assert(workers <= TIDE_WORKERS_MAX);
	if (!parcel_reserve(parcel, tide_table_count(delta)))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to exchange %u keys",
		                 tide_table_count(delta));
	parcel->delta = delta;
	memset(starts, 0, ((size_t)workers + 1) * sizeof *starts);
	uint64_t at = 0;
	struct tide_entry *entry;
	while ((entry = tide_table_each(delta, &at)) != NULL) {
		starts[tide_exchange_owner(entry->shard, workers) + 1]++;
	}
	for (int o = 0; o < workers; o++) {
		starts[o + 1] += starts[o];
		fill[o] = starts[o];
	}
	at = 0;
	while ((entry = tide_table_each(delta, &at)) != NULL)
		parcel->entries[fill[tide_exchange_owner(entry->shard, workers)]++] = entry;
	return TIDE_OK;
}

struct tide_entry **tide_exchange_receive(struct tide_exchange *exchange, int keyed, int from,
                                          int to, struct tide_table **delta, size_t *count)
{
	struct parcel *parcel = parcel_of(exchange, keyed, from);
	*delta = parcel->delta;
	*count = parcel->starts[to + 1] - parcel->starts[to];
	return parcel->entries == NULL ? NULL : parcel->entries + parcel->starts[to];
}
