/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker holds of an epoch until it is decided, and when that is enough. */
#ifndef TIDE_RUN_HELD_H
#define TIDE_RUN_HELD_H

#include <stdbool.h>

struct tide_share;
struct tide_worker;

/* What the loops have written goes to the partition that it came from: rows for
 * sinks, and rows that wait for a dedup. false: no memory. */
bool tide_held_take(struct tide_worker *worker, struct tide_share *share);
/* Ends the epoch early when its changes reach this worker's part of an eighth of
 * the memory, or its rows their piece; says how near it is in work->filled. */
void tide_held_measure(struct tide_worker *worker);

#endif
