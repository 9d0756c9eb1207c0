/* SPDX-License-Identifier: Apache-2.0 */
/* A source: partitions of ordered records, read from where we say.
 *
 * The coordinator opens it, lists partitions, places each at an offset and
 * asks for ends. Then workers fetch, one at a time from each partition: fetch on
 * different partitions is safe at the same time. All else is the coordinator's
 * and may run beside fetches, except seek and verify of a partition that is
 * being fetched. A source keeps no position of record: the checkpoint does. */
#ifndef TIDE_SOURCE_SOURCE_H
#define TIDE_SOURCE_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "record/batch.h"
#include "record/plan.h"

/* The last record delivered from a partition, to tell a recreated topic. */
struct tide_fingerprint {
	int64_t offset; /* -1: none yet */
	int64_t timestamp_ms;
	uint64_t hash; /* of key and value */
};

struct tide_source_part {
	char *topic;
	int32_t partition;
	int64_t next;  /* the next offset to deliver: Tidemark's, never Kafka's.
	                * -1: to be chosen; 0 where it appeared while running */
	int64_t start; /* log start, as last seen */
	int64_t end;   /* as last seen: the end of what may be read, so what is in an
	                * open transaction lies behind it; next + backlog */
	struct tide_fingerprint print;
	/* Set and taken back by the source: a fetch that does not wait found nothing, and
	 * nothing has come since. Who fetches may leave the partition alone, but looks
	 * again now and then, and after it has moved `to`. */
	atomic_bool quiet;
	bool placed;   /* seek has been called */
	bool doubtful; /* ends() saw that it may be another log: verify and seek */
	void *priv;    /* the source's own */
};

struct tide_source; /* Opaque; every implementation begins with its ops. */

/* What was lost, when records that were promised are gone. */
enum tide_loss_kind {
	TIDE_LOSS_NONE = 0,
	TIDE_LOSS_TRIMMED,   /* log start moved past next: [next, start) is gone */
	TIDE_LOSS_RECREATED, /* the topic is another one: start again at its start */
	TIDE_LOSS_UNVERIFIED /* fingerprint record retired or compacted: no loss seen */
};

struct tide_loss {
	enum tide_loss_kind kind;
	int64_t from, to; /* "offset was changed from X to Y" */
	int64_t lost;     /* records, or -1 when it cannot be known */
};

/* How long a topic keeps records: as long as neither is exceeded. -1: no limit. */
struct tide_retention {
	int64_t ms, bytes;
};

struct tide_source_ops {
	const char *kind;
	/* Partitions that exist now. New ones are appended to *parts, so that
	 * known pointers stay good; call again to find more. The array is the
	 * caller's to free (it begins as NULL and 0), the parts live until close. */
	int (*discover)(struct tide_source *src, struct tide_source_part ***parts, int *count,
	                struct tide_error *err);
	/* Refresh start and end from the broker. */
	int (*ends)(struct tide_source *src, struct tide_source_part **parts, int count,
	            struct tide_error *err);
	/* "earliest", "latest", or milliseconds since 1970, to an offset in each. */
	int (*resolve)(struct tide_source *src, struct tide_source_part **parts, int count,
	               const char *position, int64_t *offsets, struct tide_error *err);
	/* Is each partition still the one that its print was taken from, and is its
	 * next still there? losses[i] says so of parts[i]. All are asked at once; after
	 * an error nothing is said of any. */
	int (*verify)(struct tide_source *src, struct tide_source_part **parts, int count,
	              struct tide_loss *losses, struct tide_error *err);
	/* From now on deliver these, each from its next. */
	int (*seek)(struct tide_source *src, struct tide_source_part **parts, int count,
	            struct tide_error *err);
	/* Until a fetch may find something new, at most timeout_ms. May return early. */
	void (*wait)(struct tide_source *src, int timeout_ms);
	/* Add records with offset < to to the batch until it is full or nothing is
	 * there; wait at most timeout_ms for the first. Advances part->next past
	 * what was added, and to `to` over offsets that hold no record (aborted,
	 * compacted, control). TIDE_ERR_DATA_LOSS when next is out of range:
	 * the caller then verifies and places the partition again. */
	int (*fetch)(struct tide_source *src, struct tide_source_part *part, int64_t to,
	             int timeout_ms, struct tide_batch *batch, struct tide_error *err);
	/* Mirror positions to the consumer group, for lag tools; best effort. */
	void (*mirror)(struct tide_source *src, struct tide_source_part **parts, int count);
	/* Optional, as is the next: how long the topic keeps records. False when that
	 * may not be known. Asks the broker: once is enough. */
	bool (*retention)(struct tide_source *src, const char *topic, struct tide_retention *out);
	/* Refresh where the logs start, also of partitions that are being read. */
	int (*starts)(struct tide_source *src, struct tide_source_part **parts, int count,
	              struct tide_error *err);
	/* Background work and pending errors; TIDE_OK or why no broker answers. */
	int (*poll)(struct tide_source *src, struct tide_error *err);
	/* Optional: after TIDE_ERR_UNAVAILABLE, is there no use in waiting (a login that
	 * is refused)? */
	bool (*refused)(struct tide_source *src);
	void (*close)(struct tide_source *src);
};

struct tide_source {
	const struct tide_source_ops *ops;
};

struct tide_fingerprint tide_fingerprint_of(const struct tide_rec *rec);

/* What a loss means, for people. It begins with the sentence that monitoring
 * looks for, "Partition demo-topic-1-0's offset was changed from 78 to 0", and
 * ends with the options. `fails` says whether the job stops for it;
 * `checkpoint` is its directory, or NULL. Empty for TIDE_LOSS_NONE. */
void tide_loss_text(const struct tide_source_part *part, const struct tide_loss *loss, bool fails,
                    const char *checkpoint, char *out, size_t size);

#endif
