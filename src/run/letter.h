/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters: a record that failed, as a row for the sink of on_error. */
#ifndef TIDE_RUN_LETTER_H
#define TIDE_RUN_LETTER_H

#include <stdbool.h>

#include "record/abi.h"
#include "record/rows.h"

/* `place` is "job.lua:7", or empty. The columns are those of dead_row in
 * lua/tidemark/sinks.lua. Text is UTF-8: what is not is "base64:…", and what is
 * long is cut, as offset and partition tell where the whole of it is. False
 * without memory. */
bool tide_letter_add(struct tide_rows *rows, const struct tide_batch *batch, uint32_t row,
                     const char *reason, const char *place);

#endif
