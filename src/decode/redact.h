/* SPDX-License-Identifier: Apache-2.0 */
/* Redaction: values that must not be seen give way to hashes of the same type.
 * Equal values have equal hashes under one salt, so that keys still group. */
#ifndef TIDE_DECODE_REDACT_H
#define TIDE_DECODE_REDACT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct tide_redaction; /* Opaque. */

/* `fields` as "user.name,key,headers,header.trace": paths in JSON values, all
 * below them included; the whole key, value, all headers or one. The salt is
 * nowhere kept. */
int tide_redaction_new(const char *fields, uint64_t salt, struct tide_redaction **out,
                       struct tide_error *err);
void tide_redaction_free(struct tide_redaction *redaction);
const char *tide_redaction_text(const struct tide_redaction *redaction);

bool tide_redaction_key(const struct tide_redaction *redaction);
bool tide_redaction_header(const struct tide_redaction *redaction, struct tide_slice name);

/* A text in place of bytes. */
void tide_redact_bytes(const struct tide_redaction *redaction, struct tide_slice bytes,
                       struct tide_buf *out);
/* A record's value. One that is neither an object nor a list, while fields are
 * named, is hidden whole: nobody knows what is where in it. */
void tide_redact_value(const struct tide_redaction *redaction, struct tide_slice value,
                       struct tide_buf *out);

#endif
