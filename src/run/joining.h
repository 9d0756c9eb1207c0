/* SPDX-License-Identifier: Apache-2.0 */
/* States of sessions, for what joins them (joining.c) and what ends them (ending.c). */
#ifndef TIDE_RUN_JOINING_H
#define TIDE_RUN_JOINING_H

#include "run/shards_inside.h"

/* The key that a session's state has in the table. */
void tide_joining_key(struct tide_buf *out, int64_t end_us, const char *key, size_t key_len);

/* Which of at most a chunk of sessions the table does not hold, in shards->missing;
 * the others' entries. False without memory. */
bool tide_joining_find(struct tide_shards *shards, int keyed, struct tide_session *const *list,
                       size_t count, struct tide_entry **entries, size_t *missing_count);

/* Values of some of them in RocksDB, in shards->values until these are freed. */
int tide_joining_read(struct tide_shards *shards, int keyed, struct tide_session *const *list,
                      const uint32_t *which, size_t count, struct tide_error *err);

int tide_joining_damaged(const struct tide_shards *shards, int keyed, struct tide_error *err);

#endif
