/* SPDX-License-Identifier: Apache-2.0 */
/* What an error about a record speaks of, beside it: the record, the line of the
 * job, and the line of the sample. */
#ifndef TIDE_RUN_EVIDENCE_H
#define TIDE_RUN_EVIDENCE_H

#include "base/buf.h"
#include "record/batch.h"
#include "record/plan.h"

enum { TIDE_EVIDENCE_MAX = 512 };

/* What a record holds, short and harmless: `key "a", value "{\"n\":1}"`. */
void tide_evidence_record(const struct tide_rec *rec, char out[TIDE_EVIDENCE_MAX]);

/* Below an error: what tide_evidence_record has said. */
void tide_evidence_add_record(const char *shown, struct tide_error *err);

/* For "topic[0]@7: job.lua:12: …": line 12 of job.lua if that is a file of the
 * job and the message does not have it yet, and line 7 of `sample`, whose p is
 * NULL where offsets are no lines, in place of the record. Adds to the message as much as fits. */
void tide_evidence_add(const struct tide_plan *plan, struct tide_slice sample,
                       struct tide_error *err);

#endif
