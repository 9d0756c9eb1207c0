/* SPDX-License-Identifier: Apache-2.0 */
/* What a job would go on from, as bytes, and a new checkpoint made of them. Rows
 * that wait for sinks and the history stay behind. */
#ifndef TIDE_CHECKPOINT_COPY_H
#define TIDE_CHECKPOINT_COPY_H

#include "checkpoint/checkpoint.h"

/* The newest decision record, and the states with their operators; refused beyond
 * bytes_max. Nothing is changed. */
int tide_checkpoint_copy(struct tide_checkpoint *cp, size_t bytes_max, struct tide_buf *meta,
                         struct tide_buf *state, struct tide_error *err);
/* A checkpoint of its own in `dir`, which must not exist, whose sinks have
 * published everything. */
int tide_checkpoint_plant(const char *dir, struct tide_slice meta, struct tide_slice state,
                          struct tide_error *err);

#endif
