/* SPDX-License-Identifier: Apache-2.0 */
/* Records to try a job on, in memory: lines of a file, or the last ones of the
 * topics that the job reads. */
#ifndef TIDE_RUN_SAMPLE_H
#define TIDE_RUN_SAMPLE_H

#include "base/buf.h"
#include "run/settings.h"
#include "source/memory.h"

enum { TIDE_SAMPLE_PARTITIONS_MAX = 1024, TIDE_SAMPLE_BYTES_MAX = 256 * 1024 * 1024 };

/* A line that `tidemark produce` takes is a record with key, headers, timestamp
 * and partition; any other is the value of one, blank ones are passed over. Each
 * topic that the job names first in an input gets all of them, at an offset that
 * is the number of the line. Without a time of its own a record has now_ms. */
int tide_sample_lines(const struct tide_plan *plan, const struct tide_settings *settings,
                      struct tide_slice text, int64_t now_ms, struct tide_memory **out,
                      struct tide_error *err);

/* The last `last` records of each input's topics, at their own offsets. What was
 * read stays in the file cache_fd (-1: nowhere), where the next call finds it if
 * it wants the same. */
int tide_sample_topics(const struct tide_plan *plan, const struct tide_settings *settings,
                       int64_t last, int cache_fd, struct tide_memory **out,
                       struct tide_error *err);

#endif
