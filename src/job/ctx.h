/* SPDX-License-Identifier: Apache-2.0 */
/* What a running script stands in: the batch, the row, where rows go.
 *
 * C and the Lua runtime share it (ffi.cdef reads this file as it reads abi.h);
 * scripts never see it. There is one per VM and it stays where it is. */
#ifndef TIDE_JOB_CTX_H
#define TIDE_JOB_CTX_H
#include "record/abi.h"
#include "record/plan.h"

struct tide_arena;
struct tide_options;
struct tide_plan;
struct tide_pool;
struct tide_ring;
struct tide_rows;
struct tide_sources;

/* The cells that a step writes, and the number of the row that is in them. */
struct tide_stage {
	double serial;
	struct tide_cell c[256]; /* TIDE_COLUMNS_MAX */
};

/* What a call from C into Lua is about. Arguments go this way because pushing
 * them onto Lua's stack may ask for memory where nothing catches its lack. */
struct tide_call {
	const char *path;
	struct tide_plan *plan;
	struct tide_run_result *result;
	const struct tide_pair *pairs;
	const struct tide_cell *keys;
	const uint64_t *states;
	uint64_t count;
	int32_t number; /* of the input or keyed operator */
	int32_t output;
	int32_t stride;
	int32_t spare;
	struct tide_batch *batch; /* to fill */
};

struct tide_ctx {
	struct tide_call call;
	uint32_t gen;        /* of the text that is being made; never 0 while a script runs */
	uint32_t row;        /* of the batch, or of the states to finish */
	uint32_t calls;      /* of tide.random for this row */
	uint32_t memory_mib; /* that the Lua state may use */
	uint32_t filtered;
	uint32_t malformed;
	struct tide_batch *batch; /* NULL while none runs */
	struct tide_arena *arena; /* where new text goes */
	struct tide_queue **queues;
	struct tide_timed **timed;  /* of the keyed operators that look at event time */
	struct tide_sieve **sieves; /* one for each step that late rows pass */
	struct tide_mark *events;   /* one for each watermark of the plan */
	struct tide_rows **rows;
	const struct tide_rows *passed; /* rows that have passed a dedup … */
	const uint32_t *passed_rows;    /* … which of them, for each record of the batch */
	struct tide_ring *ring;
	bool (*bad_row)(void *arg, const struct tide_batch *batch, uint32_t row,
	                const char *message, const char *reason, const char *place);
	bool (*set_aside)(void *arg, const struct tide_batch *batch, uint32_t row, int32_t output,
	                  const char *reason, const char *place);
	void *arg;
	int64_t now_us;
	int64_t epoch;
	struct tide_word before; /* the place before the newest list of words */
	struct tide_state_ops ops;
	double filtered_by[256]; /* rows, by each step of the plan, since the start */
	uint32_t counts[256];    /* rows in each output … */
	uint32_t starts[256];    /* … and when the row began */
	uint32_t added[256];     /* keys that each operator found states for */
	uint32_t marks[256];     /* keys that waited in each queue when the row began */
	uint32_t at;             /* of the keys being added, which one */
	uint32_t adding;         /* the operator that adds, from 1 on; 0: the loop is among rows */
	uint32_t next;           /* the row to go on with after that */
	/* Of the batch, so that another Lua state can go on with it. */
	uint32_t failed;           /* rows … */
	uint32_t failed_malformed; /* … of which so many are counted as malformed */
	int32_t aside_row;         /* the last row that was set aside; -1: none … */
	uint32_t aside_count;      /* … and for how many branches */
	char *before_of[256];      /* what operators keep of states while they add … */
	uint32_t first_of[256];    /* … of the adds from this one on */
	uint64_t made, made_max;   /* bytes of text, for scripts */
	int64_t stuck_us;          /* what a record took that was given up; -1: too much memory */
	int32_t begun;             /* the batch is at its rows */
	int32_t place_line;        /* the newest line of the job, where that is watched; or 0 */
	char place[1016];
	/* Of C alone. */
	struct tide_sources *sources; /* texts of the job's files, as they were loaded */
	struct tide_pool *pool;
	struct tide_arena *scratch; /* text made while no batch runs */
	uint32_t scratch_gen;
	uint32_t spare2;
	const struct tide_options *set;
};
#endif
