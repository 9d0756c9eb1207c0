/* SPDX-License-Identifier: Apache-2.0 */
/* What a checkpoint knows, compared with what a job wants and made to fit it. */
#ifndef TIDE_RUN_ADOPT_H
#define TIDE_RUN_ADOPT_H

#include "checkpoint/checkpoint.h"
#include "job/vm.h"
#include "record/plan.h"

/* `meta`, which the caller finishes, is the record that this plan goes on from.
 * States are changed in one decision where that is needed, by `vm` where the job
 * says how. TIDE_ERR_CHECKPOINT and TIDE_ERR_SCRIPT: it does not fit, or the job's
 * function failed, and nothing was changed. */
int tide_adopt(struct tide_checkpoint *cp, const struct tide_plan *plan, struct tide_vm *vm,
               const char *dir, struct tide_meta *meta, struct tide_error *err);

#endif
