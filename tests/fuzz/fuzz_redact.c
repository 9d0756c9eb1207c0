/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a JSON value to redact: wherever a job would find a hidden field it
 * then finds something else, and everything else is what it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decode/json.h"
#include "decode/redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SHORT = 8 }; /* a hash of so little may be equal by chance: true, 0 */

static const struct tide_field fields[] = {
	{ "b", 1, TIDE_STRING, 1, 0 },     { "d.f", 3, TIDE_STRING, 1, 0 },
	{ "d.f.g", 5, TIDE_STRING, 1, 0 }, { "a", 1, TIDE_STRING, 1, 0 },
	{ "d.e", 3, TIDE_STRING, 1, 0 },
};

enum { FIELDS = sizeof fields / sizeof fields[0], HIDDEN = 3 };

static void require(int holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tide_json_spec *spec;
	static struct tide_arena *arenas[2];
	static struct tide_redaction *redaction;
	struct tide_cell was[FIELDS], is[FIELDS];
	struct tide_scan_error why;
	struct tide_buf out = { 0 };
	if (spec == NULL) {
		spec = tide_json_spec_new(fields, FIELDS);
		arenas[0] = tide_arena_new();
		arenas[1] = tide_arena_new();
		require(tide_redaction_new("b,d.f", 7, &redaction, NULL) == TIDE_OK);
	}
	require(spec != NULL && arenas[0] != NULL && arenas[1] != NULL);
	tide_arena_reset(arenas[0]);
	tide_arena_reset(arenas[1]);
	char *doc = malloc(size + (size == 0)); /* exactly: one byte more is found */
	require(doc != NULL);
	if (size > 0)
		memcpy(doc, data, size);
	enum tide_scan before = tide_json_scan(spec, doc, (int32_t)size, arenas[0], was, &why);
	tide_redact_value(redaction, (struct tide_slice){ doc, size }, &out);
	require(!out.failed && out.len > 0);
	enum tide_scan after = tide_json_scan(spec, out.p, (int32_t)out.len, arenas[1], is, &why);
	require((before == TIDE_SCAN_MALFORMED) == (after == TIDE_SCAN_MALFORMED));
	for (int i = 0; before != TIDE_SCAN_MALFORMED && i < FIELDS; i++) {
		bool same = was[i].len == is[i].len &&
		            (was[i].len <= 0 || memcmp(was[i].p, is[i].p, (size_t)is[i].len) == 0);
		require((was[i].len < 0) == (is[i].len < 0));
		require(i < HIDDEN ? was[i].len < SHORT || !same : same);
	}
	tide_buf_fini(&out);
	free(doc);
	return 0;
}
