/* SPDX-License-Identifier: Apache-2.0 */
/* The watermark of one stream. */
#include "time/watermark.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void tide_watermark_fini(struct tide_watermark *mark)
{
	for (int i = 0; i < mark->count; i++)
		free(mark->parts[i].topic);
	free(mark->parts);
	mark->parts = NULL;
	mark->count = mark->found = 0;
}

struct tide_watermark_part *tide_watermark_part(struct tide_watermark *mark, const char *topic,
                                                int32_t partition)
{
	for (int n = 0, i = mark->found; n < mark->count; n++) {
		i = i + 1 < mark->count ? i + 1 : 0;
		struct tide_watermark_part *part = &mark->parts[i];
		if (part->partition != partition || strcmp(part->topic, topic) != 0)
			continue;
		mark->found = i;
		return part;
	}
	struct tide_watermark_part *grown =
		realloc(mark->parts, ((size_t)mark->count + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	mark->parts = grown;
	struct tide_watermark_part *part = &grown[mark->count];
	*part = (struct tide_watermark_part){ .topic = strdup(topic),
		                              .partition = partition,
		                              .max_us = INT64_MIN,
		                              .quiet_us = INT64_MIN };
	if (part->topic == NULL)
		return NULL;
	mark->count++;
	return part;
}

void tide_watermark_observe(struct tide_watermark_part *part, int64_t max_us, int64_t records)
{
	if (part->max_us != INT64_MIN) {
		double gain = max_us > part->max_us ? (double)max_us - (double)part->max_us : 0;
		part->gained_us = part->gained_us / 2 + gain;
		part->gained_records = part->gained_records / 2 + (double)records;
	}
	part->quiet_us = INT64_MIN;
	part->idle = false;
	part->stuck = max_us <= part->max_us;
	if (max_us > part->max_us)
		part->max_us = max_us;
}

void tide_watermark_left(struct tide_watermark_part *part, bool behind)
{
	part->behind = behind;
}

void tide_watermark_look(struct tide_watermark *mark, struct tide_watermark_part *part,
                         bool caught_up, int64_t now_us)
{
	part->behind = !caught_up;
	if (!caught_up) {
		part->quiet_us = INT64_MIN;
		return;
	}
	/* Since the clock was set back, if it was: a new wait, and not an endless one. */
	if (part->quiet_us == INT64_MIN || part->quiet_us > now_us)
		part->quiet_us = now_us;
	if (now_us - part->quiet_us >= mark->idle_us)
		part->idle = true;
}

int64_t tide_watermark_next(const struct tide_watermark *mark)
{
	assert(mark->delay_us >= 0);
	int64_t most = INT64_MIN, least = INT64_MAX, behind = INT64_MAX;
	for (int i = 0; i < mark->count; i++) {
		const struct tide_watermark_part *part = &mark->parts[i];
		/* Of some one knows that they have no event times. */
		bool known = part->max_us != INT64_MIN || !part->stuck;
		if (part->max_us > most)
			most = part->max_us;
		if (!part->idle && part->max_us < least)
			least = part->max_us;
		if (part->behind && known && part->max_us < behind)
			behind = part->max_us;
	}
	/* When all are idle nobody is held back, and the greatest stands for all. */
	int64_t from = mark->per_partition && least != INT64_MAX ? least : most;
	if (behind < from)
		from = behind;
	if (from < INT64_MIN + mark->delay_us)
		return mark->at_us;
	int64_t next = from - mark->delay_us;
	return next > mark->at_us ? next : mark->at_us;
}
