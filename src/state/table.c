/* SPDX-License-Identifier: Apache-2.0 */
/* Keyed state in memory.
 *
 * An index of 8-byte slots, {32 bits of hash | 32-bit entry number}, points
 * into one slab; an entry's number is its distance from the slab's start in
 * units of 8 bytes, and number 0 is no entry. The slab is address space that
 * is reserved at once and touched as it fills, so entries never move while it
 * grows. Keys come encoded, so that a hit is one load of the index, one or two
 * of the entry, and a compare of whole words; many keys are looked up at once,
 * so that the processor waits for their cache lines together. */
#include "state/table.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "masked loads assume it");
_Static_assert(sizeof(struct tide_entry) == 8, "small beside a key and a count");
_Static_assert(TIDE_SHARDS <= UINT8_MAX + 1, "a shard is a byte of an entry");

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum {
	UNIT = 8,
	LINE = 8,    /* units of a cache line */
	GAP_MAX = 2, /* units left at the end of a line, so that an entry lies in one */
	SLACK = 32,  /* readable bytes behind the last entry */
	PAGE = 4096,
	WIDE = 24,   /* bytes of a key that are hashed and compared without a branch */
	AHEAD = 128, /* keys whose entries are fetched together */
	SLOTS_MIN = 64,
	KEEP_BYTES = 4 << 20, /* slab that a clear keeps for the next epoch, at least */
	HUGE_PAGE = 2 << 20,
	HUGE_BYTES = 256 << 10 /* a slab of that much is worth one */
};

/* 8192 tables of the first size fit into 47 bits of address; where the
 * process is not allowed that much, a table takes what it gets. */
static const size_t RESERVE_MAX = (size_t)16 << 30;
static const size_t RESERVE_MIN = (size_t)64 << 20;

struct tide_table {
	uint64_t *slots;
	uint64_t mask; /* number of slots less one */
	char *slab;
	size_t value_size;
	const struct tide_keyspec *keyspec;
	uint64_t count;  /* entries */
	uint64_t top;    /* the next entry's number */
	uint64_t dead;   /* units of removed entries */
	size_t reserved; /* bytes of address space behind slab */
	size_t resident; /* of them the first so many may be in memory; the entries are, too */
	bool huge;
};

/* Secret, so that nobody can choose keys that all fall into one slot; one for
 * the process, so that a hash means the same in all tables of one keyspec. */
static struct {
	uint64_t a, b, c;
} seed;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void seed_init(void)
{
	if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
		seed.a = UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)(uintptr_t)&seed;
		seed.b = UINT64_C(0xd6e8feb86659fd93);
		seed.c = UINT64_C(0xa0761d6478bd642f);
	}
}

/* ---- hashes ---- */

/* mask_at(n)[i] is 0xff for i < n: which bytes of a wide load are the key's. */
static const uint8_t masks[2 * WIDE] = {
	255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
	255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
};

static inline uint64_t load8(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline const uint8_t *mask_at(size_t n)
{
	return masks + WIDE - n;
}

static inline uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* A long key: `whole` bytes in words, and then at most 7, padded. */
static __attribute__((noinline)) uint32_t hash_split(const char *key, size_t whole,
                                                     const char *rest, size_t n)
{
	uint64_t h = seed.a ^ (whole + n);
	for (size_t i = 0; i < whole; i += 8)
		h = fold(h ^ load8(key + i), seed.b);
	h = fold(h ^ (load8(rest) & load8(mask_at(n))), seed.c);
	return (uint32_t)(h ^ h >> 32);
}

static inline uint32_t hash_key(const char *key, size_t n)
{
	if (unlikely(n > WIDE))
		return hash_split(key, n & ~(size_t)7, key + (n & ~(size_t)7), n & 7);
	const uint8_t *mask = mask_at(n);
	uint64_t x = load8(key) & load8(mask), y = load8(key + 8) & load8(mask + 8),
		 z = load8(key + 16) & load8(mask + 16);
	uint64_t h = fold(fold(x ^ seed.a, y ^ seed.b) ^ z, seed.c ^ n);
	return (uint32_t)(h ^ h >> 32);
}

/* Both have readable bytes behind them. */
static inline bool key_same(const char *a, const char *b, size_t n)
{
	if (unlikely(n > WIDE))
		return memcmp(a, b, n) == 0;
	const uint8_t *mask = mask_at(n);
	return (((load8(a) ^ load8(b)) & load8(mask)) |
	        ((load8(a + 8) ^ load8(b + 8)) & load8(mask + 8)) |
	        ((load8(a + 16) ^ load8(b + 16)) & load8(mask + 16))) == 0;
}

/* ---- entries ---- */

static inline struct tide_entry *entry_at(const struct tide_table *table, uint64_t number)
{
	return (struct tide_entry *)(void *)(table->slab + number * UNIT);
}

static inline uint64_t entry_units(const struct tide_table *table, size_t key_len)
{
	return (sizeof(struct tide_entry) + table->value_size + key_len + UNIT - 1) / UNIT;
}

/* Where an entry of so many units goes when the slab is full up to `top`. */
static inline uint64_t entry_place(uint64_t top, uint64_t units)
{
	uint64_t left = LINE - top % LINE;
	return units > left && units <= LINE && left <= GAP_MAX ? top + left : top;
}

/* The entry at or behind *at, which moves behind it; NULL at the end. */
static struct tide_entry *entry_next(const struct tide_table *table, uint64_t *at)
{
	if (*at < table->top && entry_at(table, *at)->key_len == 0)
		*at += LINE - *at % LINE;
	if (*at >= table->top)
		return NULL;
	struct tide_entry *entry = entry_at(table, *at);
	*at += entry_units(table, entry->key_len);
	return entry;
}

const char *tide_entry_key(const struct tide_table *table, const struct tide_entry *entry)
{
	return entry->bytes + table->value_size;
}

/* ---- memory ---- */

static bool reserve(struct tide_table *table)
{
	for (size_t size = RESERVE_MAX; size >= RESERVE_MIN; size /= 2) {
		void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p != MAP_FAILED) {
			table->slab = p;
			table->reserved = size;
			return true;
		}
	}
	return false;
}

/* A large index is hit all over, so it is worth a huge page. */
static uint64_t *slots_new(uint64_t count)
{
	size_t size = count * sizeof(uint64_t);
	if (size < HUGE_PAGE)
		return calloc(count, sizeof(uint64_t));
	assert(size % HUGE_PAGE == 0);
	void *slots = aligned_alloc(HUGE_PAGE, size);
	if (slots == NULL)
		return NULL;
	madvise(slots, size, MADV_HUGEPAGE);
	return memset(slots, 0, size);
}

/* Put every entry into a fresh index of `count` slots, in slab order. */
static bool reindex(struct tide_table *table, uint64_t count)
{
	uint64_t *slots = slots_new(count), mask = count - 1;
	assert((count & mask) == 0 && count > table->count);
	if (slots == NULL)
		return false;
	for (uint64_t i = 0; table->slots != NULL && i <= table->mask; i++) {
		uint64_t slot = table->slots[i];
		if (slot == 0)
			continue;
		uint64_t at = slot >> 32 & mask;
		while (slots[at] != 0)
			at = (at + 1) & mask;
		slots[at] = slot;
	}
	free(table->slots);
	table->slots = slots;
	table->mask = mask;
	return true;
}

struct tide_table *tide_table_new(const struct tide_keyspec *keyspec, size_t value_size)
{
	assert(keyspec->count > 0 && keyspec->count <= TIDE_KEY_PARTS_MAX);
	assert(value_size % UNIT == 0);
	pthread_once(&seed_once, seed_init);
	struct tide_table *table = calloc(1, sizeof *table);
	if (table == NULL)
		return NULL;
	table->keyspec = keyspec;
	table->value_size = value_size;
	table->top = 1;
	if (reserve(table) && reindex(table, SLOTS_MIN))
		return table;
	tide_table_free(table);
	return NULL;
}

void tide_table_free(struct tide_table *table)
{
	if (table == NULL)
		return;
	if (table->slab != NULL)
		munmap(table->slab, table->reserved);
	free(table->slots);
	free(table);
}

static size_t slab_used(const struct tide_table *table)
{
	return table->top * UNIT + SLACK;
}

/* What has been in use once is in memory until it is given back: whole pages behind
 * the first `keep` bytes are. To ask for them again costs as much as to fill them. */
static void slab_release(struct tide_table *table, size_t keep)
{
	keep = (keep + PAGE - 1) & ~(size_t)(PAGE - 1);
	if (keep >= table->resident)
		return;
	madvise(table->slab + keep, table->resident - keep, MADV_DONTNEED);
	table->resident = keep;
}

/* Before the slab gets shorter. */
static void slab_measure(struct tide_table *table)
{
	if (slab_used(table) > table->resident)
		table->resident = slab_used(table);
}

void tide_table_clear(struct tide_table *table)
{
	uint64_t slots = table->mask + 1;
	/* The next epoch is likely to take as much. */
	slab_measure(table);
	slab_release(table, slab_used(table) > KEEP_BYTES ? slab_used(table) : KEEP_BYTES);
	/* An index much larger than this epoch's keys costs more to wipe than
	 * to grow again. */
	if (slots > SLOTS_MIN && (table->count < slots / 16 || slots * UNIT > KEEP_BYTES)) {
		uint64_t *small = slots_new(SLOTS_MIN);
		if (small != NULL) {
			free(table->slots);
			table->slots = small;
			table->mask = SLOTS_MIN - 1;
		}
	}
	memset(table->slots, 0, (table->mask + 1) * sizeof *table->slots);
	table->count = table->dead = 0;
	table->top = 1;
}

uint32_t tide_table_count(const struct tide_table *table)
{
	return (uint32_t)table->count;
}

static size_t index_bytes(uint64_t slots)
{
	return slots * sizeof(uint64_t);
}

size_t tide_table_bytes(const struct tide_table *table)
{
	return table->top * UNIT + index_bytes(table->mask + 1);
}

/* ---- inserting ---- */

/* At most half full: a longer probe costs more than the memory saves. Large
 * indexes are mostly cache misses anyway and may fill to three quarters. */
static bool index_full(uint64_t count, uint64_t slots)
{
	return count > (slots >= 1u << 17 ? slots / 4 * 3 : slots / 2);
}

uint64_t tide_table_top(const struct tide_table *table)
{
	return (uint64_t)(uintptr_t)table->slab + table->top * UNIT;
}

static uint64_t index_slots_for(uint64_t count)
{
	uint64_t slots = SLOTS_MIN;
	while (index_full(count, slots))
		slots *= 2;
	return slots;
}

/* An entry with this key and a zeroed state; NULL without memory. */
static __attribute__((noinline)) struct tide_entry *entry_new(struct tide_table *table,
                                                              uint32_t hash, const char *key,
                                                              size_t key_len)
{
	uint64_t units = entry_units(table, key_len);
	uint64_t number = entry_place(table->top, units), top = number + units;
	if (key_len > UINT32_MAX / 2 || top > UINT32_MAX || top * UNIT + SLACK > table->reserved)
		return NULL;
	if (index_full(table->count + 1, table->mask + 1) && !reindex(table, (table->mask + 1) * 2))
		return NULL;
	if (!table->huge && top * UNIT > HUGE_BYTES) {
		madvise(table->slab, table->reserved, MADV_HUGEPAGE);
		table->huge = true;
	}
	if (number != table->top)
		entry_at(table, table->top)->key_len = 0;
	struct tide_entry *entry = entry_at(table, number);
	entry->key_len = (uint32_t)key_len;
	entry->flags = TIDE_ENTRY_USED;
	size_t shard_at = (size_t)table->keyspec->shard_at;
	entry->shard = (uint8_t)tide_key_shard(key + shard_at, key_len - shard_at);
	memset(entry->bytes, 0, table->value_size);
	memcpy(entry->bytes + table->value_size, key, key_len);
	uint64_t at = hash & table->mask;
	while (table->slots[at] != 0)
		at = (at + 1) & table->mask;
	table->slots[at] = (uint64_t)hash << 32 | number;
	table->count++;
	table->top = top;
	return entry;
}

/* ---- finding ---- */

static inline bool entry_has(const struct tide_table *table, const struct tide_entry *entry,
                             const char *key, size_t key_len)
{
	return entry->key_len == key_len &&
	       key_same(entry->bytes + table->value_size, key, key_len);
}

/* The key has readable bytes behind it. */
static inline struct tide_entry *key_find(const struct tide_table *table, const char *key,
                                          size_t key_len, uint32_t hash)
{
	for (uint64_t at = hash & table->mask;; at = (at + 1) & table->mask) {
		uint64_t slot = table->slots[at];
		if (slot == 0)
			return NULL;
		if (slot >> 32 != hash)
			continue;
		struct tide_entry *entry = entry_at(table, (uint32_t)slot);
		if (likely(entry_has(table, entry, key, key_len)))
			return entry;
	}
}

/* The first entry with that hash: nearly always the key's. 0: none has it. */
static inline uint32_t hash_find(const struct tide_table *table, uint32_t hash)
{
	for (uint64_t at = hash & table->mask;; at = (at + 1) & table->mask) {
		uint64_t slot = table->slots[at];
		if (slot == 0 || slot >> 32 == hash)
			return (uint32_t)slot;
	}
}

bool tide_table_resolve(struct tide_table *table, const char *keys,
                        const struct tide_wanted *wanted, size_t count, uint64_t *states)
{
	uint32_t hashes[AHEAD] = { 0 }, numbers[AHEAD] = { 0 };
	for (size_t first = 0; first < count; first += AHEAD) {
		size_t end = count - first < AHEAD ? count : first + AHEAD;
		for (size_t i = first; i < end; i++) {
			hashes[i - first] = hash_key(keys + wanted[i].at, wanted[i].len);
			__builtin_prefetch(&table->slots[hashes[i - first] & table->mask]);
		}
		for (size_t i = first; i < end; i++) {
			uint32_t number = hash_find(table, hashes[i - first]);
			const char *entry = (const char *)entry_at(table, number);
			numbers[i - first] = number;
			__builtin_prefetch(entry, 1);
			__builtin_prefetch(entry + sizeof(struct tide_entry) + table->value_size +
			                           wanted[i].len - 1,
			                   1);
		}
		for (size_t i = first; i < end; i++) {
			const char *key = keys + wanted[i].at;
			uint32_t hash = hashes[i - first], len = wanted[i].len;
			struct tide_entry *entry = entry_at(table, numbers[i - first]);
			/* None had it, or it was another key's: those before it may be new. */
			if (unlikely(numbers[i - first] == 0 || !entry_has(table, entry, key, len)))
				entry = key_find(table, key, len, hash);
			if (unlikely(entry == NULL))
				entry = entry_new(table, hash, key, len);
			if (unlikely(entry == NULL))
				return false;
			states[i] = (uint64_t)(uintptr_t)entry->bytes;
		}
	}
	return true;
}

void tide_table_expect(const struct tide_table *table, const struct tide_slice *keys, size_t count)
{
	uint32_t hashes[AHEAD];
	for (size_t first = 0; first < count; first += AHEAD) {
		size_t some = count - first < AHEAD ? count - first : AHEAD;
		for (size_t i = 0; i < some; i++) {
			hashes[i] = hash_key(keys[first + i].p, keys[first + i].len);
			__builtin_prefetch(&table->slots[hashes[i] & table->mask]);
		}
		for (size_t i = 0; i < some; i++)
			__builtin_prefetch(entry_at(table, hash_find(table, hashes[i])), 1);
	}
}

/* A key from anywhere, with readable bytes behind it and its hash. */
static const char *key_padded(const char *key, uint32_t key_len, char *room, uint32_t *hash)
{
	/* Long keys are read by whole words only up to their end, but for the last. */
	if (key_len <= WIDE) {
		memcpy(room, key, key_len);
		key = room;
		*hash = hash_key(room, key_len);
		return key;
	}
	uint32_t whole = key_len & ~7u;
	memcpy(room, key + whole, key_len - whole);
	*hash = hash_split(key, whole, room, key_len - whole);
	return key;
}

struct tide_entry *tide_table_find(struct tide_table *table, const char *key, uint32_t key_len)
{
	char room[WIDE + 8] = { 0 };
	uint32_t hash;
	key = key_padded(key, key_len, room, &hash);
	struct tide_entry *entry = key_find(table, key, key_len, hash);
	if (entry != NULL)
		entry->flags |= TIDE_ENTRY_USED;
	return entry;
}

void tide_table_find_all(struct tide_table *table, const struct tide_table *other,
                         struct tide_entry *const *entries, size_t count, struct tide_entry **found)
{
	uint32_t hashes[AHEAD];
	for (size_t first = 0; first < count; first += AHEAD) {
		size_t end = count - first < AHEAD ? count : first + AHEAD;
		for (size_t i = first; i < end; i++)
			__builtin_prefetch(entries[i]);
		for (size_t i = first; i < end; i++) {
			uint32_t hash =
				hash_key(tide_entry_key(other, entries[i]), entries[i]->key_len);
			hashes[i - first] = hash;
			__builtin_prefetch(&table->slots[hash & table->mask]);
		}
		for (size_t i = first; i < end; i++)
			__builtin_prefetch(entry_at(table, hash_find(table, hashes[i - first])), 1);
		for (size_t i = first; i < end; i++) {
			found[i] = key_find(table, tide_entry_key(other, entries[i]),
			                    entries[i]->key_len, hashes[i - first]);
			if (found[i] != NULL)
				found[i]->flags |= TIDE_ENTRY_USED;
		}
	}
}

struct tide_entry *tide_table_put(struct tide_table *table, const char *key, uint32_t key_len)
{
	char room[WIDE + 8] = { 0 };
	struct tide_cell cells[TIDE_KEY_PARTS_MAX];
	uint32_t hash;
	if (!tide_key_decode(table->keyspec, key, key_len, cells))
		return NULL;
	key = key_padded(key, key_len, room, &hash);
	struct tide_entry *entry = key_find(table, key, key_len, hash);
	if (entry != NULL)
		entry->flags |= TIDE_ENTRY_USED;
	return entry != NULL ? entry : entry_new(table, hash, key, key_len);
}

struct tide_entry *tide_table_each(struct tide_table *table, uint64_t *at)
{
	struct tide_entry *entry;
	if (*at == 0)
		*at = 1;
	do
		entry = entry_next(table, at);
	while (entry != NULL && (entry->flags & TIDE_ENTRY_DEAD) != 0);
	return entry;
}

/* ---- removing ---- */

static uint32_t entry_hash(const struct tide_table *table, const struct tide_entry *entry)
{
	return hash_key(tide_entry_key(table, entry), entry->key_len);
}

static void take_out(struct tide_table *table, struct tide_entry *entry, uint32_t hash)
{
	assert((entry->flags & (TIDE_ENTRY_DIRTY | TIDE_ENTRY_PINNED | TIDE_ENTRY_DEAD)) == 0);
	uint64_t mask = table->mask, hole = hash & mask;
	uint32_t number = (uint32_t)(((char *)entry - table->slab) / UNIT);
	while ((uint32_t)table->slots[hole] != number)
		hole = (hole + 1) & mask;
	/* What is only behind it because it was there moves up. */
	for (uint64_t at = (hole + 1) & mask; table->slots[at] != 0; at = (at + 1) & mask) {
		uint64_t home = table->slots[at] >> 32 & mask;
		if (((at - home) & mask) >= ((at - hole) & mask)) {
			table->slots[hole] = table->slots[at];
			hole = at;
		}
	}
	table->slots[hole] = 0;
	table->count--;
	table->dead += entry_units(table, entry->key_len);
	entry->flags = TIDE_ENTRY_DEAD;
}

void tide_table_remove(struct tide_table *table, struct tide_entry *entry)
{
	take_out(table, entry, entry_hash(table, entry));
}

void tide_table_remove_all(struct tide_table *table, struct tide_entry *const *entries,
                           size_t count)
{
	uint32_t hashes[AHEAD];
	for (size_t first = 0; first < count; first += AHEAD) {
		size_t some = count - first < AHEAD ? count - first : AHEAD;
		for (size_t i = 0; i < some; i++)
			__builtin_prefetch(entries[first + i], 1);
		for (size_t i = 0; i < some; i++) {
			hashes[i] = entry_hash(table, entries[first + i]);
			__builtin_prefetch(&table->slots[hashes[i] & table->mask], 1);
		}
		for (size_t i = 0; i < some; i++)
			take_out(table, entries[first + i], hashes[i]);
	}
}

size_t tide_table_dead_bytes(const struct tide_table *table)
{
	return table->dead * UNIT;
}

/* ---- eviction ---- */

enum rank { RANK_UNUSED, RANK_USED, RANK_KEEP, RANK_DEAD, RANK_COUNT };

static enum rank entry_rank(const struct tide_entry *entry)
{
	if ((entry->flags & TIDE_ENTRY_DEAD) != 0)
		return RANK_DEAD;
	if ((entry->flags & (TIDE_ENTRY_DIRTY | TIDE_ENTRY_PINNED)) != 0)
		return RANK_KEEP;
	return (entry->flags & TIDE_ENTRY_USED) != 0 ? RANK_USED : RANK_UNUSED;
}

/* How much of each rank there is, so that one pass can decide what goes. */
struct census {
	uint64_t units[RANK_COUNT], entries[RANK_COUNT];
};

static size_t bytes_of(uint64_t units, uint64_t entries)
{
	return units * UNIT + index_bytes(index_slots_for(entries));
}

/* Slides survivors down over the evicted, in place: a second slab would need
 * the memory that this is called to save. */
static uint64_t slide(struct tide_table *table, const struct census *all, size_t bytes_max)
{
	uint64_t to = 1, gone = 0;
	uint64_t units = 1 + all->units[RANK_USED] + all->units[RANK_KEEP];
	uint64_t entries = all->entries[RANK_USED] + all->entries[RANK_KEEP];
	/* What has been used goes only when the unused do not suffice. */
	bool used_goes = bytes_of(units, entries) > bytes_max;
	if (!used_goes) {
		units += all->units[RANK_UNUSED];
		entries += all->entries[RANK_UNUSED];
	}
	bool enough = bytes_of(units, entries) <= bytes_max;
	struct tide_entry *entry;
	for (uint64_t at = 1, before = at; (entry = entry_next(table, &at)) != NULL; before = at) {
		uint64_t size = entry_units(table, entry->key_len), span = at - before;
		enum rank rank = entry_rank(entry);
		bool goes = rank == RANK_UNUSED && used_goes;
		if (rank == RANK_DEAD)
			continue;
		if (!goes && !enough && rank == (used_goes ? RANK_USED : RANK_UNUSED)) {
			goes = true;
			units -= span;
			entries--;
			enough = bytes_of(units, entries) <= bytes_max;
		}
		if (goes) {
			gone++;
			continue;
		}
		entry->flags &= (uint8_t)~TIDE_ENTRY_USED;
		uint64_t number = entry_place(to, size);
		if (number != to)
			entry_at(table, to)->key_len = 0;
		memmove(table->slab + number * UNIT, entry, size * UNIT);
		to = number + size;
	}
	table->top = to;
	table->dead = 0;
	table->count = entries;
	return gone;
}

/* The entries moved, so the old index is worth nothing. */
static void index_rebuild(struct tide_table *table)
{
	uint64_t count = index_slots_for(table->count);
	uint64_t *slots = count < table->mask + 1 ? slots_new(count) : NULL;
	if (slots != NULL) {
		free(table->slots);
		table->slots = slots;
		table->mask = count - 1;
	} else {
		memset(table->slots, 0, index_bytes(table->mask + 1));
	}
	struct tide_entry *entry;
	for (uint64_t next = 1; (entry = entry_next(table, &next)) != NULL;) {
		uint32_t hash = hash_key(tide_entry_key(table, entry), entry->key_len);
		uint64_t at = hash & table->mask;
		while (table->slots[at] != 0)
			at = (at + 1) & table->mask;
		table->slots[at] =
			(uint64_t)hash << 32 | (uint64_t)((char *)entry - table->slab) / UNIT;
	}
}

uint32_t tide_table_evict(struct tide_table *table, size_t bytes_max)
{
	struct census all = { { 0 }, { 0 } };
	struct tide_entry *entry;
	for (uint64_t at = 1, before = at; (entry = entry_next(table, &at)) != NULL; before = at) {
		enum rank rank = entry_rank(entry);
		all.units[rank] += at - before;
		all.entries[rank]++;
	}
	slab_measure(table);
	uint64_t gone = slide(table, &all, bytes_max);
	index_rebuild(table);
	/* What it may grow to again stays. */
	size_t index = index_bytes(table->mask + 1);
	size_t keep = bytes_max > index ? bytes_max - index : 0;
	slab_release(table, slab_used(table) > keep ? slab_used(table) : keep);
	return (uint32_t)gone;
}
