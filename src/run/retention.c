/* SPDX-License-Identifier: Apache-2.0 */
/* Warns before records are gone that were not read yet. */
#include "run/retention.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
	LOOK_US = 5000000,
	NEAR_PARTS = 10, /* less than a tenth is left, of the log or of the time … */
	SOON_US_PER_MS = 1000,
	SOON_MS = 60 * 60 * 1000 /* … or less than this until the log's start is here */
};

/* ---- judging ---- */

/* Time until deletion gets here, if both go on as since the last look; -1: it does not. */
static int64_t collision_ms(const struct tide_keeping_look *look)
{
	int64_t deleted = look->start - look->start_before, read = look->next - look->next_before;
	if (look->span_us <= 0 || deleted <= read || deleted <= 0)
		return -1;
	double left = (double)(look->next - look->start) / (double)(deleted - read);
	return (int64_t)(left * (double)look->span_us / SOON_US_PER_MS);
}

bool tide_keeping_judge(const struct tide_keeping_look *look, struct tide_fact_retention *fact)
{
	bool by_time = look->known && look->kept.ms >= 0;
	bool limited = !look->known || by_time || look->kept.bytes >= 0;
	int64_t room = look->next - look->start, size = look->end - look->start;
	*fact = (struct tide_fact_retention){ .next = look->next,
		                              .start = look->start,
		                              .end = look->end,
		                              .left_ms = -1,
		                              .kept_ms = by_time ? look->kept.ms : -1 };
	/* What is gone already is data loss, and said as that. */
	if (!limited || look->next >= look->end || room < 0)
		return false;
	if (by_time && look->record_ms >= 0) {
		int64_t left_ms = look->kept.ms - (look->now_ms - look->record_ms);
		if (left_ms < look->kept.ms / NEAR_PARTS) {
			fact->left_ms = left_ms > 0 ? left_ms : 0;
			return true;
		}
	}
	int64_t soon_ms = collision_ms(look);
	if (soon_ms >= 0 && soon_ms < SOON_MS) {
		fact->left_ms = soon_ms;
		return true;
	}
	/* A log that begins at 0 has not lost anything yet. */
	return look->start > 0 && room < size / NEAR_PARTS;
}

/* ---- looking ---- */

static struct tide_keeping_topic *topic_of(struct tide_keeping *keeping,
                                           const struct tide_share *share)
{
	for (int i = 0; i < keeping->topic_count; i++)
		if (keeping->topics[i].input == share->input &&
		    strcmp(keeping->topics[i].name, share->part->topic) == 0)
			return &keeping->topics[i];
	struct tide_keeping_topic *topic = &keeping->topics[keeping->topic_count++];
	*topic = (struct tide_keeping_topic){ .name = share->part->topic, .input = share->input };
	topic->known = share->source->ops->retention(share->source, topic->name, &topic->kept);
	return topic;
}

static bool make_room(struct tide_keeping *keeping, int count)
{
	if (keeping->part_count == count)
		return true;
	tide_keeping_fini(keeping);
	keeping->topics = calloc((size_t)count + 1, sizeof *keeping->topics);
	keeping->parts = calloc((size_t)count + 1, sizeof *keeping->parts);
	/* One of each topic, and one of each partition. */
	keeping->facts = calloc((size_t)count * 2 + 1, sizeof *keeping->facts);
	if (keeping->topics == NULL || keeping->parts == NULL || keeping->facts == NULL)
		return false;
	keeping->part_count = count;
	return true;
}

static void say(const struct tide_fact_retention *fact)
{
	char text[512];
	tide_diagnose_retention(fact, text, sizeof text);
	tide_log(TIDE_WARN, "%s", text);
}

/* A topic that keeps records no longer than a stop may last. */
static void look_at_topic(struct tide_keeping *keeping, struct tide_keeping_topic *topic,
                          int64_t downtime_ms)
{
	if (downtime_ms <= 0 || !topic->known || topic->kept.ms < 0 || topic->kept.ms > downtime_ms)
		return;
	struct tide_fact_retention fact = { .topic = topic->name,
		                            .partition = -1,
		                            .kept_ms = topic->kept.ms,
		                            .downtime_ms = downtime_ms,
		                            .left_ms = -1 };
	keeping->facts[keeping->fact_count++] = fact;
	if (!topic->warned)
		say(&fact);
	topic->warned = true;
}

static void look_at_part(struct tide_keeping *keeping, struct tide_keeping_part *part,
                         const struct tide_share *share, const struct tide_keeping_topic *topic,
                         int64_t span_us, bool resumed)
{
	const struct tide_source_part *at = share->part;
	struct tide_keeping_look look = {
		.kept = topic->kept,
		.known = topic->known,
		.start = at->start,
		.next = at->next,
		.end = at->end,
		.start_before = part->start,
		.next_before = part->next,
		.span_us = span_us,
		.record_ms = at->print.offset >= 0 ? at->print.timestamp_ms : -1,
		.now_ms = tide_clock_us() / 1000,
	};
	bool near = at->next >= 0 && tide_keeping_judge(&look, &part->fact);
	/* A new job that begins where the log does gets a moment to leave there. */
	bool sure = near && (part->near || (resumed && span_us == 0));
	part->fact.topic = at->topic;
	part->fact.partition = at->partition;
	part->near = near;
	part->start = at->start;
	part->next = at->next;
	if (sure)
		keeping->facts[keeping->fact_count++] = part->fact;
	if (sure && !part->warned)
		say(&part->fact);
	else if (!near && part->warned)
		tide_log(TIDE_INFO, "%s-%d: the log's start is not near any more", at->topic,
		         at->partition);
	part->warned = near && (part->warned || sure);
}

/* False when the broker does not say. */
static bool refresh(struct tide_partitions *partitions)
{
	struct tide_error err;
	for (int i = 0; i < partitions->plan->input_count; i++) {
		struct tide_source *source = partitions->sources[i];
		if (source->ops->starts != NULL &&
		    source->ops->starts(source, partitions->parts[i], partitions->part_counts[i],
		                        &err) != TIDE_OK)
			return false;
	}
	return true;
}

static bool is_behind(const struct tide_partitions *partitions)
{
	for (int i = 0; i < partitions->count; i++)
		if (partitions->shares[i]->part->next < partitions->shares[i]->part->end)
			return true;
	return false;
}

void tide_keeping_look(struct tide_keeping *keeping, struct tide_partitions *partitions,
                       bool resumed, int64_t now_us)
{
	bool first = keeping->looked_us == 0 || keeping->part_count != partitions->count;
	int64_t span_us = first ? 0 : now_us - keeping->looked_us;
	if (!first && span_us < LOOK_US)
		return;
	if (!make_room(keeping, partitions->count))
		return;
	keeping->looked_us = now_us;
	/* Where all is read, nothing can be lost: no need to ask. */
	if (is_behind(partitions) && !refresh(partitions))
		return;
	keeping->fact_count = 0;
	for (int i = 0; i < partitions->count; i++) {
		const struct tide_share *share = partitions->shares[i];
		if (share->source->ops->retention == NULL)
			continue;
		int before = keeping->topic_count;
		struct tide_keeping_topic *topic = topic_of(keeping, share);
		if (i == 0 || before != keeping->topic_count ||
		    strcmp(partitions->shares[i - 1]->part->topic, topic->name) != 0)
			look_at_topic(keeping, topic, partitions->settings->downtime_ms);
		look_at_part(keeping, &keeping->parts[i], share, topic, span_us, resumed);
	}
}

void tide_keeping_fini(struct tide_keeping *keeping)
{
	free(keeping->topics);
	free(keeping->parts);
	free(keeping->facts);
	*keeping = (struct tide_keeping){ 0 };
}
