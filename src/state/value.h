/* SPDX-License-Identifier: Apache-2.0 */
/* State as bytes on disk.
 *
 * A small state is stored as it is. A large one is mostly zeroes while little
 * has been added to it (a sketch, room for text), so its runs of zeroes become
 * numbers: how many zeroes, how many bytes, the bytes, and so on; what is
 * missing at the end is zero. One that would not get shorter is stored as it
 * is. Equal states have equal bytes, and never more than the state has. */
#ifndef TIDE_STATE_VALUE_H
#define TIDE_STATE_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

enum { TIDE_VALUE_PLAIN_MAX = 256 };

/* Appends; a lack of memory shows in out->failed. */
void tide_value_encode(const char *state, size_t size, struct tide_buf *out);
/* False: these bytes are no state of this size. */
bool tide_value_decode(struct tide_slice value, char *state, size_t size);
/* The error of an operator in whose stored states that was so. */
int tide_value_fail(const char *operator, struct tide_slice value, size_t size,
                    struct tide_error *err);

#endif
