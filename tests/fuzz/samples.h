/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzzer begins with, and comes back to: texts that are right. */
#ifndef TIDE_FUZZ_SAMPLES_H
#define TIDE_FUZZ_SAMPLES_H

#include <stdint.h>
#include <string.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* For LLVMFuzzerCustomMutator: now and then one of `count` texts is mutated instead. */
static inline size_t mutate_sample(const char *const *samples, size_t count, uint8_t *data,
                                   size_t size, size_t max_size, unsigned seed)
{
	if (size < 2 || seed % 64 == 0) {
		const char *sample = samples[seed / 64 % count];
		size = strlen(sample) < max_size ? strlen(sample) : max_size;
		memcpy(data, sample, size);
	}
	return LLVMFuzzerMutate(data, size, max_size);
}

#endif
