/* SPDX-License-Identifier: Apache-2.0 */
/* A set of different values, exact and bounded. */
#include "job/exact_set.h"

#include <assert.h>
#include <string.h>

static int compare(struct tide_member a, struct tide_member b)
{
	if (a.high != b.high)
		return a.high < b.high ? -1 : 1;
	return a.low < b.low ? -1 : a.low > b.low;
}

bool tide_exact_set_add(struct tide_exact_set *set, uint32_t room, struct tide_member member)
{
	assert(set->used <= room);
	uint64_t low = 0, high = set->used;
	while (low < high) {
		uint64_t middle = (low + high) / 2;
		if (compare(set->members[middle], member) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	struct tide_member *at = &set->members[low];
	if (low < set->used && compare(*at, member) == 0)
		return true;
	if (set->used == room)
		return false;
	memmove(at + 1, at, (set->used - low) * sizeof *at);
	*at = member;
	set->used++;
	return true;
}

/* From the end, so that nothing is overwritten before it has been read. */
bool tide_exact_set_merge(struct tide_exact_set *into, const struct tide_exact_set *from,
                          uint32_t room)
{
	uint64_t common = 0, i = 0, k = 0;
	assert(into->used <= room && from->used <= room);
	while (i < into->used && k < from->used) {
		int order = compare(into->members[i], from->members[k]);
		common += order == 0;
		i += order <= 0;
		k += order >= 0;
	}
	uint64_t used = into->used + from->used - common;
	if (used > room)
		return false;
	i = into->used;
	k = from->used;
	for (uint64_t to = used; to > 0 && k > 0; to--) {
		int order = i == 0 ? -1 : compare(into->members[i - 1], from->members[k - 1]);
		into->members[to - 1] = order > 0 ? into->members[i - 1] : from->members[k - 1];
		i -= order >= 0;
		k -= order <= 0;
	}
	into->used = used;
	return true;
}
