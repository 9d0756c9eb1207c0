/* SPDX-License-Identifier: Apache-2.0 */
/* How much an epoch takes: shares of the backlog, and the rate limit. */
#ifndef TIDE_RUN_EPOCH_H
#define TIDE_RUN_EPOCH_H

#include <stdint.h>

/* Split `limit` records over partitions in proportion to their backlogs: exact
 * in total, and the same whatever the order of arrival. take[i] <= backlog[i]. */
void tide_epoch_split(const int64_t *backlog, int count, int64_t limit, int64_t *take);

/* A partition among those that should reach the same event time together. */
struct tide_pace {
	int64_t at_us;                    /* its greatest event time so far */
	double gained_us, gained_records; /* how fast that goes; 0: not known */
	int64_t backlog, allowed;
};

/* `allowed` becomes what takes each as far as all of them can get with `limit`
 * records in all; together that is `limit` at least, or all there is. Where no pace
 * is known those more than lead_us ahead of the last one get nothing. */
void tide_epoch_level(struct tide_pace *paces, int count, int64_t limit, int64_t lead_us);

/* A bucket that fills at `per_second` and holds at most a tenth of a second,
 * so that no second sees more than it should. */
struct tide_rate {
	int64_t per_second; /* 0: no limit */
	double tokens;
	int64_t filled_us;
};

void tide_rate_init(struct tide_rate *rate, int64_t per_second, int64_t now_us);
/* How many of `wanted` records may be taken now. */
int64_t tide_rate_allow(struct tide_rate *rate, int64_t wanted, int64_t now_us);
void tide_rate_take(struct tide_rate *rate, int64_t taken);

/* How many records an epoch takes before memory ends it, as the last ones were. One that
 * is ended so stops where each partition happens to be; one that is sized to fit ends
 * with all of them at the same share of their backlog, and so of event time. */
struct tide_fit {
	int64_t most; /* 0: not known */
};

int64_t tide_fit_allow(const struct tide_fit *fit, int64_t wanted);
/* An epoch took so many records and so much of what it may, in thousandths. */
void tide_fit_learn(struct tide_fit *fit, int64_t taken, int filled);

#endif
