/* SPDX-License-Identifier: Apache-2.0 */
/* One 64-bit hash for checksums, fingerprints and shards. It is on disk, so
 * it never changes: XXH3 as libxxhash froze it. */
#ifndef TIDE_BASE_HASH_H
#define TIDE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t tide_hash(const void *p, size_t len, uint64_t seed);

#endif
