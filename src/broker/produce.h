/* SPDX-License-Identifier: Apache-2.0 */
/* Producing: generators of the examples, or lines from a file. */
#ifndef TIDE_BROKER_PRODUCE_H
#define TIDE_BROKER_PRODUCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "record/plan.h"

struct tide_produce_options {
	const char *brokers;
	const char *topic;
	const struct tide_options *rdkafka; /* -X properties */
	const char *generator;              /* see generate.h, or NULL: JSON lines from `in` */
	const struct tide_options *shape;   /* the generator's options; may be NULL */
	int in;                 /* fd; each line {"key":…,"value":…,"headers":[["n","v"],…],
	                         * "partition":0,"timestamp":ms}: strings, null, or absent */
	double rate;            /* records a second; 0: as fast as it goes */
	int64_t count;          /* 0: until the input ends or stop is set */
	uint64_t seed;          /* same seed, same records */
	bool quiet;             /* no progress line */
	const atomic_int *stop; /* non-zero ends it cleanly */
};

/* Returns when all are acknowledged. *produced counts those. */
int tide_produce(const struct tide_produce_options *options, int64_t *produced,
                 struct tide_error *err);

#endif
