/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange: what each worker's delta holds for each owner of shards.
 *
 * In memory the parcels are lists of entries that stay where they are; across
 * machines the same calls will carry bytes. Senders finish before receivers
 * begin; the loop keeps them apart. */
#ifndef TIDE_RUN_EXCHANGE_H
#define TIDE_RUN_EXCHANGE_H

#include <stddef.h>

#include "base/error.h"
#include "state/table.h"

enum { TIDE_WORKERS_MAX = TIDE_SHARDS };

struct tide_exchange;

struct tide_exchange *tide_exchange_new(int workers, int keyed_count);
void tide_exchange_free(struct tide_exchange *exchange);

/* Who owns a shard: contiguous runs, so that owners in order are shards in
 * order, whatever their number. */
int tide_exchange_owner(uint32_t shard, int workers);

/* Worker `from` puts its delta of operator `keyed` up for the owners. */
int tide_exchange_send(struct tide_exchange *exchange, int keyed, int from,
                       struct tide_table *delta, struct tide_error *err);
/* What `from` has for `to`, and the delta it lies in; good until from sends again. */
struct tide_entry **tide_exchange_receive(struct tide_exchange *exchange, int keyed, int from,
                                          int to, struct tide_table **delta, size_t *count);

#endif
