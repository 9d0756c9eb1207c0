/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3, 64 bits. */
#include "base/hash.h"

/* Short keys are hashed millions of times a second: without a second call. */
#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(XXH_VERSION_NUMBER >= 800, "XXH3 is frozen since xxHash 0.8.0");

uint64_t tide_hash(const void *p, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, len, seed);
}
