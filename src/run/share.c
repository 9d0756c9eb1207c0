/* SPDX-License-Identifier: Apache-2.0 */
/* A partition's part in an epoch. */
#include "run/share.h"

#include <sched.h>

/* Less is done sooner than what it takes to begin with it elsewhere. */
enum { WORTH_TAKING = TIDE_BATCH_RECORDS_MAX / 4 };

bool tide_share_done(const struct tide_share *share)
{
	return share->lost || share->part->next >= share->to;
}

void tide_share_give(struct tide_share *share, int worker)
{
	atomic_store_explicit(&share->worker, worker, memory_order_relaxed);
}

bool tide_share_is_of(const struct tide_share *share, int worker)
{
	return atomic_load_explicit(&share->worker, memory_order_relaxed) == worker;
}

bool tide_share_hold(struct tide_share *share, int worker)
{
	if (!tide_share_is_of(share, worker))
		return false;
	/* Somebody looks whether to take it, which is soon decided. */
	while (atomic_exchange_explicit(&share->held, true, memory_order_acquire))
		sched_yield();
	if (tide_share_is_of(share, worker))
		return true;
	tide_share_let_go(share);
	return false;
}

void tide_share_let_go(struct tide_share *share)
{
	atomic_store_explicit(&share->held, false, memory_order_release);
}

bool tide_share_take(struct tide_share *share, int from, int worker)
{
	if (!tide_share_is_of(share, from) ||
	    atomic_load_explicit(&share->part->quiet, memory_order_relaxed) ||
	    atomic_exchange_explicit(&share->held, true, memory_order_acquire))
		return false;
	bool mine = tide_share_is_of(share, from) && !tide_share_done(share) &&
	            share->to - share->part->next >= WORTH_TAKING;
	if (mine)
		tide_share_give(share, worker);
	tide_share_let_go(share);
	return mine;
}
