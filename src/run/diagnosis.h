/* SPDX-License-Identifier: Apache-2.0 */
/* Why nothing comes out: from the facts of a run to sentences for people.
 *
 * Pure: who calls has looked (see facts.h). Facts are since rows last came out,
 * or since the job began. */
#ifndef TIDE_RUN_DIAGNOSIS_H
#define TIDE_RUN_DIAGNOSIS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "time/watermark.h"

/* A filter step that took rows away. */
struct tide_fact_filter {
	const char *text; /* "filter(is_good)" */
	int line;
	uint64_t rows;
};

/* A watermark, as it is now. */
struct tide_fact_mark {
	const char *name;
	int64_t at_us; /* INT64_MIN: there is none yet */
	int64_t delay_us, idle_us, ahead_us;
	bool per_partition;
	uint64_t count, ahead;  /* event times that were read; those that were not believed */
	int64_t min_us, max_us; /* of those that were read */
	const struct tide_watermark_part *parts;
	int part_count;
};

/* A keyed operator: rows it drops by their event time, and windows that wait. */
struct tide_fact_keyed {
	const char *name;
	int mark;            /* -1: it does not look at event time */
	int64_t next_end_us; /* of the first open window that puts out its rows when it
	                      * closes; INT64_MAX: there is none */
	uint64_t late, untimed, repeats;
	int64_t most_late_us; /* the furthest behind the watermark */
};

/* A topic that keeps records no longer than a stop may last (partition -1), or a
 * partition whose next record may be deleted before it is read. */
struct tide_fact_retention {
	const char *topic;
	int32_t partition;
	int64_t kept_ms, downtime_ms;
	int64_t start, next, end;
	int64_t left_ms; /* until it is deleted; -1: not known */
};

struct tide_facts {
	const char *job, *topic; /* "": not known */
	int64_t now_us;
	int partitions;
	int64_t present; /* records in them; -1: not known */
	int64_t epoch;   /* the newest, -1: none */
	bool resumed;    /* the job went on from a checkpoint */
	bool idle;       /* nothing to read */
	bool ever_read;  /* since the job began */
	bool trigger;    /* it waits for … */
	int64_t trigger_ms, trigger_left_ms;
	bool came_out; /* rows, with the newest epoch */
	uint64_t read, filtered, failed, malformed;
	const struct tide_fact_filter *filters;
	const struct tide_fact_mark *marks;
	const struct tide_fact_keyed *keyed;
	int filter_count, mark_count, keyed_count;
	const struct tide_fact_retention *retentions;
	int retention_count;
};

/* One thing that holds. Texts are borrowed from the facts; absent numbers are
 * INT64_MIN, absent texts NULL. */
struct tide_finding {
	const char *kind; /* "filtered": one word for machines */
	char text[512];
	int64_t rows, line, window_end_us, watermark_us, event_us;
	const char *step, *topic;
	int64_t partition;
};

enum { TIDE_FINDINGS_MAX = 24 };

struct tide_diagnosis {
	int count;
	/* What matters most comes first; the last is room for one too many. */
	struct tide_finding findings[TIDE_FINDINGS_MAX + 1];
};

void tide_diagnose(const struct tide_facts *facts, struct tide_diagnosis *out);
/* The sentence of one of its facts, for the log. */
void tide_diagnose_retention(const struct tide_fact_retention *fact, char *out, size_t size);

/* All of them in one line, as far as they fit. */
void tide_diagnosis_line(const struct tide_diagnosis *diagnosis, char *out, size_t size);
/* "findings":[…],"text":"…" */
void tide_diagnosis_write(const struct tide_diagnosis *diagnosis, struct tide_buf *out);

#endif
