/* SPDX-License-Identifier: Apache-2.0 */
/* What an error about a record speaks of, beside it: the line of the job, and
 * the line of the sample. */
#ifndef TIDE_RUN_EVIDENCE_H
#define TIDE_RUN_EVIDENCE_H

#include "base/buf.h"
#include "record/plan.h"

/* For "topic[0]@7: job.lua:12: …": line 12 of job.lua if that is a file of the
 * job and the message does not have it yet, and line 7 of `sample`, whose p is
 * NULL where offsets are no lines. Adds to the message as much as fits. */
void tide_evidence_add(const struct tide_plan *plan, struct tide_slice sample,
                       struct tide_error *err);

#endif
