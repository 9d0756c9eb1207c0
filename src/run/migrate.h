/* SPDX-License-Identifier: Apache-2.0 */
/* States of a checkpoint, made to fit a job that has other aggregates. */
#ifndef TIDE_RUN_MIGRATE_H
#define TIDE_RUN_MIGRATE_H

#include "checkpoint/checkpoint.h"
#include "job/vm.h"
#include "record/plan.h"

/* Rewrites what has moved since the plan `stored`, together with `meta`, which
 * has the new plan: one decision. New aggregates begin at zero; in states of a
 * higher version than the stored ones the job's own function, in `vm`, says with
 * what. TIDE_ERR_SCRIPT: it failed, and nothing was decided. */
int tide_migrate(struct tide_checkpoint *cp, const struct tide_plan *plan, struct tide_vm *vm,
                 const char *stored, struct tide_meta *meta, struct tide_error *err);

#endif
