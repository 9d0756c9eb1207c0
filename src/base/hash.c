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

struct tide_hasher *tide_hasher_new(void)
{
	XXH3_state_t *state = XXH3_createState();
	if (state != NULL)
		XXH3_64bits_reset(state);
	return (struct tide_hasher *)state;
}

void tide_hasher_add(struct tide_hasher *hasher, const void *p, size_t len)
{
	XXH3_64bits_update((XXH3_state_t *)hasher, p, len);
}

uint64_t tide_hasher_sum(const struct tide_hasher *hasher)
{
	return XXH3_64bits_digest((const XXH3_state_t *)hasher);
}

void tide_hasher_free(struct tide_hasher *hasher)
{
	if (hasher != NULL)
		XXH3_freeState((XXH3_state_t *)hasher);
}
