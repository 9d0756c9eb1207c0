/* SPDX-License-Identifier: Apache-2.0 */
/* One partition's part in the running epoch, and whose work it is.
 *
 * Each begins with a worker of its own. One that has done all of its shares takes
 * some over from a worker that has several left, so that an epoch does not wait for
 * the slowest. Only its worker reads a share, and holds it meanwhile; it is handed
 * over between two batches. */
#ifndef TIDE_RUN_SHARE_H
#define TIDE_RUN_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "run/claims.h"
#include "source/source.h"

struct tide_share {
	struct tide_source *source;
	struct tide_source_part *part;
	int input;
	int64_t from, to;            /* the epoch takes offsets [from, to) */
	int64_t bound;               /* of a bounded run: where it ends; else INT64_MAX */
	struct tide_rows **rows;     /* per output, of rows that are not aggregated */
	struct tide_claims **claims; /* per keyed operator, of rows that wait for a dedup */
	int64_t *max_us;             /* per watermark: the greatest event time of the epoch */
	bool lost;                   /* its next offset is gone: place it again */
	atomic_bool held;
	atomic_int worker; /* whose it is */
};

bool tide_share_done(const struct tide_share *share);

/* The epoch begins: it is this worker's. */
void tide_share_give(struct tide_share *share, int worker);
bool tide_share_is_of(const struct tide_share *share, int worker);
/* False: it is no longer this worker's. True: nobody takes it until it is let go. */
bool tide_share_hold(struct tide_share *share, int worker);
void tide_share_let_go(struct tide_share *share);
/* From one worker to another; false: it is not worth it, or no longer his. */
bool tide_share_take(struct tide_share *share, int from, int worker);

#endif
