/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a recording: refused, or exactly what encoding writes, and every
 * record in it can be read. Sections get good checksums, so that what is behind
 * them is reached. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "source/recording.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
	if (!holds)
		abort();
}

static void read_records(const struct tide_recorded_range *range)
{
	struct tide_reader in = tide_reader_of(range->records.p, range->records.len);
	struct tide_recorded rec;
	struct tide_slice name, value;
	unsigned sum = 0;
	uint64_t count = 0;
	while (tide_recorded_next(&in, &rec)) {
		uint32_t headers = 0;
		count++;
		for (size_t i = 0; i < rec.key.len; i++)
			sum += (unsigned char)rec.key.p[i];
		for (size_t i = 0; i < rec.value.len; i++)
			sum += (unsigned char)rec.value.p[i];
		while (tide_recorded_header(&rec, &name, &value))
			headers++;
		require(headers == rec.header_count);
	}
	require(!in.failed && count == range->count && sum < UINT32_MAX);
}

static void check(struct tide_slice given)
{
	struct tide_recording recording;
	struct tide_error err;
	if (tide_recording_decode(given, "fuzz", &recording, &err) != TIDE_OK)
		return;
	struct tide_buf again = { 0 };
	for (int s = 0; s < recording.step_count; s++)
		for (int i = 0; i < recording.steps[s].range_count; i++)
			read_records(&recording.steps[s].ranges[i]);
	tide_recording_encode(&recording, &again);
	require(!again.failed);
	tide_recording_fini(&recording);
	/* The order of sections of different kinds may have been another. */
	require(tide_recording_decode((struct tide_slice){ again.p, again.len }, "again",
	                              &recording, NULL) == TIDE_OK);
	tide_recording_fini(&recording);
	tide_buf_fini(&again);
}

/* Each section of the input is a kind, a length of two bytes, and what it holds. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tide_buf bytes = { 0 };
	struct tide_slice plain = { (const char *)data, size };
	uint32_t number = 0;
	if (size > 0)
		check(plain);
	tide_buf_put(&bytes, "TIDECASE", 8);
	tide_buf_u32(&bytes, TIDE_RECORDING_VERSION);
	while (size >= 3) {
		size_t len = (size_t)data[1] | (size_t)data[2] << 8;
		uint8_t kind = data[0];
		data += 3;
		size -= 3;
		len = len < size ? len : size;
		tide_buf_u8(&bytes, kind);
		tide_buf_u64(&bytes, len);
		tide_buf_put(&bytes, data, len);
		tide_buf_u64(&bytes, tide_hash(data, len, (uint64_t)number++ << 8 | kind));
		data += len;
		size -= len;
	}
	check((struct tide_slice){ bytes.p, bytes.len });
	tide_buf_fini(&bytes);
	return 0;
}
