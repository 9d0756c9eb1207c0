/* SPDX-License-Identifier: Apache-2.0 */
/* The plan as run/ needs it: key layouts, a fingerprint, a picture. */
#ifndef TIDE_RUN_PLAN_H
#define TIDE_RUN_PLAN_H

#include "base/buf.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "record/plan.h"
#include "state/keys.h"

void tide_plan_keyspec(const struct tide_plan_keyed *keyed, struct tide_keyspec *spec);
enum tide_state_order tide_plan_order(const struct tide_plan_keyed *keyed);
/* What an operator keeps beside its states, under a name of its own: a dedup its
 * keys by when they end, sessions which of a key are open. */
bool tide_plan_indexed(const struct tide_plan_keyed *keyed);
int tide_plan_index_op(const struct tide_plan_keyed *keyed, struct tide_checkpoint *cp,
                       struct tide_state_op *op, struct tide_error *err);
enum tide_type tide_plan_key_type(const struct tide_plan_keyed *keyed, int part);

/* What of the plan a checkpoint depends on, one fact a line: operators, key
 * types, windows, aggregates and their states, sink modes and columns. */
void tide_plan_fingerprint(const struct tide_plan *plan, struct tide_buf *out);
/* TIDE_ERR_CHECKPOINT naming what changed, and the ways out. Additions that no
 * old state depends on are not a change: aggregates and columns. Nor are other
 * aggregates in a state of a higher version that the job has a function for. */
int tide_plan_compare(const char *stored, const struct tide_plan *plan, const char *dir,
                      struct tide_error *err);

/* The job has a function for states of this operator, which are of a lower version
 * in the plan `stored`. */
bool tide_plan_migrates(const char *stored, const struct tide_plan_keyed *keyed);
/* How those lie, an aggregate a line, as a string; returns a state's bytes. */
size_t tide_plan_stored_layout(const char *stored, const struct tide_plan_keyed *keyed,
                               struct tide_buf *out);

/* Aggregates came since, so that states lie elsewhere: bytes of an old state that
 * go to another place in the new one. Returns how many moves there are; 0: none
 * is needed. */
enum { TIDE_PLAN_MOVES_MAX = 64 };
struct tide_plan_move {
	size_t from, to, size;
};
int tide_plan_moves(const char *stored, const struct tide_plan_keyed *keyed,
                    struct tide_plan_move *moves, size_t *old_size);

enum tide_plan_format { TIDE_PLAN_TEXT, TIDE_PLAN_DOT, TIDE_PLAN_JSON };
void tide_plan_explain(const struct tide_plan *plan, enum tide_plan_format format,
                       struct tide_buf *out);

#endif
