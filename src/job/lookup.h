/* SPDX-License-Identifier: Apache-2.0 */
/* A set of texts, looked up by bytes that need not be a Lua string. */
#ifndef TIDE_JOB_LOOKUP_H
#define TIDE_JOB_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

struct tide_lookup;

struct tide_lookup *tide_lookup_new(void);
void tide_lookup_free(struct tide_lookup *lookup);
/* The key's number, counted from 0 in the order they came; -1 without memory. */
int32_t tide_lookup_add(struct tide_lookup *lookup, const char *key, size_t len);
int32_t tide_lookup_find(const struct tide_lookup *lookup, const char *key, size_t len);

#endif
