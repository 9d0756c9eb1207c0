/* SPDX-License-Identifier: Apache-2.0 */
/* The watermark of one stream: the earliest event time that may still come.
 *
 * Pure: who calls says what was read and what the time is. An epoch is judged by
 * the watermark that was stored before it; this makes the one after it. */
#ifndef TIDE_TIME_WATERMARK_H
#define TIDE_TIME_WATERMARK_H

#include <stdbool.h>
#include <stdint.h>

/* One partition of the stream. */
struct tide_watermark_part {
	char *topic;
	int32_t partition;
	int64_t max_us;   /* its greatest event time; INT64_MIN: none yet */
	int64_t quiet_us; /* caught up since then; INT64_MIN: it is not */
	bool idle;        /* quiet for so long that it holds nobody back */
	bool stuck;       /* its last records brought no later event time */
	bool behind;      /* there is more of it to read, which is older than some elsewhere */
	/* How fast its event time goes: it gained so much in so many records, the older
	 * ones counting less. No records: not known. */
	double gained_us, gained_records;
};

struct tide_watermark {
	int64_t delay_us;
	bool per_partition; /* the least of those that are not idle, not the greatest of all */
	int64_t idle_us;
	int64_t at_us; /* INT64_MIN: unset. It never goes back. */
	int count;
	int found; /* the one that was looked for last: the next is looked for behind it */
	struct tide_watermark_part *parts;
};

void tide_watermark_fini(struct tide_watermark *mark);

/* The partition; made when it is new. NULL without memory. */
struct tide_watermark_part *tide_watermark_part(struct tide_watermark *mark, const char *topic,
                                                int32_t partition);
/* So many records were read, and this is their greatest event time; INT64_MIN: none
 * of them had one. */
void tide_watermark_observe(struct tide_watermark_part *part, int64_t max_us, int64_t records);
/* A look at the partition found nothing (`caught_up`) or more to read. */
void tide_watermark_look(struct tide_watermark *mark, struct tide_watermark_part *part,
                         bool caught_up, int64_t now_us);
/* There is more to read of the partition, as far as is known, or nothing. */
void tide_watermark_left(struct tide_watermark_part *part, bool behind);
/* Where the watermark goes from what has been seen: at_us or later. While some
 * partitions are behind, it does not pass what they still have. */
int64_t tide_watermark_next(const struct tide_watermark *mark);

#endif
