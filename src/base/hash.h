/* SPDX-License-Identifier: Apache-2.0 */
/* One 64-bit hash for checksums, fingerprints and shards. It is on disk, so
 * it never changes: XXH3 as libxxhash froze it. */
#ifndef TIDE_BASE_HASH_H
#define TIDE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t tide_hash(const void *p, size_t len, uint64_t seed);

/* The same with seed 0, of bytes that come in pieces; `xxhsum -H3` says it, too. */
struct tide_hasher;                        /* Opaque. */
struct tide_hasher *tide_hasher_new(void); /* NULL without memory */
void tide_hasher_add(struct tide_hasher *hasher, const void *p, size_t len);
/* Of all so far. */
uint64_t tide_hasher_sum(const struct tide_hasher *hasher);
void tide_hasher_free(struct tide_hasher *hasher);

#endif
