/* SPDX-License-Identifier: Apache-2.0 */
/* What a run was told to do: settled values, wherever they came from. */
#ifndef TIDE_RUN_SETTINGS_H
#define TIDE_RUN_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "record/plan.h"

struct tide_error;
struct tide_memory;
struct tide_sampler;
struct tide_share;
struct tide_sink_ops;
struct tide_source;

/* What stands in for the outside world when a job is tested, or between a job
 * and the world when it is recorded. */
struct tide_harness {
	struct tide_memory *memory; /* every source reads it; NULL: the real ones */
	/* Goes around a source that was opened; NULL: nothing does. */
	int (*wrap)(void *arg, struct tide_source **source, struct tide_error *err);
	/* Sees what the next epoch would read, and may change it; returns how many
	 * records that spans. NULL: nobody does. */
	int64_t (*ranges)(void *arg, struct tide_share *const *shares, int count, int64_t planned);
	/* Sees each record that failed and is passed over, while its worker runs. NULL:
	 * nobody does. */
	void (*failed)(void *arg, const char *text);
	void *arg;                        /* of these three */
	size_t db_bytes;                  /* RocksDB's memory; 0: its part of memory_bytes */
	bool adopt;                       /* see run/shards.h */
	bool forget;                      /* memory keeps no state from one epoch to the next */
	bool whole;                       /* epochs end where `ranges` says, whatever they hold */
	const struct tide_sink_ops *sink; /* every output goes there … */
	void *sink_arg;                   /* … and this to its open */
};

struct tide_settings {
	const char *job_path;
	const char *lua_dir;
	const char *brokers;         /* NULL: as the job says, … */
	const char *brokers_default; /* … or this where it says nothing */
	const char *topic;           /* NULL: as the job says */
	const char *group;
	const char *from;                   /* earliest, latest, or a time; NULL: as the job says */
	const char *profile;                /* named in errors about the broker; may be NULL */
	const char *checkpoint_dir;         /* of this job */
	const char *format;                 /* of console sinks; settled from auto */
	const char *progress_path;          /* NULL: none */
	const struct tide_options *set;     /* tide.setting(key) */
	const struct tide_options *rdkafka; /* -X, keys as "rdkafka.property" */
	int workers;
	int64_t memory_bytes;
	int64_t script_bytes; /* of each Lua state; 0: 512 MiB */
	int64_t trigger_ms;   /* 0: as soon as there is data */
	int64_t batch_records_max;
	int64_t records_per_second_max; /* 0: no limit */
	int64_t run_for_ms;             /* 0: until stopped */
	int64_t downtime_ms;            /* 0: unset; for the retention warning */
	bool fail_on_data_loss;
	bool until_end;
	bool preflight;
	bool muted;           /* console sinks take no rows */
	bool result_terminal; /* stdout is one */
	bool jit_off;
	struct tide_sampler *sampler;       /* follows the workers' VMs; NULL: none */
	const struct tide_harness *harness; /* NULL: the real world */
};

#endif
