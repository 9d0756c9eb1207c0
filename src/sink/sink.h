/* SPDX-License-Identifier: Apache-2.0 */
/* A sink: takes the rows of decided epochs, in order, from the outbox. */
#ifndef TIDE_SINK_SINK_H
#define TIDE_SINK_SINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "record/plan.h"
#include "record/rows.h"

enum tide_sink_mode { TIDE_MODE_APPEND = 1, TIDE_MODE_UPDATE = 2, TIDE_MODE_COMPLETE = 4 };

struct tide_sink_options {
	const struct tide_plan_output *output;
	enum tide_sink_mode mode;
	const char *format; /* of --output, already settled from auto */
	int fd;             /* of results */
	bool terminal;      /* fd is one */
	bool muted;         /* take no rows */
	uint64_t checkpoint_id;
	const struct tide_options *client; /* for Kafka: brokers, rdkafka.*, profile */
	const atomic_int *stop;            /* non-zero: give up waiting soon; may be NULL */
	const atomic_int *failed;          /* likewise: the job ends, as something else failed */
	void *arg;                         /* of a test's own sink */
};

struct tide_sink;

/* A row that a sink will not take, as the record it would have become. */
struct tide_refused {
	uint32_t row; /* ascending */
	struct tide_slice topic, key, value;
	int header_count;
	const struct tide_slice *header_names, *header_values;
	int64_t timestamp_ms; /* 0: none */
	const char *reason;
};

/* Called for each of them; false without memory. */
struct tide_refuse {
	bool (*row)(void *arg, const struct tide_refused *refused);
	void *arg;
};

struct tide_sink_ops {
	const char *kind;
	unsigned modes; /* which tide_sink_mode it can take */
	int (*open)(struct tide_sink **out, const struct tide_sink_options *options,
	            struct tide_error *err);
	/* The newest epoch it remembers to have published, or -1: none. Asked of
	 * those that are exactly-once. */
	int (*last_epoch)(struct tide_sink *sink, int64_t *epoch, struct tide_error *err);
	/* What is known to be published; no rows came yet. NULL: nothing to do. */
	void (*resume)(struct tide_sink *sink, int64_t epoch);
	/* Before the decision: what can be known here to be refused later. With `refuse`
	 * such rows are told, and are not an error. NULL: nothing is known. */
	int (*check)(struct tide_sink *sink, const struct tide_rows *rows,
	             const struct tide_refuse *refuse, struct tide_error *err);
	/* All rows of one epoch, or of several that it catches up with: through
	 * `epoch`. Empty epochs are not published. TIDE_ERR_STOPPED: not published,
	 * and somebody wants to stop. */
	int (*publish)(struct tide_sink *sink, int64_t epoch, const struct tide_rows *rows,
	               struct tide_error *err);
	void (*close)(struct tide_sink *sink);
};

struct tide_sink {
	const struct tide_sink_ops *ops;
	/* Settled by open. */
	bool exactly_once; /* or says "at-least-once" */
	int64_t every_ms;  /* wants epochs gathered so long before a publish; 0: each */
};

/* The sink of a kind, or NULL. */
const struct tide_sink_ops *tide_sink_find(const char *kind);
/* "append", "update", "complete" or 0. */
enum tide_sink_mode tide_sink_mode_of(const char *name);

#endif
