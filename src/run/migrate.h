/* SPDX-License-Identifier: Apache-2.0 */
/* States of a checkpoint, made to fit a job that has more aggregates. */
#ifndef TIDE_RUN_MIGRATE_H
#define TIDE_RUN_MIGRATE_H

#include "checkpoint/checkpoint.h"
#include "record/plan.h"

/* Rewrites what has moved since the plan `stored`, together with `meta`, which
 * has the new plan: one decision. The new aggregates begin at zero. */
int tide_migrate(struct tide_checkpoint *cp, const struct tide_plan *plan,
                 const struct tide_state_op *ops, const char *stored, const struct tide_meta *meta,
                 struct tide_error *err);

#endif
