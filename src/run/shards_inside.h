/* SPDX-License-Identifier: Apache-2.0 */
/* The shards one worker owns, as shards.c and closing.c see them. */
#ifndef TIDE_RUN_SHARDS_INSIDE_H
#define TIDE_RUN_SHARDS_INSIDE_H

#include "run/sessions.h"
#include "run/shards.h"
#include "state/ends.h"

enum { TIDE_SHARDS_CHUNK = 1024 };

/* The state of one keyed operator. */
struct tide_slice_of {
	struct tide_table *table;
	size_t value_size;
	struct tide_entry **dirty;
	size_t dirty_count, dirty_capacity;
	size_t updated;      /* by the newest epoch */
	uint64_t made, gone; /* likewise: states */
	size_t share;        /* of memory, for clean entries; each epoch again */
	bool complete;       /* memory holds every key: a miss needs no look at RocksDB */
	uint64_t stored;     /* in RocksDB, about; UINT64_MAX: not known */
	uint64_t looked;     /* up there, since the start or since all was loaded */
	uint32_t loaded_to;  /* shards before this one are all in memory (loading.c) */
	unsigned ratio;      /* look-ups are worth loading so many times as many states */
	bool unlisted;       /* RocksDB has no lists of the sessions that are open */
	/* Where windows close or keys are forgotten: which entries end when, what has
	 * closed, and the first end that may be in RocksDB and not in memory
	 * (INT64_MAX: none). */
	struct tide_ends *ends;
	int64_t closed_us, stored_us;
	bool closed_some;               /* in this epoch */
	struct tide_sessions *sessions; /* that are open, whether or not memory has their states */
};

struct tide_shards {
	struct tide_shards_options options;
	struct tide_slice_of *slices;
	struct tide_segments *segments; /* per output */
	int64_t epoch;                  /* that runs */
	const int64_t *watermarks_us;   /* in force */
	struct tide_pair pairs[TIDE_SHARDS_CHUNK];
	struct tide_slice keys[TIDE_SHARDS_CHUNK], values[TIDE_SHARDS_CHUNK];
	uint32_t missing[TIDE_SHARDS_CHUNK];
	struct tide_buf key_bytes;
	struct tide_cell *cells; /* a chunk of keys of the widest operator */
	uint64_t states[TIDE_SHARDS_CHUNK];
};

/* Entries in the order in which they leave: windows by their end, then by shard
 * and key. */
bool tide_shards_sort(const struct tide_shards *shards, int keyed, struct tide_entry **entries,
                      size_t count);
/* Result rows of `count` keys for one output, in that order. */
int tide_shards_emit(struct tide_shards *shards, int keyed, int output, struct tide_entry **entries,
                     size_t count, struct tide_error *err);
/* Rows of windows with that end are complete for this output. */
int tide_shards_segment(struct tide_shards *shards, int output, int64_t end_us,
                        struct tide_error *err);

/* What RocksDB has of so many keys, which end there in key_bytes: into values, until
 * these are freed. */
int tide_shards_read(struct tide_shards *shards, const size_t *ends, size_t count,
                     struct tide_error *err);
void tide_shards_free_values(struct tide_shards *shards, size_t count);

/* The running epoch changes it; false without memory. */
bool tide_shards_dirty(struct tide_slice_of *slice, struct tide_entry *entry);

/* Of a dedup: its index of what is dirty, to be written before that; what the
 * watermark has passed, after it; and when all entries have moved. */
int tide_claiming_write(struct tide_shards *shards, int keyed, struct tide_writes *writes,
                        struct tide_error *err);
int tide_claiming_forget(struct tide_shards *shards, int keyed, int64_t to_us,
                         struct tide_writes *writes, struct tide_error *err);
int tide_claiming_moved(struct tide_shards *shards, int keyed, struct tide_error *err);

/* Whether an output has rows of this operator's when its keys end. */
bool tide_closing_appends(const struct tide_shards *shards, int keyed, const bool *append_outputs);
/* The entry has been made, or all have moved. */
int tide_closing_add(struct tide_slice_of *slice, struct tide_entry *entry, struct tide_error *err);
int tide_closing_moved(struct tide_slice_of *slice, struct tide_error *err);
/* The first end that RocksDB holds from `from_us` on, of windows or in the index of
 * a dedup; INT64_MAX: none. */
int tide_closing_stored(const struct tide_shards *shards, int keyed, int64_t from_us,
                        int64_t *end_us, struct tide_error *err);

#endif
