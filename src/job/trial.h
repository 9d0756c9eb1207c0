/* SPDX-License-Identifier: Apache-2.0 */
/* Where the loops of a job write while they are only tried: nowhere. */
#ifndef TIDE_JOB_TRIAL_H
#define TIDE_JOB_TRIAL_H

#include "job/vm.h"

struct tide_trial;

/* Queues that stay empty and rows that nobody reads, for a plan. NULL without
 * memory. */
struct tide_trial *tide_trial_new(const struct tide_plan *plan);
void tide_trial_free(struct tide_trial *trial);
/* Good as long as the trial. Rows that fail are passed over. */
struct tide_vm_bind tide_trial_bind(struct tide_trial *trial);
/* An empty batch for records to try; NULL without memory. */
struct tide_batch *tide_trial_batch(struct tide_trial *trial);

#endif
