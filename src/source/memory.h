/* SPDX-License-Identifier: Apache-2.0 */
/* A source in memory: topics that tests fill by hand. Jobs read it as they
 * read Kafka, byte for byte, and it outlives the runs that do. */
#ifndef TIDE_SOURCE_MEMORY_H
#define TIDE_SOURCE_MEMORY_H

#include "source/source.h"

struct tide_memory;

/* Topics that a job names are made with so many partitions; 0: there are only those
 * that were placed. NULL without memory. */
struct tide_memory *tide_memory_new(int partitions);
void tide_memory_free(struct tide_memory *memory);

/* Add a record, and headers to the newest one. A NULL p is null; timestamp_ms
 * is -1 for none. False: no such partition, or no memory. */
bool tide_memory_add(struct tide_memory *memory, const char *topic, int32_t partition,
                     struct tide_slice key, struct tide_slice value, int64_t timestamp_ms);
bool tide_memory_header(struct tide_memory *memory, struct tide_slice name,
                        struct tide_slice value);
/* Where the newest record lies: behind the one before it in its partition, which
 * is where it lies unless this is said. */
void tide_memory_offset(struct tide_memory *memory, int64_t offset);

/* Partitions with offsets of their own: one that begins at an offset, if it is not
 * there; whether it ends before an offset, so that a record may be added there;
 * offsets before `read` hold what there is of it, and `end` is what the log says of
 * its end. False without memory. */
bool tide_memory_place(struct tide_memory *memory, const char *topic, int32_t partition,
                       int64_t first);
bool tide_memory_lacks(const struct tide_memory *memory, const char *topic, int32_t partition,
                       int64_t offset);
bool tide_memory_add_at(struct tide_memory *memory, const char *topic, int32_t partition,
                        int64_t offset, struct tide_slice key, struct tide_slice value,
                        int64_t timestamp_ms);
void tide_memory_end(struct tide_memory *memory, const char *topic, int32_t partition, int64_t read,
                     int64_t end);

/* options: topics, as for Kafka. The memory is borrowed. */
int tide_memory_open(struct tide_memory *memory, const struct tide_options *options,
                     struct tide_source **out, struct tide_error *err);

#endif
