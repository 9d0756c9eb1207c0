/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets as text: {"topic":{"0":100,"1":150}}, as Spark writes them. */
#ifndef TIDE_RUN_OFFSETS_H
#define TIDE_RUN_OFFSETS_H

#include "base/buf.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"

void tide_offsets_write(const struct tide_meta *meta, struct tide_buf *out);
/* Sets `next` of the positions that the text names; others stay. A topic or
 * partition that the checkpoint does not know is an error. */
int tide_offsets_apply(const char *text, struct tide_meta *meta, struct tide_error *err);

#endif
