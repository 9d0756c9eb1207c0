/* SPDX-License-Identifier: Apache-2.0 */
/* All states of an operator into memory, shard by shard, where they fit.
 *
 * A look-up of one of them asks the filters and indexes of all files that may have it,
 * and takes several times as long as the next one in a walk along all of them. So when
 * a job has asked for a part of what is stored, as after a restart, it gets all of it
 * within some epochs, and never looks again. */
#ifndef TIDE_RUN_LOADING_H
#define TIDE_RUN_LOADING_H

#include "run/shards_inside.h"

/* What the record of the last epoch says is stored. */
void tide_loading_init(struct tide_shards *shards, int keyed, const struct tide_meta *meta);
/* With so many look-ups due for these changes, had no shard been loaded yet: if it is
 * worth while, the next shards, as many as take about twice as long as those. What
 * memory has already stays as it is. */
int tide_loading_some(struct tide_shards *shards, int keyed, uint64_t more,
                      const struct tide_table *delta, struct tide_error *err);
/* Some of it had to go: more look-ups come before the next time. */
void tide_loading_evicted(struct tide_slice_of *slice);

#endif
