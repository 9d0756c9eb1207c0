/* SPDX-License-Identifier: Apache-2.0 */
/* What all sources share: fingerprints, and the words for a loss. */
#include "source/source.h"

#include <assert.h>
#include <stdio.h>

#include "base/hash.h"

struct tide_fingerprint tide_fingerprint_of(const struct tide_rec *rec)
{
	assert(rec != NULL);
	/* The length of the key seeds the value, so that bytes cannot move from
	 * one to the other, and null (-1) is not empty. */
	int32_t key_len = rec->key_.len_, value_len = rec->value_.len_;
	uint64_t hash = tide_hash(tide_view_p(&rec->key_), key_len > 0 ? (size_t)key_len : 0,
	                          (uint64_t)(uint32_t)key_len);
	hash = tide_hash(tide_view_p(&rec->value_), value_len > 0 ? (size_t)value_len : 0,
	                 hash ^ (uint64_t)(uint32_t)value_len << 32);
	return (struct tide_fingerprint){ .offset = rec->offset_,
		                          .timestamp_ms = rec->timestamp_ms_,
		                          .hash = hash };
}

static const char *options_text(bool fails)
{
	return fails ? "\nYou can (1) go on from the earliest available offset: "
	               "fail_on_data_loss = false; counts may then be incomplete. "
	               "(2) Correct the topic, or restore the checkpoint from a backup, and start "
	               "again. (3) Start from scratch: rm -rf %s"
	             : "\nGoing on from the earliest available offset; counts may be "
	               "incomplete. To stop here instead: fail_on_data_loss = true. To start from "
	               "scratch: rm -rf %s";
}

void tide_loss_text(const struct tide_source_part *part, const struct tide_loss *loss, bool fails,
                    const char *checkpoint, char *out, size_t size)
{
	assert(part != NULL && loss != NULL && out != NULL && size > 0);
	const char *dir = checkpoint != NULL ? checkpoint : "the checkpoint directory";
	const char *topic = part->topic;
	int partition = part->partition;
	long long from = loss->from, to = loss->to;
	int n = 0;
	out[0] = '\0';
	switch (loss->kind) {
	case TIDE_LOSS_NONE: return;
	case TIDE_LOSS_UNVERIFIED:
		snprintf(out, size,
		         "%s-%d: cannot verify that this is still the topic of the "
		         "checkpoint: the record at offset %lld, the last one read, is gone "
		         "(retired or compacted). Nothing that was still to be read is missing: "
		         "going on at %lld.",
		         topic, partition, (long long)part->print.offset, from);
		return;
	case TIDE_LOSS_TRIMMED:
		n = snprintf(out, size,
		             "Partition %s-%d's offset was changed from %lld to %lld\n"
		             "Offset %lld out of range: the log of %s-%d now starts at %lld; data "
		             "loss - messages between offset %lld and %lld are missing (%lld "
		             "offsets): they were deleted before they were read.",
		             topic, partition, from, to, from, topic, partition, to, from, to,
		             (long long)loss->lost);
		break;
	case TIDE_LOSS_RECREATED:
		n = snprintf(out, size,
		             "Partition %s-%d's offset was changed from %lld to %lld\n"
		             "The topic was deleted and created again: the checkpoint has read up "
		             "to offset %lld of another log; data loss - messages between offset "
		             "%lld and %lld are missing, as are any that the old log still held.",
		             topic, partition, from, to, from, to, from);
		break;
	}
	if (n > 0 && (size_t)n < size) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(out + n, size - (size_t)n, options_text(fails), dir);
#pragma GCC diagnostic pop
	}
}
