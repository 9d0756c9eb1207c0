/* SPDX-License-Identifier: Apache-2.0 */
/* Keyed state in memory.
 *
 * An index of 8-byte slots, {32 bits of hash | 32-bit entry number}, points
 * into one slab; an entry's number is its distance from the slab's start in
 * units of 8 bytes, and number 0 is no entry. The slab is address space that
 * is reserved at once and touched as it fills, so entries never move while it
 * grows. A hit costs one load of the index, one or two of the entry, and the
 * pre-image; it never builds the encoded key. */
#include "state/table.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "masked loads assume it");
_Static_assert(sizeof(struct tide_entry) == 16, "two entries' heads to a cache line");

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum {
	UNIT = 8,
	SLACK = 32, /* readable bytes behind the last entry */
	PAGE = 4096,
	WIDE = 16, /* what a short text is loaded as */
	TOUCHED = TIDE_ENTRY_DIRTY | TIDE_ENTRY_USED,
	SHORT_MAX = 253, /* texts whose tag is their length, see keys.c */
	SLOTS_MIN = 64,
	JOURNAL_RECORDS_MIN = 32,
	KEEP_BYTES = 4 << 20, /* slab that a clear keeps for the next epoch */
	HUGE_BYTES = 4 << 20  /* from here on huge pages are worth asking for */
};

/* 8192 tables of the first size fit into 47 bits of address; where the
 * process is not allowed that much, a table takes what it gets. */
static const size_t RESERVE_MAX = (size_t)16 << 30;
static const size_t RESERVE_MIN = (size_t)64 << 20;

enum shape { SHAPE_ANY, SHAPE_TEXT, SHAPE_TEXTS };

struct tide_table {
	uint64_t *slots;
	uint64_t mask; /* number of slots less one */
	char *slab;
	char *journal, *journal_at, *journal_end;
	size_t value_size;
	enum shape shape;
	int column0, column1; /* of the shapes that have a fast path */
	const struct tide_keyspec *keyspec;
	uint64_t occupied; /* slots, of live and dead entries */
	uint64_t count;    /* live entries */
	uint64_t top;      /* the next entry's number */
	size_t reserved;   /* bytes of address space behind slab */
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

/* ---- loads and hashes ---- */

/* Whether slot_texts takes it: not null, not empty, not longer than `most`. */
static inline bool fits(const struct tide_cell *cell, uint32_t most)
{
	return (uint32_t)cell->len - 1 < most;
}

#define ALL UINT64_MAX
/* For a text of n bytes: which of its first 8 and its second 8 there are. */
/* clang-format off */
static const uint64_t mask_lo[WIDE + 1] = {
	0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff,
	ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL
};
static const uint64_t mask_hi[WIDE + 1] = {
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff,
	0xffffffffffff, 0xffffffffffffff, ALL
};
/* clang-format on */

static inline uint64_t load8(const char *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

/* At most 8 bytes, zeroes behind them, never reading beyond the text. */
static inline uint64_t load_exact(const char *p, size_t n)
{
	uint64_t v = 0;
	if (n > 0)
		memcpy(&v, p, n < 8 ? n : 8);
	return v;
}

/* The text may be a Lua string, behind whose end nothing is promised. A wide
 * load that stays inside the page where the text begins cannot fault, and what
 * it read too much is masked away. The sanitizers cannot know that, so their
 * builds load exactly. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define wide_ok(p, width)     ((void)(p), true)
#define load_text(p, n, mask) ((void)(mask), load_exact(p, n))
#else
#define wide_ok(p, width)     (((uintptr_t)(p) & (PAGE - 1)) <= PAGE - (width))
#define load_text(p, n, mask) (load8(p) & (mask))
#endif

static inline uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* A text of at most 8 bytes (or none: 0) and one of at most 16. */
static inline uint64_t hash_short(uint64_t a, uint64_t b_lo, uint64_t b_hi, uint64_t lens)
{
	return fold(fold(a ^ seed.a, b_lo ^ seed.b ^ lens << 32), b_hi ^ seed.c);
}

static uint64_t hash_text(uint64_t h, const char *p, size_t n)
{
	h ^= (uint64_t)n << 32;
	for (; n > 8; p += 8, n -= 8)
		h = fold(h ^ load8(p), seed.b);
	return fold(h ^ load_exact(p, n), seed.b);
}

/* The cells of a key; columns == NULL: they are in the spec's order. */
static uint64_t hash_cells(const struct tide_table *table, const int *columns,
                           const struct tide_cell *row)
{
	const struct tide_keyspec *spec = table->keyspec;
	uint64_t h = seed.a;
	const struct tide_cell *a = &row[columns != NULL ? columns[0] : 0];
	const struct tide_cell *b =
		&row[columns != NULL ? columns[spec->count - 1] : spec->count - 1];
	bool one = table->shape == SHAPE_TEXT;
	/* Must be what slot_texts computes for the keys that it takes. */
	if (table->shape != SHAPE_ANY && fits(b, WIDE) && (one || fits(a, 8))) {
		uint64_t an = one ? 0 : (uint64_t)a->len, bn = (uint64_t)b->len;
		return hash_short(one ? 0 : load_exact(a->p, an), load_exact(b->p, bn),
		                  bn > 8 ? load_exact(b->p + 8, bn - 8) : 0, an << 8 | bn);
	}
	for (int i = 0; i < spec->count; i++) {
		const struct tide_cell *cell = &row[columns != NULL ? columns[i] : i];
		enum tide_type type = spec->types[i];
		if (cell->len < 0)
			h = fold(h ^ UINT32_MAX, seed.c);
		else if (type == TIDE_STRING || type == TIDE_BYTES)
			h = hash_text(h, cell->p, (size_t)cell->len);
		else
			h = fold(h ^ tide_key_number(type, cell), seed.b);
	}
	return h;
}

static inline uint32_t hash_finish(uint64_t h)
{
	return (uint32_t)(h ^ h >> 32);
}

/* ---- entries ---- */

static inline struct tide_entry *entry_at(const struct tide_table *table, uint64_t number)
{
	return (struct tide_entry *)(void *)(table->slab + number * UNIT);
}

static inline uint64_t entry_number(const struct tide_table *table, const struct tide_entry *entry)
{
	return (uint64_t)((const char *)entry - table->slab) / UNIT;
}

static inline uint64_t entry_units(const struct tide_table *table, size_t key_len)
{
	return (sizeof(struct tide_entry) + table->value_size + key_len + UNIT - 1) / UNIT;
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

static uint64_t *slots_new(uint64_t count)
{
	return calloc(count, sizeof(uint64_t));
}

/* Put every entry into a fresh index of `count` slots, in slab order. */
static bool reindex(struct tide_table *table, uint64_t count)
{
	uint64_t *slots = slots_new(count), mask = count - 1;
	assert((count & mask) == 0 && count > table->occupied);
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

static bool journal_grow(struct tide_table *table)
{
	size_t record = UNIT + table->value_size;
	size_t used = (size_t)(table->journal_at - table->journal);
	size_t size = used == 0 ? JOURNAL_RECORDS_MIN * record : used * 2;
	char *p = realloc(table->journal, size);
	if (p == NULL)
		return false;
	table->journal = p;
	table->journal_at = p + used;
	table->journal_end = p + size;
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
	bool texts = true;
	for (int i = 0; i < keyspec->count; i++)
		texts = texts &&
		        (keyspec->types[i] == TIDE_STRING || keyspec->types[i] == TIDE_BYTES);
	if (texts && keyspec->count <= 2)
		table->shape = keyspec->count == 1 ? SHAPE_TEXT : SHAPE_TEXTS;
	table->column0 = keyspec->columns[0];
	table->column1 = keyspec->columns[keyspec->count - 1];
	if (reserve(table) && reindex(table, SLOTS_MIN) && journal_grow(table))
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
	free(table->journal);
	free(table);
}

/* Give back whole pages behind the first `keep` bytes of the slab. */
static void slab_release(struct tide_table *table, size_t keep, size_t used)
{
	keep = (keep + PAGE - 1) & ~(size_t)(PAGE - 1);
	if (keep < used)
		madvise(table->slab + keep, used - keep, MADV_DONTNEED);
}

void tide_table_clear(struct tide_table *table)
{
	size_t used = table->top * UNIT + SLACK;
	uint64_t slots = table->mask + 1;
	slab_release(table, KEEP_BYTES, used);
	/* An index much larger than this epoch's keys costs more to wipe than
	 * to grow again. */
	if (slots > SLOTS_MIN && (table->occupied < slots / 16 || slots * UNIT > KEEP_BYTES)) {
		uint64_t *small = slots_new(SLOTS_MIN);
		if (small != NULL) {
			free(table->slots);
			table->slots = small;
			table->mask = SLOTS_MIN - 1;
		}
	}
	memset(table->slots, 0, (table->mask + 1) * sizeof *table->slots);
	table->occupied = table->count = 0;
	table->top = 1;
	table->journal_at = table->journal;
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
	return table->top * UNIT + index_bytes(table->mask + 1) +
	       (size_t)(table->journal_end - table->journal);
}

/* ---- inserting ---- */

/* At most half full: a longer probe costs more than the memory saves. Large
 * indexes are mostly cache misses anyway and may fill to three quarters. */
static bool index_full(uint64_t occupied, uint64_t slots)
{
	return occupied > (slots >= 1u << 20 ? slots / 4 * 3 : slots / 2);
}

static uint64_t index_slots_for(uint64_t occupied)
{
	uint64_t slots = SLOTS_MIN;
	while (index_full(occupied, slots))
		slots *= 2;
	return slots;
}

/* A dead, zeroed entry with room for its key; the caller writes the key and
 * brings it to life. */
static struct tide_entry *entry_new(struct tide_table *table, uint32_t hash, size_t key_len)
{
	uint64_t units = entry_units(table, key_len);
	uint64_t top = table->top + units;
	if (key_len > UINT32_MAX / 2 || top > UINT32_MAX || top * UNIT + SLACK > table->reserved)
		return NULL;
	if (index_full(table->occupied + 1, table->mask + 1) &&
	    !reindex(table, (table->mask + 1) * 2))
		return NULL;
	if (!table->huge && top * UNIT > HUGE_BYTES) {
		madvise(table->slab, table->reserved, MADV_HUGEPAGE);
		table->huge = true;
	}
	struct tide_entry *entry = entry_at(table, table->top);
	entry->key_len = (uint32_t)key_len;
	entry->hash = hash;
	entry->flags = TIDE_ENTRY_DEAD;
	entry->shard = 0;
	memset(entry->bytes, 0, table->value_size);
	uint64_t at = hash & table->mask;
	while (table->slots[at] != 0)
		at = (at + 1) & table->mask;
	table->slots[at] = (uint64_t)hash << 32 | table->top;
	table->occupied++;
	table->top = top;
	return entry;
}

/* Remember an entry's flags and state until the next mark. */
static inline void journal_push(struct tide_table *table, const struct tide_entry *entry,
                                size_t value_size)
{
	uint64_t head = entry_number(table, entry) | (uint64_t)entry->flags << 32;
	char *to = table->journal_at;
	table->journal_at = to + UNIT + value_size;
	memcpy(to, &head, UNIT);
	memcpy(to + UNIT, entry->bytes, value_size);
}

static __attribute__((noinline)) void *slot_touch_any(struct tide_table *table,
                                                      struct tide_entry *entry)
{
	if (table->journal_at == table->journal_end && !journal_grow(table))
		return NULL;
	journal_push(table, entry, table->value_size);
	table->count += (entry->flags & TIDE_ENTRY_DEAD) != 0;
	entry->flags |= TOUCHED;
	entry->flags &= ~(uint32_t)TIDE_ENTRY_DEAD;
	return entry->bytes;
}

/* One counter is by far the commonest state; its copy is two instructions. */
static inline void *slot_touch(struct tide_table *table, struct tide_entry *entry)
{
	if (unlikely(table->value_size != UNIT || entry->flags != TOUCHED ||
	             table->journal_at == table->journal_end))
		return slot_touch_any(table, entry);
	journal_push(table, entry, UNIT);
	return entry->bytes;
}

static __attribute__((noinline)) void *slot_insert(struct tide_table *table,
                                                   const struct tide_cell *row, uint32_t hash)
{
	size_t key_len = tide_key_size(table->keyspec, row);
	struct tide_entry *entry = entry_new(table, hash, key_len);
	if (entry == NULL)
		return NULL;
	char *key = entry->bytes + table->value_size;
	char *end = tide_key_encode(table->keyspec, row, key);
	assert(end == key + key_len);
	(void)end;
	entry->shard = tide_key_shard(key, key_len);
	return slot_touch(table, entry);
}

/* ---- finding ---- */

static bool key_equals(const struct tide_keyspec *spec, const struct tide_cell *row,
                       const char *key)
{
	for (int i = 0; i < spec->count; i++) {
		const struct tide_cell *cell = &row[spec->columns[i]];
		enum tide_type type = spec->types[i];
		uint8_t tag = (uint8_t)*key++;
		if (cell->len < 0) {
			if (tag != SHORT_MAX + 1)
				return false;
		} else if (type != TIDE_STRING && type != TIDE_BYTES) {
			if (tag != type || load8(key) != tide_key_number(type, cell))
				return false;
			key += 8;
		} else {
			uint32_t len = (uint32_t)cell->len, stored = tag;
			if (tag == SHORT_MAX + 2) {
				memcpy(&stored, key, 4);
				key += 4;
			} else if (tag > SHORT_MAX) {
				return false;
			}
			if (stored != len || (len > 0 && memcmp(key, cell->p, len) != 0))
				return false;
			key += len;
		}
	}
	return true;
}

static void *slot_any(struct tide_table *table, const struct tide_cell *row)
{
	const struct tide_keyspec *spec = table->keyspec;
	uint32_t hash = hash_finish(hash_cells(table, spec->columns, row));
	for (uint64_t at = hash & table->mask;; at = (at + 1) & table->mask) {
		uint64_t slot = table->slots[at];
		if (slot == 0)
			return slot_insert(table, row, hash);
		if (slot >> 32 != hash)
			continue;
		struct tide_entry *entry = entry_at(table, (uint32_t)slot);
		if (key_equals(spec, row, tide_entry_key(table, entry)))
			return slot_touch(table, entry);
	}
}

/* A text of at most 8 bytes and one of at most 16, or the latter alone, as
 * almost all words are. No branch depends on a length: the processor would
 * guess it wrong for every tenth word. */
static inline __attribute__((always_inline)) void *slot_texts(struct tide_table *table,
                                                              const struct tide_cell *row, bool two)
{
	const struct tide_cell *a = &row[table->column0], *b = &row[table->column1];
	if (unlikely(!fits(b, WIDE) || !wide_ok(b->p, WIDE)))
		return slot_any(table, row);
	if (two && unlikely(!fits(a, 8) || !wide_ok(a->p, 8)))
		return slot_any(table, row);
	uint32_t an = two ? (uint32_t)a->len : 0, bn = (uint32_t)b->len;
	uint64_t aw = two ? load_text(a->p, an, mask_lo[an]) : 0;
	uint64_t lo = load_text(b->p, bn, mask_lo[bn]);
	uint64_t hi = load_text(b->p + 8, bn > 8 ? bn - 8 : 0, mask_hi[bn]);
	uint32_t hash = hash_finish(hash_short(aw, lo, hi, an << 8 | bn));
	for (uint64_t at = hash & table->mask;; at = (at + 1) & table->mask) {
		uint64_t slot = table->slots[at];
		if (likely(slot >> 32 == hash && slot != 0)) {
			struct tide_entry *entry = entry_at(table, (uint32_t)slot);
			const char *key = entry->bytes + table->value_size;
			const char *text = key + (two ? an + 2 : 1);
			uint64_t differ = ((load8(text) & mask_lo[bn]) ^ lo) |
			                  ((load8(text + 8) & mask_hi[bn]) ^ hi);
			if (two)
				differ |= ((load8(key + 1) & mask_lo[an]) ^ aw) |
				          ((uint8_t)key[0] ^ an);
			if (likely(differ == 0 && entry->key_len == (two ? an + 2 : 1) + bn))
				return slot_touch(table, entry);
		}
		if (slot == 0)
			return slot_insert(table, row, hash);
	}
}

void *tide_table_slot(struct tide_table *table, const struct tide_cell *row)
{
	if (likely(table->shape == SHAPE_TEXTS))
		return slot_texts(table, row, true);
	if (table->shape == SHAPE_TEXT)
		return slot_texts(table, row, false);
	return slot_any(table, row);
}

void tide_table_mark(struct tide_table *table)
{
	table->journal_at = table->journal;
}

void tide_table_rollback(struct tide_table *table)
{
	size_t record = UNIT + table->value_size;
	while (table->journal_at > table->journal) {
		uint64_t head;
		table->journal_at -= record;
		memcpy(&head, table->journal_at, UNIT);
		struct tide_entry *entry = entry_at(table, (uint32_t)head);
		uint32_t flags = (uint32_t)(head >> 32);
		if ((flags & TIDE_ENTRY_DEAD) != 0 && (entry->flags & TIDE_ENTRY_DEAD) == 0)
			table->count--;
		entry->flags = flags;
		memcpy(entry->bytes, table->journal_at + UNIT, table->value_size);
	}
}

/* The entry with this encoded key, alive or dead; *hash is set if the bytes
 * are a key at all. */
static struct tide_entry *key_find(struct tide_table *table, const char *key, uint32_t key_len,
                                   uint32_t *hash, bool *valid)
{
	struct tide_cell cells[TIDE_KEY_PARTS_MAX];
	*valid = tide_key_decode(table->keyspec, key, key_len, cells);
	if (!*valid)
		return NULL;
	*hash = hash_finish(hash_cells(table, NULL, cells));
	for (uint64_t at = *hash & table->mask;; at = (at + 1) & table->mask) {
		uint64_t slot = table->slots[at];
		if (slot == 0)
			return NULL;
		if (slot >> 32 != *hash)
			continue;
		struct tide_entry *entry = entry_at(table, (uint32_t)slot);
		if (entry->key_len == key_len &&
		    memcmp(tide_entry_key(table, entry), key, key_len) == 0)
			return entry;
	}
}

struct tide_entry *tide_table_find(struct tide_table *table, const char *key, uint32_t key_len)
{
	uint32_t hash;
	bool valid;
	struct tide_entry *entry = key_find(table, key, key_len, &hash, &valid);
	if (entry == NULL || (entry->flags & TIDE_ENTRY_DEAD) != 0)
		return NULL;
	entry->flags |= TIDE_ENTRY_USED;
	return entry;
}

struct tide_entry *tide_table_put(struct tide_table *table, const char *key, uint32_t key_len)
{
	uint32_t hash;
	bool valid;
	struct tide_entry *entry = key_find(table, key, key_len, &hash, &valid);
	if (!valid)
		return NULL;
	if (entry == NULL) {
		entry = entry_new(table, hash, key_len);
		if (entry == NULL)
			return NULL;
		memcpy(entry->bytes + table->value_size, key, key_len);
		entry->shard = tide_key_shard(key, key_len);
	}
	if ((entry->flags & TIDE_ENTRY_DEAD) != 0) {
		entry->flags = 0;
		table->count++;
	}
	entry->flags |= TIDE_ENTRY_USED;
	return entry;
}

struct tide_entry *tide_table_each(struct tide_table *table, uint64_t *at)
{
	if (*at == 0)
		*at = 1;
	while (*at < table->top) {
		struct tide_entry *entry = entry_at(table, *at);
		*at += entry_units(table, entry->key_len);
		if ((entry->flags & TIDE_ENTRY_DEAD) == 0)
			return entry;
	}
	return NULL;
}

/* ---- eviction ---- */

enum rank { RANK_DEAD, RANK_UNUSED, RANK_USED, RANK_KEEP, RANK_COUNT };

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
	for (uint64_t at = 1; at < table->top;) {
		struct tide_entry *entry = entry_at(table, at);
		uint64_t size = entry_units(table, entry->key_len);
		enum rank rank = entry_rank(entry);
		at += size;
		bool goes = rank == RANK_DEAD || (rank == RANK_UNUSED && used_goes);
		if (!goes && !enough && rank == (used_goes ? RANK_USED : RANK_UNUSED)) {
			goes = true;
			units -= size;
			entries--;
			enough = bytes_of(units, entries) <= bytes_max;
		}
		if (goes) {
			gone += rank != RANK_DEAD;
			continue;
		}
		entry->flags &= ~(uint32_t)TIDE_ENTRY_USED;
		memmove(table->slab + to * UNIT, entry, size * UNIT);
		to += size;
	}
	table->top = to;
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
	for (uint64_t number = 1; number < table->top;) {
		struct tide_entry *entry = entry_at(table, number);
		uint64_t at = entry->hash & table->mask;
		while (table->slots[at] != 0)
			at = (at + 1) & table->mask;
		table->slots[at] = (uint64_t)entry->hash << 32 | number;
		number += entry_units(table, entry->key_len);
	}
	table->occupied = table->count;
}

uint32_t tide_table_evict(struct tide_table *table, size_t bytes_max)
{
	struct census all = { { 0 }, { 0 } };
	size_t used = table->top * UNIT + SLACK;
	assert(table->journal_at == table->journal); /* its entry numbers would be stale */
	for (uint64_t at = 1; at < table->top;) {
		struct tide_entry *entry = entry_at(table, at);
		uint64_t size = entry_units(table, entry->key_len);
		enum rank rank = entry_rank(entry);
		all.units[rank] += size;
		all.entries[rank]++;
		at += size;
	}
	size_t journal = (size_t)(table->journal_end - table->journal);
	uint64_t gone = slide(table, &all, bytes_max > journal ? bytes_max - journal : 0);
	index_rebuild(table);
	slab_release(table, table->top * UNIT + SLACK, used);
	return (uint32_t)gone;
}
