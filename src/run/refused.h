/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that a sink will not take, before their epoch is decided: they become
 * dead letters of the same epoch. */
#ifndef TIDE_RUN_REFUSED_H
#define TIDE_RUN_REFUSED_H

#include "sink/sink.h"

/* Has the sink look at *rows; those it refuses leave them for *letters, which is
 * made when it is NULL. `place` is "job.lua:7". */
int tide_refused_sift(struct tide_sink *sink, struct tide_rows **rows, struct tide_rows **letters,
                      const struct tide_schema *letter, const char *place, struct tide_error *err);

#endif
