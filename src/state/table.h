/* SPDX-License-Identifier: Apache-2.0 */
/* Keyed state in memory: an open-addressing table from key bytes to a fixed
 * struct of 8-byte fields.
 *
 * Used twice: as a worker's delta (what this epoch adds, before the exchange)
 * and as an owner's state (a cache over RocksDB of what is decided, plus what
 * this epoch changed). Entries do not move until tide_table_clear or _evict. */
#ifndef TIDE_STATE_TABLE_H
#define TIDE_STATE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "record/abi.h"
#include "state/keys.h"

struct tide_table;

enum tide_entry_flags {
	TIDE_ENTRY_DIRTY = 1,  /* changed in the running epoch */
	TIDE_ENTRY_PINNED = 2, /* in a write set that is not decided yet */
	TIDE_ENTRY_USED = 4,   /* touched since the last eviction swept by */
	TIDE_ENTRY_DEAD = 8    /* removed; its room comes back with the next eviction */
};

struct tide_entry {
	uint32_t key_len; /* 0: not an entry but room that was left */
	uint8_t flags;
	uint8_t shard;
	uint16_t spare;
	/* value_size bytes of state, then key_len bytes of key. */
	_Alignas(8) char bytes[];
};

/* keyspec is borrowed and outlives the table. value_size is a multiple of 8. */
struct tide_table *tide_table_new(const struct tide_keyspec *keyspec, size_t value_size);
void tide_table_free(struct tide_table *table);
void tide_table_clear(struct tide_table *table); /* empty; keeps a few MiB for the next fill */
uint32_t tide_table_count(const struct tide_table *table);
size_t tide_table_bytes(const struct tide_table *table); /* memory in use */

/* One of many keys to look up: where it is, and what the queue keeps with it. */
struct tide_wanted {
	uint32_t at, len; /* its bytes, with TIDE_KEY_SLACK readable ones behind them */
	uint32_t row;     /* of the batch that asked */
};

enum { TIDE_KEY_SLACK = 32 };

/* The addresses of the states of `count` keys, zeroed where new. False without
 * memory. Hot: the misses of many keys are waited for together. */
bool tide_table_resolve(struct tide_table *table, const char *keys,
                        const struct tide_wanted *wanted, size_t count, uint64_t *states);

/* By encoded key. find gives NULL when absent; put makes a zeroed entry, or NULL
 * without memory or when the bytes are no key. Both mark it used, not dirty. */
struct tide_entry *tide_table_find(struct tide_table *table, const char *key, uint32_t key_len);
struct tide_entry *tide_table_put(struct tide_table *table, const char *key, uint32_t key_len);

/* The same for many entries of another table; NULL where absent. */
void tide_table_find_all(struct tide_table *table, const struct tide_table *other,
                         struct tide_entry *const *entries, size_t count,
                         struct tide_entry **found);

static inline void *tide_entry_state(struct tide_entry *entry)
{
	return entry->bytes;
}
static inline struct tide_entry *tide_entry_of(void *state)
{
	return (struct tide_entry *)((char *)state - offsetof(struct tide_entry, bytes));
}
/* Where the next new entry will be, or behind that. */
uint64_t tide_table_top(const struct tide_table *table);
const char *tide_entry_key(const struct tide_table *table, const struct tide_entry *entry);

/* Walk all live entries in insertion order: start with *at = 0. NULL at the end. */
struct tide_entry *tide_table_each(struct tide_table *table, uint64_t *at);

/* Have in the cache what looking for these keys will touch; few at a time. They
 * have TIDE_KEY_SLACK readable bytes behind them. */
void tide_table_expect(const struct tide_table *table, const struct tide_slice *keys, size_t count);

/* Take clean entries out. The others stay where they are. */
void tide_table_remove(struct tide_table *table, struct tide_entry *entry);
void tide_table_remove_all(struct tide_table *table, struct tide_entry *const *entries,
                           size_t count);
size_t tide_table_dead_bytes(const struct tide_table *table); /* of removed ones */

/* Drop clean entries, the long unused first, until at most `bytes_max` are in
 * use or none are left that may go. Entries move, in place: no second copy is
 * ever held. Returns how many went. */
uint32_t tide_table_evict(struct tide_table *table, size_t bytes_max);

#endif
