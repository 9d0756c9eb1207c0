/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint: what has been decided, and how it becomes true.
 *
 * (checkpoint.c opens with the numbered invariants.) */
#ifndef TIDE_CHECKPOINT_CHECKPOINT_H
#define TIDE_CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "checkpoint/past.h"
#include "state/rocks.h"

/* Format 1 knew no event time, format 2 did not count malformed records by
 * themselves, format 3 not of what late rows are a part, format 4 not how many
 * states there are, format 5 not which sessions of a key are open; all are read and
 * no longer written. */
enum { TIDE_CHECKPOINT_FORMAT = 6, TIDE_EPOCHS_KEPT = 100 };

struct tide_checkpoint;

/* Where one partition stands after an epoch. */
struct tide_position {
	char *topic;
	int32_t partition;
	int64_t from, next;                       /* the epoch read [from, next) */
	int64_t print_offset, print_timestamp_ms; /* of the last record delivered */
	uint64_t print_hash;
};

/* Where one sink stands. due: the newest epoch in its outbox; acked: known to
 * be published; since: the first epoch that it can remember: a memory that says
 * less than acked is lost only if acked >= since. */
struct tide_sink_mark {
	char *name;
	int64_t since, due, acked;
};

/* How far event time has come in one partition; max_us INT64_MIN: not begun. */
struct tide_event_part {
	char *topic;
	int32_t partition;
	int64_t max_us;
	bool idle;
};

/* One watermark of the job. */
struct tide_event_mark {
	char *name;
	int64_t used_us, next_us; /* the epoch was judged by used, the next one is by next */
	uint64_t ahead;           /* event times that were beyond belief, so far */
	int part_count;
	struct tide_event_part *parts;
};

enum { TIDE_LATE_REGISTERS = 128 };

/* Rows that one operator has dropped by their event time, or that a step for
 * late rows has seen, so far. */
struct tide_late_count {
	char *name;
	uint64_t seen, late, untimed;       /* untimed: they had no event time */
	uint64_t beyond;                    /* later than that step was asked for */
	int64_t most_us;                    /* the furthest behind the watermark */
	uint32_t keys[TIDE_LATE_REGISTERS]; /* which keys (run/late.h) */
};

/* How many states one operator has. In windows or sessions that end by closed_us
 * they are over and not counted, though they may be in the database yet: what
 * removes them is no part of a decision. */
struct tide_state_count {
	char *name;
	uint64_t rows;
	int64_t closed_us; /* INT64_MIN: none has closed */
};

/* The decision record of one epoch. Owns everything it points to. */
struct tide_meta {
	uint32_t format;
	uint64_t checkpoint_id;
	uint64_t decision; /* counts decisions, those that repeat an epoch too; decide sets it */
	int64_t epoch;     /* -1: nothing decided yet */
	int64_t decided_us, now_us; /* wall clock at the decision; the epoch's now */
	uint64_t job_hash;
	char *job;            /* name */
	char *plan;           /* fingerprint text, see run/plan.c */
	char *cluster;        /* Kafka's cluster id */
	int64_t watermark_us; /* the least of marks' next_us; INT64_MIN: unset */
	/* Ledger, running totals. Malformed are those that were dropped for it, and not
	 * among the failed. Late are records of which a step has dropped a row. */
	uint64_t rows_in, rows_out, rows_filtered, rows_failed, rows_late, rows_lost,
		rows_malformed;
	int position_count, sink_count, mark_count, late_count, state_count;
	struct tide_position *positions;
	struct tide_sink_mark *sinks;
	struct tide_event_mark *marks;
	struct tide_late_count *lates;
	struct tide_state_count *states;
};

void tide_meta_fini(struct tide_meta *meta);
bool tide_meta_copy(struct tide_meta *to, const struct tide_meta *from);
void tide_meta_encode(const struct tide_meta *meta, struct tide_buf *out);
int tide_meta_decode(struct tide_slice bytes, struct tide_meta *out, struct tide_error *err);
struct tide_position *tide_meta_position(struct tide_meta *meta, const char *topic,
                                         int32_t partition); /* or NULL */
struct tide_position *tide_meta_position_add(struct tide_meta *meta, const char *topic,
                                             int32_t partition);
struct tide_sink_mark *tide_meta_sink(struct tide_meta *meta, const char *name); /* or NULL */
struct tide_sink_mark *tide_meta_sink_add(struct tide_meta *meta, const char *name);
void tide_meta_sink_remove(struct tide_meta *meta, struct tide_sink_mark *mark);
/* These make what is not there; NULL without memory. */
struct tide_event_mark *tide_meta_mark(struct tide_meta *meta, const char *name);
struct tide_event_part *tide_meta_mark_part(struct tide_event_mark *mark, const char *topic,
                                            int32_t partition);
void tide_meta_forget_marks(struct tide_meta *meta);
struct tide_late_count *tide_meta_late(struct tide_meta *meta, const char *name);
/* NULL: nobody has counted them yet. add makes it, with none. */
struct tide_state_count *tide_meta_state(const struct tide_meta *meta, const char *name);
struct tide_state_count *tide_meta_state_add(struct tide_meta *meta, const char *name);

struct tide_checkpoint_options {
	/* Look, take no lock, change nothing. While a job runs this sees what was
	 * decided when it opened, and reads may fail once the job's compactions
	 * have removed the files of that moment: then open again. */
	bool read_only;
	size_t memory_max;      /* for RocksDB */
	struct tide_past *past; /* notes every decision in it; or NULL */
};

/* Opens or makes the directory: takes the lock, reads the anchor and the meta,
 * compares them. Errors name the path, what is wrong and the way out. */
int tide_checkpoint_open(const char *dir, const struct tide_checkpoint_options *options,
                         struct tide_checkpoint **out, struct tide_error *err);
/* `clean`: sync the anchor; the sinks' acked marks were decided by the caller. */
void tide_checkpoint_close(struct tide_checkpoint *cp);

/* What is decided. Good until the next decide. */
const struct tide_meta *tide_checkpoint_meta(const struct tide_checkpoint *cp);
struct tide_rocks *tide_checkpoint_rocks(struct tide_checkpoint *cp);

/* Rows waiting for a sink, as encoded by tide_rows_encode. */
struct tide_outbox_entry {
	const char *sink;
	struct tide_slice rows;
};

/* One epoch, all or nothing: state writes, outbox, meta and the epoch's record
 * in the history; outbox entries up to each sink's acked are released in the
 * same step. Writes the anchor after. On error the process must stop.
 *
 * meta->epoch is the newest epoch or the one after it. Deciding the newest again
 * changes what is on record about it (marks, positions); with an epoch of its
 * own and no state this is also how offsets are reset. A sink that is missing
 * from meta is forgotten; with unpublished entries that is refused. */
int tide_checkpoint_decide(struct tide_checkpoint *cp, const struct tide_meta *meta,
                           struct tide_writes *const *state, int state_count,
                           const struct tide_outbox_entry *outbox, int outbox_count,
                           struct tide_error *err);

/* The rows of a decided epoch for a sink; found = false when it put nothing out. */
int tide_checkpoint_outbox(struct tide_checkpoint *cp, const char *sink, int64_t epoch,
                           struct tide_buf *rows, bool *found, struct tide_error *err);

/* Epoch records kept, oldest first: calls each(meta, arg) until it returns false. */
int tide_checkpoint_history(struct tide_checkpoint *cp,
                            bool (*each)(const struct tide_meta *meta, void *arg), void *arg,
                            struct tide_error *err);

/* What people were told of an epoch, as JSON: kept with a later decision, and
 * forgotten after TIDE_EPOCHS_KEPT epochs. Nothing depends on it. */
bool tide_checkpoint_keep_progress(struct tide_writes *writes, int64_t epoch,
                                   struct tide_slice json);
/* That of epochs from `from` on, oldest first. */
int tide_checkpoint_progress(struct tide_checkpoint *cp, int64_t from,
                             void (*each)(struct tide_slice json, void *arg), void *arg,
                             struct tide_error *err);

enum tide_state_order {
	TIDE_ORDER_KEYS = 0,
	TIDE_ORDER_WINDOWS = 1, /* by the windows' ends, which lead the keys */
	TIDE_ORDER_SESSIONS = 2 /* likewise, and the end has no part in the shard */
};

/* An operator's number in this checkpoint, and how its states lie there. */
struct tide_state_op {
	uint16_t number;
	bool windowed; /* in windows or sessions */
	bool sessions;
};

/* Keys of state. In windows the key's first part is their end, a timestamp. */
void tide_state_key(struct tide_buf *out, struct tide_state_op op, uint32_t shard, const char *key,
                    size_t key_len);
/* The shard that a key's states are in. */
uint32_t tide_state_shard(struct tide_state_op op, const char *key, size_t key_len);
/* All states of an operator lie in [from, to). */
void tide_state_range(struct tide_buf *from, struct tide_buf *to, struct tide_state_op op);
/* Before all states of windows that end then; windows that end in [a, b) lie
 * between the two. */
void tide_state_end(struct tide_buf *out, struct tide_state_op op, int64_t end_us);
/* What a stored key says: its shard, and the key's bytes appended to `key`.
 * False when it is none of this operator. */
bool tide_state_split(struct tide_slice stored, struct tide_state_op op, uint32_t *shard,
                      struct tide_buf *key);
/* Stable number of an operator name; a new name gets the next one, which the
 * next decide makes true. */
int tide_checkpoint_op(struct tide_checkpoint *cp, const char *name, enum tide_state_order order,
                       struct tide_state_op *op, struct tide_error *err);

/* Reads every file and record; errors name what is damaged. */
struct tide_verify_report {
	uint64_t state_rows, outbox_rows, epochs, bytes;
	/* Of keys and values of all states, whatever their order: equal states, equal
	 * digests. A number to compare, not a checksum that is kept anywhere. */
	uint64_t state_digest;
};
int tide_checkpoint_verify(const char *dir, struct tide_verify_report *report,
                           struct tide_error *err);

#endif
