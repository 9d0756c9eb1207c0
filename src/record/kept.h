/* SPDX-License-Identifier: Apache-2.0 */
/* A record in cells of a row, for as long as the row waits. */
#ifndef TIDE_RECORD_KEPT_H
#define TIDE_RECORD_KEPT_H

#include <stdbool.h>

#include "record/batch.h"

/* Its key, value, timestamp and headers. */
enum { TIDE_KEPT_CELLS = 4 };

/* Bytes are borrowed from the record; headers are put into the batch's arena.
 * False without memory. */
bool tide_kept_put(const struct tide_batch *batch, const struct tide_rec *rec,
                   struct tide_cell *cells);
/* As a record of another batch. False without memory. */
bool tide_kept_add(struct tide_batch *batch, const struct tide_cell *cells, int64_t offset);

#endif
