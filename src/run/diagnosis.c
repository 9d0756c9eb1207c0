/* SPDX-License-Identifier: Apache-2.0 */
/* Why nothing comes out: from the facts of a run to sentences for people. */
#include "run/diagnosis.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* ---- words ---- */

struct words {
	char text[64];
};

static struct words time_of(int64_t us)
{
	struct words out = { "" };
	tide_clock_format_ms(us / 1000, out.text, sizeof out.text);
	return out;
}

/* "90 ms", "12.5 s", "5 min", "2 h 5 min" */
static struct words span_of(int64_t us)
{
	static const struct {
		int64_t seconds;
		const char *name, *part;
	} units[] = { { 86400, "days", "h" }, { 3600, "h", "min" }, { 60, "min", "s" } };
	struct words out;
	int64_t s = us / 1000000;
	if (us < 1000000) {
		snprintf(out.text, sizeof out.text, "%" PRId64 " ms", us / 1000);
		return out;
	}
	if (s < 60) {
		snprintf(out.text, sizeof out.text, us % 1000000 < 100000 ? "%.0f s" : "%.1f s",
		         (double)(us / 100000) / 10);
		return out;
	}
	size_t unit = s >= units[0].seconds ? 0 : s >= units[1].seconds ? 1 : 2;
	int64_t part = unit == 2 ? s % 60 : s % units[unit].seconds / units[unit + 1].seconds;
	int at = snprintf(out.text, sizeof out.text, "%" PRId64 " %s", s / units[unit].seconds,
	                  units[unit].name);
	if (part > 0)
		snprintf(out.text + at, sizeof out.text - (size_t)at, " %" PRId64 " %s", part,
		         units[unit].part);
	return out;
}

static const char *plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}

static struct tide_finding *add(struct tide_diagnosis *out, const char *kind, const char *format,
                                ...) __attribute__((format(printf, 3, 4)));

static struct tide_finding *add(struct tide_diagnosis *out, const char *kind, const char *format,
                                ...)
{
	struct tide_finding *found = &out->findings[out->count];
	out->count += out->count < TIDE_FINDINGS_MAX;
	va_list args;
	*found = (struct tide_finding){ .kind = kind,
		                        .rows = INT64_MIN,
		                        .line = INT64_MIN,
		                        .window_end_us = INT64_MIN,
		                        .watermark_us = INT64_MIN,
		                        .event_us = INT64_MIN,
		                        .partition = INT64_MIN };
	va_start(args, format);
	vsnprintf(found->text, sizeof found->text, format, args);
	va_end(args);
	return found;
}

/* ---- nothing comes in ---- */

static void nothing_in(const struct tide_facts *facts, struct tide_diagnosis *out)
{
	struct tide_finding *found;
	if (facts->partitions == 0) {
		found = add(out, "no_topic", "waiting for topic %s to exist", facts->topic);
	} else if (facts->present == 0) {
		found = add(out, "empty_topic", "topic %s is empty", facts->topic);
	} else if (facts->resumed) {
		found = add(out, "nothing_new",
		            "nothing new in topic %s since epoch %" PRId64 " of the checkpoint",
		            facts->topic, facts->epoch);
	} else if (facts->present < 0) {
		found = add(out, "nothing_new",
		            "nothing was read from topic %s yet: it holds no record behind the "
		            "job's start offsets",
		            facts->topic);
	} else {
		found = add(out, "nothing_new",
		            "nothing new in topic %s since the job's start offsets; "
		            "--from earliest in a new checkpoint reads the %" PRId64
		            " record%s before them",
		            facts->topic, facts->present, plural((uint64_t)facts->present));
	}
	found->topic = facts->topic;
}

/* ---- rows that are dropped ---- */

/* "all 5 rows" or "2 of 5 records", by what was read. */
static struct words amount(uint64_t rows, const struct tide_facts *facts)
{
	struct words out;
	if (rows == 1 && facts->read == 1)
		snprintf(out.text, sizeof out.text, "the only record");
	else if (rows == facts->read)
		snprintf(out.text, sizeof out.text, "all %" PRIu64 " records", rows);
	else if (rows < facts->read)
		snprintf(out.text, sizeof out.text, "%" PRIu64 " of %" PRIu64 " records", rows,
		         facts->read);
	else /* A record can become many rows. */
		snprintf(out.text, sizeof out.text, "%" PRIu64 " row%s", rows, plural(rows));
	return out;
}

static void filtered(const struct tide_facts *facts, struct tide_diagnosis *out)
{
	const struct tide_fact_filter *most = NULL;
	struct tide_finding *found;
	int steps = 0;
	for (int i = 0; i < facts->filter_count; i++) {
		const struct tide_fact_filter *filter = &facts->filters[i];
		steps += filter->rows > 0;
		if (most == NULL || filter->rows > most->rows)
			most = filter;
	}
	if (most == NULL || most->rows == 0) {
		found = add(out, "filtered", "%s filtered out",
		            amount(facts->filtered, facts).text);
	} else if (steps == 1) {
		found = add(out, "filtered", "%s filtered out by %s in line %d",
		            amount(facts->filtered, facts).text, most->text, most->line);
	} else {
		found = add(out, "filtered",
		            "%s filtered out by %d steps, %" PRIu64 " of them by %s in line %d",
		            amount(facts->filtered, facts).text, steps, most->rows, most->text,
		            most->line);
	}
	found->rows = (int64_t)facts->filtered;
	if (most != NULL && most->rows > 0) {
		found->step = most->text;
		found->line = most->line;
	}
}

static void late(const struct tide_facts *facts, const struct tide_fact_keyed *keyed,
                 struct tide_diagnosis *out)
{
	const struct tide_fact_mark *mark = keyed->mark < 0 ? NULL : &facts->marks[keyed->mark];
	bool known = mark != NULL && mark->at_us != INT64_MIN;
	struct tide_finding *found = add(
		out, "late", "%s late for %s: up to %s behind the watermark (%s, a delay of %s)",
		amount(keyed->late, facts).text, keyed->name, span_of(keyed->most_late_us).text,
		known ? time_of(mark->at_us).text : "unset",
		span_of(mark == NULL ? 0 : mark->delay_us).text);
	found->rows = (int64_t)keyed->late;
	found->step = keyed->name;
	if (known)
		found->watermark_us = mark->at_us;
}

/* Rows that nothing can come of. */
static uint64_t gone_of(const struct tide_facts *facts)
{
	uint64_t gone = facts->filtered + facts->failed + facts->malformed;
	for (int i = 0; i < facts->keyed_count; i++)
		gone += facts->keyed[i].late + facts->keyed[i].untimed + facts->keyed[i].repeats;
	return gone;
}

static void dropped(const struct tide_facts *facts, struct tide_diagnosis *out)
{
	uint64_t gone = gone_of(facts);
	if (facts->filtered > 0)
		filtered(facts, out);
	for (int i = 0; i < facts->keyed_count; i++) {
		const struct tide_fact_keyed *keyed = &facts->keyed[i];
		if (keyed->late > 0)
			late(facts, keyed, out);
		if (keyed->untimed > 0)
			add(out, "untimed", "%s without an event time for %s",
			    amount(keyed->untimed, facts).text, keyed->name)
				->rows = (int64_t)keyed->untimed;
		if (keyed->repeats > 0)
			add(out, "repeats", "%s that %s has passed on before",
			    amount(keyed->repeats, facts).text, keyed->name)
				->rows = (int64_t)keyed->repeats;
	}
	if (facts->failed > 0)
		add(out, "failed", "%s failed: the log says why, and on_error where they go",
		    amount(facts->failed, facts).text)
			->rows = (int64_t)facts->failed;
	if (facts->malformed > 0)
		add(out, "malformed", "%s malformed: not what :json reads",
		    amount(facts->malformed, facts).text)
			->rows = (int64_t)facts->malformed;
	if (gone < facts->read && facts->keyed_count == 0)
		add(out, "no_rows", "%s became no row: :flat_map emitted none",
		    amount(facts->read - gone, facts).text)
			->rows = (int64_t)(facts->read - gone);
}

/* ---- windows that wait for the watermark ---- */

/* The partition whose event time the watermark goes by. NULL: all are idle, or
 * there are none. */
static const struct tide_watermark_part *holder_of(const struct tide_fact_mark *mark)
{
	const struct tide_watermark_part *found = NULL;
	for (int i = 0; i < mark->part_count; i++) {
		const struct tide_watermark_part *part = &mark->parts[i];
		if (mark->per_partition && part->idle)
			continue;
		bool better = found == NULL || (mark->per_partition ? part->max_us < found->max_us
		                                                    : part->max_us > found->max_us);
		if (better)
			found = part;
	}
	return found;
}

static int64_t newest_of(const struct tide_fact_mark *mark)
{
	int64_t newest_us = INT64_MIN;
	for (int i = 0; i < mark->part_count; i++)
		if (mark->parts[i].max_us > newest_us)
			newest_us = mark->parts[i].max_us;
	return newest_us;
}

/* When a partition that holds the others back will do so no more. */
static struct words until_idle(const struct tide_facts *facts, const struct tide_fact_mark *mark,
                               const struct tide_watermark_part *part)
{
	int64_t left_us = part->quiet_us == INT64_MIN
	                          ? mark->idle_us
	                          : part->quiet_us + mark->idle_us - facts->now_us;
	return span_of(left_us > 0 ? left_us : 0);
}

/* A watermark stands because of one partition. */
static struct tide_finding *held_back(const struct tide_facts *facts,
                                      const struct tide_fact_mark *mark,
                                      const struct tide_watermark_part *part,
                                      struct tide_diagnosis *out)
{
	int64_t newest_us = newest_of(mark);
	struct tide_finding *found;
	if (part->max_us == INT64_MIN)
		found = add(out, "watermark",
		            "%s-%d has had no event yet and holds the watermark back until it "
		            "has been quiet for %s (idle), %s from now",
		            part->topic, part->partition, span_of(mark->idle_us).text,
		            until_idle(facts, mark, part).text);
	else
		found = add(out, "watermark",
		            "%s-%d holds the watermark back: its newest event is of %s, %s behind "
		            "the newest of all; it counts no more when it has been quiet for %s "
		            "(idle), %s from now",
		            part->topic, part->partition, time_of(part->max_us).text,
		            span_of(newest_us - part->max_us).text, span_of(mark->idle_us).text,
		            until_idle(facts, mark, part).text);
	return found;
}

/* Why a watermark does not move. */
static void standing(const struct tide_facts *facts, const struct tide_fact_mark *mark,
                     struct tide_diagnosis *out)
{
	const struct tide_watermark_part *holder = holder_of(mark);
	int64_t newest_us = newest_of(mark);
	struct tide_finding *found;
	if (mark->ahead > 0) {
		found = add(out, "ahead",
		            "%" PRIu64 " event time%s more than %s ahead of the clock %s not "
		            "believed (max_ahead)",
		            mark->ahead, plural(mark->ahead), span_of(mark->ahead_us).text,
		            mark->ahead == 1 ? "is" : "are");
		found->rows = (int64_t)mark->ahead;
	}
	if (newest_us == INT64_MIN) {
		if (mark->ahead == 0)
			add(out, "watermark", "no record had an event time yet");
		return;
	}
	if (mark->per_partition && holder != NULL && holder->max_us < newest_us) {
		found = held_back(facts, mark, holder, out);
	} else if (mark->count > 1 && mark->min_us == mark->max_us) {
		found = add(out, "watermark",
		            "all %" PRIu64 " event times are the same, %s, and only a later one "
		            "moves the watermark",
		            mark->count, time_of(mark->max_us).text);
	} else if (holder != NULL && holder->stuck) {
		found = add(out, "watermark",
		            "the newest records of %s-%d brought no later event time than %s",
		            holder->topic, holder->partition, time_of(newest_us).text);
	} else {
		found = add(out, "watermark",
		            "low input: the newest event is of %s, and no later one has come%s%s",
		            time_of(newest_us).text,
		            holder != NULL && holder->quiet_us != INT64_MIN ? " for " : "",
		            holder != NULL && holder->quiet_us != INT64_MIN
		                    ? span_of(facts->now_us - holder->quiet_us).text
		                    : "");
	}
	found->event_us = newest_us;
	if (holder != NULL) {
		found->topic = holder->topic;
		found->partition = holder->partition;
		found->event_us = holder->max_us;
	}
}

static void windows(const struct tide_facts *facts, struct tide_diagnosis *out)
{
	for (int i = 0; i < facts->keyed_count; i++) {
		const struct tide_fact_keyed *keyed = &facts->keyed[i];
		if (keyed->next_end_us == INT64_MAX)
			continue;
		assert(keyed->mark >= 0 && keyed->mark < facts->mark_count);
		const struct tide_fact_mark *mark = &facts->marks[keyed->mark];
		struct tide_finding *found;
		if (mark->at_us == INT64_MIN)
			found = add(out, "windows",
			            "windows of %s wait for a watermark, and there is none yet",
			            keyed->name);
		else if (mark->at_us >= keyed->next_end_us)
			found = add(out, "windows",
			            "the window of %s that ends at %s closes with the next epoch",
			            keyed->name, time_of(keyed->next_end_us).text);
		else
			found = add(out, "windows",
			            "the next window of %s ends at %s and the watermark is at %s, "
			            "%s before it: an event of %s closes it",
			            keyed->name, time_of(keyed->next_end_us).text,
			            time_of(mark->at_us).text,
			            span_of(keyed->next_end_us - mark->at_us).text,
			            time_of(keyed->next_end_us + mark->delay_us).text);
		found->step = keyed->name;
		found->window_end_us = keyed->next_end_us;
		found->watermark_us = mark->at_us;
		if (mark->at_us < keyed->next_end_us)
			standing(facts, mark, out);
	}
}

/* ---- records that will be gone ---- */

void tide_diagnose_retention(const struct tide_fact_retention *fact, char *out, size_t size)
{
	if (fact->partition < 0) {
		snprintf(out, size,
		         "topic %s keeps records for %s, and a stop may last %s (max-downtime): "
		         "what comes meanwhile could be deleted before it is read; raise its "
		         "retention.ms",
		         fact->topic, span_of(fact->kept_ms * 1000).text,
		         span_of(fact->downtime_ms * 1000).text);
		return;
	}
	char left[96] = "";
	if (fact->left_ms >= 0)
		snprintf(left, sizeof left, ", in about %s", span_of(fact->left_ms * 1000).text);
	snprintf(out, size,
	         "%s-%d: what is read next, offset %" PRId64 ", is near the log's start (%" PRId64
	         "; its end is %" PRId64
	         ") and may be deleted before it is read%s: read faster (--workers, limits, the "
	         "sink), or raise retention.ms or retention.bytes",
	         fact->topic, fact->partition, fact->next, fact->start, fact->end, left);
}

static void retention(const struct tide_facts *facts, struct tide_diagnosis *out)
{
	enum { SOME = 3 };
	for (int i = 0; i < facts->retention_count && i < SOME; i++) {
		const struct tide_fact_retention *fact = &facts->retentions[i];
		char text[sizeof out->findings[0].text];
		tide_diagnose_retention(fact, text, sizeof text);
		struct tide_finding *found = add(out, "retention", "%s", text);
		found->topic = fact->topic;
		if (fact->partition >= 0) {
			found->partition = fact->partition;
			found->rows = fact->end - fact->next;
		}
	}
}

/* ---- all ---- */

void tide_diagnose(const struct tide_facts *facts, struct tide_diagnosis *out)
{
	out->count = 0;
	retention(facts, out);
	if (facts->partitions == 0 || (facts->idle && !facts->ever_read && !facts->trigger)) {
		nothing_in(facts, out);
		if (facts->partitions == 0)
			return;
	}
	bool silent = facts->read > 0 && !facts->came_out;
	bool all_gone = gone_of(facts) >= facts->read;
	if (silent && all_gone)
		dropped(facts, out);
	if (facts->idle || !facts->came_out)
		windows(facts, out);
	if (silent && !all_gone)
		dropped(facts, out);
	if (facts->trigger)
		add(out, "trigger", "waiting for the trigger, every %.1f s; the next is in %.1f s",
		    (double)facts->trigger_ms / 1e3, (double)facts->trigger_left_ms / 1e3);
}

void tide_diagnosis_line(const struct tide_diagnosis *diagnosis, char *out, size_t size)
{
	size_t at = 0;
	assert(size > 0);
	out[0] = '\0';
	for (int i = 0; i < diagnosis->count; i++) {
		const char *text = diagnosis->findings[i].text;
		if (at + strlen(text) + 3 > size && i > 0)
			break;
		int put = snprintf(out + at, size - at, "%s%s", i > 0 ? "; " : "", text);
		at += (size_t)put < size - at ? (size_t)put : size - at - 1;
	}
}

static void put_number(struct tide_buf *out, const char *name, int64_t value)
{
	if (value != INT64_MIN)
		tide_buf_printf(out, ",\"%s\":%" PRId64, name, value);
}

static void put_text(struct tide_buf *out, const char *name, const char *text)
{
	if (text == NULL)
		return;
	tide_buf_printf(out, ",\"%s\":", name);
	tide_buf_json(out, text, strlen(text));
}

static void put_time(struct tide_buf *out, const char *name, int64_t us)
{
	if (us != INT64_MIN)
		put_text(out, name, time_of(us).text);
}

void tide_diagnosis_write(const struct tide_diagnosis *diagnosis, struct tide_buf *out)
{
	struct tide_buf text = { 0 };
	tide_buf_printf(out, "\"findings\":[");
	for (int i = 0; i < diagnosis->count; i++) {
		const struct tide_finding *found = &diagnosis->findings[i];
		tide_buf_printf(out, "%s{\"kind\":\"%s\"", i > 0 ? "," : "", found->kind);
		put_number(out, "rows", found->rows);
		put_text(out, "step", found->step);
		put_number(out, "line", found->line);
		put_text(out, "topic", found->topic);
		put_number(out, "partition", found->partition);
		put_time(out, "windowEnd", found->window_end_us);
		put_time(out, "watermark", found->watermark_us);
		put_time(out, "eventTime", found->event_us);
		put_text(out, "text", found->text);
		tide_buf_printf(out, "}");
		tide_buf_printf(&text, "- %s\n", found->text);
	}
	tide_buf_printf(out, "],\"text\":");
	tide_buf_json(out, text.len > 0 ? text.p : "", text.len);
	if (text.failed)
		out->failed = true;
	tide_buf_fini(&text);
}
