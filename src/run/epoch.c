/* SPDX-License-Identifier: Apache-2.0 */
/* How much an epoch takes: shares of the backlog, and the rate limit. */
#include "run/epoch.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

struct owed {
	__int128 owed;
	int part;
};

/* Who is owed most by rounding comes first. */
static int by_owed(const void *a, const void *b)
{
	const struct owed *x = a, *y = b;
	if (x->owed != y->owed)
		return x->owed > y->owed ? -1 : 1;
	return x->part < y->part ? -1 : x->part > y->part;
}

/* Rounding down has left less than one record a partition to hand out, and each of
 * those that were cut is owed less than one. */
static void hand_out(const int64_t *backlog, int count, int64_t limit, __int128 total, int64_t left,
                     int64_t *take)
{
	struct owed *owed = malloc((size_t)count * sizeof *owed);
	for (int i = 0; owed != NULL && i < count; i++)
		owed[i] = (struct owed){ (__int128)limit * backlog[i] - (__int128)take[i] * total,
			                 i };
	if (owed != NULL)
		qsort(owed, (size_t)count, sizeof *owed, by_owed);
	for (int i = 0; left > 0 && i < count; i++) {
		int part = owed != NULL ? owed[i].part : i;
		if (take[part] >= backlog[part])
			continue;
		take[part]++;
		left--;
	}
	free(owed);
}

void tide_epoch_split(const int64_t *backlog, int count, int64_t limit, int64_t *take)
{
	__int128 total = 0;
	for (int i = 0; i < count; i++) {
		assert(backlog[i] >= 0);
		total += backlog[i];
	}
	int64_t given = 0;
	for (int i = 0; i < count; i++) {
		take[i] = total <= limit ? backlog[i]
		                         : (int64_t)((__int128)limit * backlog[i] / total);
		given += take[i];
	}
	if (given < limit && total > limit)
		hand_out(backlog, count, limit, total, limit - given, take);
}

/* Event time per record where a partition's own is not known; 0: nobody's is. */
static double pace_of_all(const struct tide_pace *paces, int count)
{
	double us = 0, records = 0;
	for (int i = 0; i < count; i++) {
		us += paces[i].gained_us;
		records += paces[i].gained_records;
	}
	return records > 0 ? us / records : 0;
}

/* The records that take it to that event time. */
static int64_t needed(const struct tide_pace *one, double pace, double to_us)
{
	if (one->gained_records > 0)
		pace = one->gained_us / one->gained_records;
	double gap = to_us - (double)one->at_us;
	if (gap <= 0)
		return 0;
	/* (The second comparison rounds otherwise than the first.) */
	int64_t records = gap < pace * (double)one->backlog ? (int64_t)(gap / pace) + 1 : INT64_MAX;
	return records < one->backlog ? records : one->backlog;
}

/* May it be less than they can read, what takes all of them there? */
static bool falls_short(const struct tide_pace *paces, int count, double pace, double to_us,
                        int64_t limit)
{
	__int128 total = 0;
	for (int i = 0; i < count; i++)
		total += needed(&paces[i], pace, to_us);
	return total < limit;
}

static void hold_leaders(struct tide_pace *paces, int count, int64_t lead_us)
{
	int64_t least = INT64_MAX;
	for (int i = 0; i < count; i++)
		if (paces[i].at_us < least)
			least = paces[i].at_us;
	for (int i = 0; i < count; i++)
		paces[i].allowed = (uint64_t)paces[i].at_us - (uint64_t)least > (uint64_t)lead_us
		                           ? 0
		                           : paces[i].backlog;
}

void tide_epoch_level(struct tide_pace *paces, int count, int64_t limit, int64_t lead_us)
{
	/* All event times there are, and halved so often that less than one is left. */
	enum { HALVINGS = 64 };
	double pace = pace_of_all(paces, count), low = -9.3e18, high = 9.3e18;
	if (pace <= 0) {
		hold_leaders(paces, count, lead_us);
		return;
	}
	for (int i = 0; i < HALVINGS; i++) {
		double middle = low + (high - low) / 2;
		*(falls_short(paces, count, pace, middle, limit) ? &low : &high) = middle;
	}
	for (int i = 0; i < count; i++)
		paces[i].allowed = needed(&paces[i], pace, high);
}

void tide_rate_init(struct tide_rate *rate, int64_t per_second, int64_t now_us)
{
	rate->per_second = per_second;
	rate->tokens = 0;
	rate->filled_us = now_us;
}

int64_t tide_rate_allow(struct tide_rate *rate, int64_t wanted, int64_t now_us)
{
	if (rate->per_second == 0)
		return wanted;
	double room = (double)rate->per_second / 10;
	if (room < 1)
		room = 1;
	rate->tokens += (double)(now_us - rate->filled_us) * (double)rate->per_second / 1e6;
	rate->filled_us = now_us;
	if (rate->tokens > room)
		rate->tokens = room;
	/* Wait for half a bucket when more is wanted: epochs of one record each
	 * would spend their time on commits. */
	double least = (double)wanted < room / 2 ? (double)wanted : room / 2;
	if (rate->tokens < 1 || rate->tokens < least)
		return 0;
	return (double)wanted < rate->tokens ? wanted : (int64_t)rate->tokens;
}

void tide_rate_take(struct tide_rate *rate, int64_t taken)
{
	rate->tokens -= (double)taken;
}

int64_t tide_fit_allow(const struct tide_fit *fit, int64_t wanted)
{
	return fit->most > 0 && fit->most < wanted ? fit->most : wanted;
}

/* What a few records fill says nothing of many. */
void tide_fit_learn(struct tide_fit *fit, int64_t taken, int filled)
{
	enum { SOME = 50, AIM = 875 };
	if (filled < SOME)
		fit->most = 0;
	else if (taken > 0)
		fit->most = taken < INT64_MAX / AIM ? taken * AIM / filled + 1 : taken;
}
