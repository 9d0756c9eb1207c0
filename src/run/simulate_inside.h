/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the simulation share: records, arrangements, outcomes. */
#ifndef TIDE_RUN_SIMULATE_INSIDE_H
#define TIDE_RUN_SIMULATE_INSIDE_H

#include "record/plan.h"
#include "run/simulate.h"
#include "source/recording.h"

enum { TIDE_SIM_EPOCHS_MAX = 12, TIDE_SIM_PARTITIONS = 3 };

/* Numbers that a seed stands for. */
struct tide_sim_random {
	uint64_t state;
};
uint64_t tide_sim_next(struct tide_sim_random *random);
uint32_t tide_sim_below(struct tide_sim_random *random, uint32_t most); /* most > 0 */
bool tide_sim_chance(struct tide_sim_random *random, uint32_t percent);

struct tide_sim_record {
	int part;          /* of the input */
	size_t from, to;   /* in its bytes: as recording.h has a record */
	int64_t *times_us; /* per watermark; INT64_MIN: none */
};

/* Records in the order in which they came. */
struct tide_sim_input {
	const struct tide_simulation_options *options;
	const struct tide_plan *plan;
	struct tide_options set;
	int part_count;
	struct tide_recorded_part *parts;
	struct tide_buf bytes;
	struct tide_sim_record *records;
	int count;
	int64_t now_us; /* no event time lies behind it */
	uint64_t seed;  /* of the running trial */
};

/* From a recording, from lines, or made up by a seed from what the job declares. */
int tide_sim_input_open(struct tide_sim_input *input, const struct tide_simulation_options *options,
                        const struct tide_plan *plan, struct tide_error *err);
int tide_sim_input_generate(struct tide_sim_input *input, uint64_t seed, struct tide_error *err);
void tide_sim_input_clear(struct tide_sim_input *input); /* of records */
void tide_sim_input_fini(struct tide_sim_input *input);
struct tide_sim_record *tide_sim_input_add(struct tide_sim_input *input, int part);
int tide_sim_input_part(struct tide_sim_input *input, int32_t number, const char *topic,
                        int32_t partition); /* found or made; -1: no memory */
void tide_sim_beat(const struct tide_sim_input *input);
struct tide_recorded tide_sim_record_of(const struct tide_sim_input *input, int record);

/* Some of the records in some order, cut into epochs, which a number of workers
 * run. A crash behind an epoch: so many workers go on. */
struct tide_sim_arrangement {
	int count;
	int *records;
	uint8_t *epochs; /* per record: which; they ascend */
	int workers;
	bool adopt; /* what the first records of a key add up to is its state, unmerged */
	uint8_t crash[TIDE_SIM_EPOCHS_MAX]; /* behind each epoch: workers from then on; 0: none */
};

bool tide_sim_arrangement_copy(struct tide_sim_arrangement *to,
                               const struct tide_sim_arrangement *from);
void tide_sim_arrangement_fini(struct tide_sim_arrangement *arrangement);
int tide_sim_epochs(const struct tide_sim_arrangement *arrangement);

/* What a job made of an arrangement. The last step is what left when at last all
 * windows closed. */
struct tide_sim_outcome {
	int rc; /* of the job; then why */
	struct tide_error why;
	int step_count, output_count;
	struct tide_rows **rows; /* per step and output; NULL: none */
	uint64_t rows_in, rows_filtered, rows_late;
};

int tide_sim_run(const struct tide_sim_input *input, const struct tide_sim_arrangement *arrangement,
                 struct tide_sim_outcome *out, struct tide_error *err);
void tide_sim_outcome_fini(struct tide_sim_outcome *outcome);
/* Every record alone in its partition: its event times. */
int tide_sim_learn_times(struct tide_sim_input *input, struct tide_error *err);

/* Same rows in each epoch. *same is false where they are not; `out` then says. */
int tide_sim_same_steps(const struct tide_plan *plan, const struct tide_sim_outcome *a,
                        const struct tide_sim_outcome *b, bool *same, struct tide_buf *out,
                        struct tide_error *err);
/* Same rows altogether, whatever the epochs: appended ones as they are, updates by
 * the last of each key. Outputs for which that is not promised are passed over. */
int tide_sim_same_result(const struct tide_plan *plan, const struct tide_sim_outcome *a,
                         const struct tide_sim_outcome *b, bool *same, struct tide_buf *out,
                         struct tide_error *err);
/* One appended row for each window and key. */
int tide_sim_once(const struct tide_plan *plan, const struct tide_sim_outcome *a, bool *once,
                  struct tide_buf *out, struct tide_error *err);

#endif
