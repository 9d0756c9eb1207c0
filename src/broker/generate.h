/* SPDX-License-Identifier: Apache-2.0 */
/* The records of the examples: the same seed gives the same records. */
#ifndef TIDE_BROKER_GENERATE_H
#define TIDE_BROKER_GENERATE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "record/plan.h"

enum { TIDE_MESSAGE_HEADERS_MAX = 4 };

struct tide_message_header {
	struct tide_slice name;
	struct tide_slice value;
};

/* A record to be produced. Slices borrow from whoever made it, until it makes
 * the next one. */
struct tide_message {
	struct tide_slice key;   /* p == NULL: null */
	struct tide_slice value; /* p == NULL: null */
	struct tide_message_header *headers;
	uint32_t header_count;
	int32_t partition;    /* -1: round robin without a key, else by key */
	int64_t timestamp_ms; /* 0: now */
};

struct tide_generator; /* Opaque. */

/* Options, all of readings and articles, may be NULL: step (of event time; 0s
 * is now), start, late (percent), late_by; of readings also ids and order
 * (cycle or random). */
int tide_generator_new(const char *name, uint64_t seed, const struct tide_options *options,
                       struct tide_generator **out, struct tide_error *err);
void tide_generator_free(struct tide_generator *gen);
void tide_generator_next(struct tide_generator *gen, struct tide_message *msg);
/* "text, words": for messages. */
const char *tide_generator_names(void);

#endif
