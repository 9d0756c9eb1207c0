/* SPDX-License-Identifier: Apache-2.0 */
/* What the generators share. */
#ifndef TIDE_BROKER_GENERATE_INSIDE_H
#define TIDE_BROKER_GENERATE_INSIDE_H

#include <stdbool.h>

#include "broker/generate.h"

enum { TIDE_WORD_LEN_MAX = 12, TIDE_SCRATCH = 640 };

/* One draw from a discrete distribution in constant time (Walker's aliases). */
struct tide_alias {
	double *keep;
	uint32_t *other;
};

struct tide_generator {
	uint64_t state;
	void (*next)(struct tide_generator *gen, struct tide_message *msg);
	char (*vocabulary)[TIDE_WORD_LEN_MAX + 1];
	uint8_t *vocabulary_len;
	struct tide_alias alias;
	struct tide_message_header headers[TIDE_MESSAGE_HEADERS_MAX];
	char value[TIDE_SCRATCH], key[TIDE_SCRATCH], header[TIDE_SCRATCH];
	/* Of readings and articles. */
	uint64_t made, articles; /* articles: without the repeats */
	int64_t ids, start_ms, step_ms, late_ms;
	uint32_t late_percent;
	bool shuffled;
};

/* SplitMix64: any seed is a good one. */
static inline uint64_t tide_draw(struct tide_generator *gen)
{
	uint64_t z = gen->state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline uint32_t tide_below(struct tide_generator *gen, uint32_t n)
{
	return (uint32_t)(((tide_draw(gen) >> 32) * n) >> 32);
}

/* JSON with event time, see generate_json.c. False: a bad option, named in err. */
int tide_generate_json(struct tide_generator *gen, const char *name,
                       const struct tide_options *options, struct tide_error *err);

#endif
