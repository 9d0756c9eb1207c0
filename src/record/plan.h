/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: what a job file says, checked, as plain data.
 *
 * lua/tidemark/plan.lua validates the graph and fills this through the
 * tide_ffi_plan_* entries; run/ reads it. It owns every string in it. */
#ifndef TIDE_RECORD_PLAN_H
#define TIDE_RECORD_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "record/rows.h"

enum { TIDE_OUTPUTS_MAX = 64 };

struct tide_option {
	char *key;
	char *value;
};

struct tide_options {
	int count;
	struct tide_option *items;
};

/* The value, or NULL when it was not given. */
const char *tide_option_get(const struct tide_options *options, const char *key);
bool tide_option_set(struct tide_options *options, const char *key, const char *value);
void tide_options_fini(struct tide_options *options);

/* Where rows come from: options hold topics ("a,b" or "^regex"), start, … */
struct tide_plan_input {
	char *kind; /* "kafka" */
	struct tide_options options;
	int line; /* in the job file */
};

/* A watermark step: how long rows of inputs may be late by a column. */
struct tide_plan_mark {
	char *name;      /* stable: the checkpoint knows it by this */
	uint64_t inputs; /* a bit for each whose rows come to it */
	int64_t delay_us;
	bool per_partition; /* the least of the partitions, and not the greatest */
	int64_t idle_us;    /* after that long a quiet partition does not count */
	int64_t ahead_us;   /* beyond the wall clock, what is not believed */
	int of; /* which watermark observes for it: itself, or what its rows are late for */
	int line;
};

/* Which rows a keyed operator drops by their event time. */
enum tide_late {
	TIDE_LATE_NEVER = 0,  /* none: complete mode, or no event time at all */
	TIDE_LATE_CLOSED = 1, /* those whose windows have all closed */
	TIDE_LATE_STRICT = 2  /* those before the watermark */
};

/* group_by + aggregates: rows of inputs in, one state per key. In windows the
 * first part of the key is the window's end, a column behind those of the row. */
struct tide_plan_keyed {
	char *name;              /* stable: the checkpoint is keyed by it */
	uint64_t inputs;         /* a bit for each */
	struct tide_schema *row; /* the row that reaches group_by */
	int key_count;
	int *keys; /* columns of `row` */
	int arg_count;
	int *args;      /* columns of `row` that the aggregates add, in their order */
	int state_size; /* bytes of a key's state, a multiple of 8 */
	char *layout;   /* text that changes when the meaning of the state does */
	int version;    /* of that meaning, as the job says; from 1 on */
	bool migrates;  /* the job has a function for states of a lower version */
	int mark;       /* whose event time it looks at, or -1 */
	enum tide_late late;
	int64_t size_us, slide_us, offset_us; /* of its windows; 0: it has none */
	bool session;      /* its windows are sessions, and size_us is the gap that ends one */
	int64_t within_us; /* not 0: it has no aggregates but passes rows on, each key's first … */
	bool latest; /* … or newest one within that time; two columns lie behind the row's */
	int level;   /* how many of those are before it */
	int line;
};

/* Windows that end when the watermark has passed them. */
static inline bool tide_plan_closes(const struct tide_plan_keyed *keyed)
{
	return keyed->size_us > 0 && keyed->late != TIDE_LATE_NEVER;
}

static inline bool tide_plan_dedups(const struct tide_plan_keyed *keyed)
{
	return keyed->within_us > 0;
}

/* A step that rows pass which are late for a watermark. */
struct tide_plan_late {
	char *name; /* stable: the checkpoint counts by it; "": an operator counts them */
	int mark;   /* for which they are late … */
	int own;    /* … and which goes on behind it, with a longer delay, or -1 */
	enum tide_late
		late; /* as a keyed operator with such windows judges, never TIDE_LATE_NEVER */
	int64_t size_us, slide_us, offset_us;
	double sample; /* the share of them that passes, 1: all */
	int column_count;
	int columns[16]; /* cells of the row that make its key; none: the record's key */
	bool is_text[16];
};

/* A row stream that ends in a sink. */
struct tide_plan_output {
	uint64_t inputs; /* rows come straight from these inputs, a bit for each, or … */
	int keyed; /* … from this keyed operator, or -1; where neither is: records that fail */
	struct tide_schema *row;
	char *sink;                  /* "console" */
	char *name;                  /* stable: from kind and target */
	struct tide_options options; /* mode, rows, truncate, … */
	int line;
};

/* A step, for `explain` and the page. */
struct tide_plan_step {
	int parent; /* index of the step before, or -1 */
	int joins;  /* of the step it leads to, besides its children; or -1 */
	char *kind; /* "kafka", "flat_map", "group_by", "console" … */
	char *text; /* "flat_map(tokens) -> field:string, word:string" */
	int line;
};

/* What a job says and hardly means. */
struct tide_plan_warning {
	char *path; /* of a file of the job */
	int line;
	char *text;
	char *source; /* the text of that line */
};

struct tide_plan {
	char *job;    /* name */
	char *path;   /* of the job file */
	char **files; /* the job file and those it asked for, even where it then failed to load */
	int file_count;
	uint64_t hash;                /* of the source of the job file and what it requires */
	struct tide_options settings; /* of tide.job: trigger, workers, on_error, … */
	int input_count, mark_count, late_count, keyed_count, output_count, step_count;
	int warning_count;
	struct tide_plan_input *inputs;
	struct tide_plan_mark *marks;
	struct tide_plan_late *lates;
	struct tide_plan_keyed *keyed;
	struct tide_plan_output *outputs;
	struct tide_plan_step *steps;
	struct tide_plan_warning *warnings; /* after tide_vm_lint, in the order of lines */
};

/* The output that takes records which fail: on_error = a sink; or -1. */
int tide_plan_letters(const struct tide_plan *plan);

struct tide_plan *tide_plan_new(void);
void tide_plan_free(struct tide_plan *plan);
/* Each adds one zeroed item and returns its index, or -1 without memory. The
 * list may move: take the address of an item after the call, not around it. */
int tide_plan_add_input(struct tide_plan *plan);
int tide_plan_add_mark(struct tide_plan *plan);
int tide_plan_add_late(struct tide_plan *plan);
int tide_plan_add_keyed(struct tide_plan *plan);
int tide_plan_add_output(struct tide_plan *plan);
int tide_plan_add_step(struct tide_plan *plan);
int tide_plan_add_warning(struct tide_plan *plan);
bool tide_plan_add_file(struct tide_plan *plan, const char *path);

#endif
