/* SPDX-License-Identifier: Apache-2.0 */
/* Claims: rows of one partition that wait until the owners of their keys let
 * them pass.
 *
 * The rows stay with the worker that read them, so that their order stays too;
 * only keys are looked at by others. Each row belongs to one owner, who writes
 * its answer into the claim. */
#ifndef TIDE_RUN_CLAIMS_H
#define TIDE_RUN_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record/rows.h"
#include "state/keys.h"

struct tide_claims;

struct tide_claim {
	uint32_t row;
	uint32_t key_at, key_len; /* its encoded key, in tide_claims_keys */
	uint8_t shard;
	bool passes;
	int64_t time_us; /* of the row */
	int64_t offset;
};

/* The last two columns of `row` are the event time and the offset of the record
 * that it came from; they are not part of what the job sees. */
struct tide_claims *tide_claims_new(const struct tide_schema *row, const struct tide_keyspec *spec,
                                    int owners);
void tide_claims_free(struct tide_claims *claims);
void tide_claims_clear(struct tide_claims *claims);

/* Take more rows over; false without memory. */
bool tide_claims_add(struct tide_claims *claims, const struct tide_rows *rows);
/* Those of one owner, in the order of their rows. */
struct tide_claim *tide_claims_of(struct tide_claims *claims, int owner, size_t *count);
/* Keys have TIDE_KEY_SLACK readable bytes behind them. */
const char *tide_claims_keys(const struct tide_claims *claims);
const struct tide_rows *tide_claims_rows(const struct tide_claims *claims);
size_t tide_claims_bytes(const struct tide_claims *claims);
/* The numbers of the rows that pass, in order; false without memory. Good until
 * the next clear. */
bool tide_claims_passed(struct tide_claims *claims, const uint32_t **rows, size_t *count);

#endif
