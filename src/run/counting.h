/* SPDX-License-Identifier: Apache-2.0 */
/* How many states each operator has: on record with every epoch, and never
 * counted twice. */
#ifndef TIDE_RUN_COUNTING_H
#define TIDE_RUN_COUNTING_H

#include "checkpoint/checkpoint.h"
#include "record/plan.h"
#include "run/crew.h"

/* Before a run: where the record does not know how many there are, or windows
 * have closed that it does not know of, they are counted. closed_us: per watermark,
 * windows up to it have closed. */
int tide_counting_open(struct tide_checkpoint *cp, const struct tide_plan *plan,
                       const struct tide_state_op *ops, const int64_t *closed_us,
                       struct tide_meta *meta, struct tide_error *err);
/* That count, of what is decided, with a line in the log where it takes long. */
int tide_counting_scan(struct tide_checkpoint *cp, struct tide_state_op op,
                       const struct tide_state_count *count, uint64_t *rows,
                       struct tide_error *err);
/* What the epoch has made and let go, onto the record. */
void tide_counting_note(const struct tide_work *work, struct tide_crew *crew,
                        struct tide_meta *meta);
/* Of one operator, and of all. */
uint64_t tide_counting_rows(const struct tide_meta *meta, const struct tide_plan_keyed *keyed);
uint64_t tide_counting_all(const struct tide_meta *meta, const struct tide_plan *plan);

#endif
