/* SPDX-License-Identifier: Apache-2.0 */
/* The types C and Lua share. This file is compiled by C and read by ffi.cdef.
 *
 * For Lua the loader drops every line that starts with '#' and reads
 * `tide_ro` as `const`: a script can look at a record but never change it,
 * and it only ever sees addresses as opaque integers. So this file holds
 * plain declarations, no conditionals, no macros in expressions.
 *
 * Names that end in an underscore belong to the runtime; scripts reach the
 * same facts through methods that check bounds and lifetime. */
#ifndef TIDE_RECORD_ABI_H
#define TIDE_RECORD_ABI_H
#include <stdbool.h>
#include <stdint.h>
#define tide_ro

/* What a column may hold. */
enum tide_type {
	TIDE_INT = 1,
	TIDE_DOUBLE = 2,
	TIDE_BOOL = 3,
	TIDE_STRING = 4,
	TIDE_BYTES = 5,
	TIDE_TIMESTAMP = 6 /* int64 microseconds since 1970, UTC */
};

/* Text inside a batch. Valid while its batch is: gen_ names the batch, and
 * retired batches have their views poisoned with gen_ = 0. len_ < 0 is null,
 * and ends a list of words. */
struct tide_view {
	tide_ro uint64_t addr_;
	tide_ro int32_t len_;
	tide_ro uint32_t gen_;
};

/* A view in a list of them. next_ is how far away the one behind it is: a
 * distance, because a compiled loop keeps what it adds to an address in a
 * register, and an address that it loads it does not. */
struct tide_word {
	tide_ro uint64_t addr_;
	tide_ro int32_t len_;
	tide_ro uint32_t gen_;
	tide_ro int64_t next_;
};

struct tide_header {
	struct tide_view name_;
	struct tide_view value_;
};

/* One Kafka record: a cache line. */
struct tide_rec {
	struct tide_view key_;
	struct tide_view value_;
	tide_ro int64_t offset_;
	tide_ro int64_t timestamp_ms_;  /* -1: the record has none */
	tide_ro uint64_t headers_addr_; /* struct tide_header[header_count] */
	tide_ro uint32_t header_count;
	tide_ro uint32_t gen_;
};

/* Records of one partition, in offset order. */
struct tide_batch {
	struct tide_rec *recs;
	uint32_t count;
	uint32_t gen;
	const char *topic;
	int32_t topic_len;
	int32_t partition;
	void *arena; /* struct tide_arena: words and text of this batch */
};

/* One value of a row. len is the length of text, 0 for other types, and -1
 * for null whatever the type. Text is borrowed: from the batch, from a Lua
 * string that the stack holds, or from a table entry. */
struct tide_cell {
	union {
		int64_t i;
		double d;
		const char *p;
	};
	int32_t len;
	int32_t spare;
};

/* A field for the JSON scanner to look for. */
struct tide_field {
	const char *path; /* "a" or "a.b": nested objects */
	int32_t path_len;
	uint8_t type; /* enum tide_type */
	uint8_t nullable;
	uint16_t spare;
};

/* Why the JSON scanner did not accept a document. */
struct tide_scan_error {
	int32_t code;  /* enum tide_scan */
	int32_t field; /* index of the field at fault, or -1 */
	int32_t at;    /* byte position in the document */
	char text[112];
};

enum tide_scan {
	TIDE_SCAN_OK = 0,
	TIDE_SCAN_MALFORMED = 1, /* not JSON, or not an object */
	TIDE_SCAN_MISSING = 2,   /* a column that may not be null is */
	TIDE_SCAN_TYPE = 3,      /* a column that may not be null has another type */
	TIDE_SCAN_RANGE = 4      /* an integer beyond what the column can hold */
};

/* A keyed state to fold into another, or to finish: addresses of entries. */
struct tide_pair {
	uint64_t into;
	uint64_t from;
};

struct tide_timed;
struct tide_sieve;

/* Keys that wait for their states; what of it Lua reads. */
struct tide_queue {
	uint32_t count; /* that wait */
	uint32_t spare;
	uint64_t *states;       /* after resolve: the address of each one's state, … */
	struct tide_cell *args; /* … its arguments, … */
	uint32_t *rows;         /* … and the row of the batch it came from */
};

/* Event time of one stream, as its loops see it. INT64_MIN: none yet. */
struct tide_mark {
	int64_t time_us;      /* of the running row, unless … */
	int64_t untimed;      /* … it has none: not zero */
	int64_t max_us;       /* the greatest of the batch */
	int64_t limit_us;     /* what lies beyond is not believed, but counted */
	int64_t watermark_us; /* in force for the epoch */
	int64_t ahead;        /* event times beyond the limit */
	int64_t most_us;      /* the greatest of the epoch; what follows is of it, too */
	int64_t min_us;       /* INT64_MAX: none yet */
	int64_t count;
	double sum_us;
};

/* How Lua reaches state without knowing whose it is; run/ fills it in. */
struct tide_state_ops {
	/* Queue the key and the arguments of a row. False without memory. */
	bool (*push)(struct tide_queue *queue, const struct tide_cell *row, uint32_t number);
	/* The row failed: back to the first `count`. */
	void (*drop)(struct tide_queue *queue, uint32_t count);
	/* Find or make the states of all that wait. False without memory. */
	bool (*resolve)(struct tide_queue *queue, uint32_t *count);
	/* All adds to this one of the newest states failed: gone, if it was made for them. */
	void (*forget)(struct tide_queue *queue, uint32_t number);
	/* Where event time decides, instead of push: the row's key in each of its
	 * open windows, or nothing when it is late. */
	bool (*push_timed)(struct tide_timed *timed, struct tide_cell *row, uint32_t number);
	/* Before a row waits for the owner of its key: puts its event time behind it;
	 * false when it is late. */
	bool (*claim)(struct tide_timed *timed, struct tide_cell *row, uint32_t number);
	/* That row failed: it was not late. */
	void (*drop_timed)(struct tide_timed *timed, uint32_t number);
	/* Whether the row is late and goes on where only such rows do. */
	bool (*sift)(struct tide_sieve *sieve, const struct tide_cell *row, uint32_t number);
	/* That row failed: it was not late. */
	void (*drop_sift)(struct tide_sieve *sieve, uint32_t number);
};

/* What one stage's loop reports back for one batch. */
struct tide_run_result {
	uint32_t rows_in;
	uint32_t rows_filtered;
	uint32_t rows_failed;
	uint32_t rows_malformed;
};
#endif
