/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that wait for their states.
 *
 * A row's keys are encoded and queued while the row runs, and looked up many
 * at a time between rows: one at a time, most of a word count's time is spent
 * waiting for memory. What a failing row has queued is dropped, so a table
 * never holds anything of it. */
#ifndef TIDE_STATE_QUEUE_H
#define TIDE_STATE_QUEUE_H

#include "record/abi.h"
#include "state/table.h"

/* args are columns of the row whose cells are kept with the key, for the
 * aggregates to add. The table is borrowed. NULL without memory. */
struct tide_queue *tide_queue_new(struct tide_table *table, const struct tide_keyspec *keyspec,
                                  const int *args, const bool *arg_is_text, int arg_count);
void tide_queue_free(struct tide_queue *queue);

/* Its keys, and the rest of it, take no more than about so much each. */
void tide_queue_limit(struct tide_queue *queue, size_t bytes);

/* The key and arguments of a row; false without memory. */
bool tide_queue_push(struct tide_queue *queue, const struct tide_cell *row, uint32_t number);
/* Back to the first `count`: the rest was of a row that failed. */
void tide_queue_drop(struct tide_queue *queue, uint32_t count);
/* Find or make the states of all; false without memory. What it gives is in
 * queue->states, args and rows, until the next push. Empties the queue. */
bool tide_queue_resolve(struct tide_queue *queue, uint32_t *count);
/* Nothing was added to the newest state of this number, which is nobody's any more:
 * take its key out of the table if the last resolve made it. */
void tide_queue_forget(struct tide_queue *queue, uint32_t number);
/* How many keys it has resolved in its life. */
uint64_t tide_queue_total(const struct tide_queue *queue);

#endif
