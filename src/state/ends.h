/* SPDX-License-Identifier: Apache-2.0 */
/* Which entries of a table end when.
 *
 * Entries that end together hang together in a chain, and the first end is found
 * at once: closing costs what closes, not what is open. A chain runs through 8
 * bytes of each entry, behind its state. */
#ifndef TIDE_STATE_ENDS_H
#define TIDE_STATE_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "state/table.h"

enum { TIDE_ENDS_LINK = sizeof(struct tide_entry *) };

struct tide_ends;

/* The link of an entry lies `link_at` bytes behind the start of its state. NULL
 * without memory. */
struct tide_ends *tide_ends_new(size_t link_at);
void tide_ends_free(struct tide_ends *ends);
void tide_ends_clear(struct tide_ends *ends); /* its entries have moved */

/* An entry that is in no chain; false without memory. */
bool tide_ends_add(struct tide_ends *ends, int64_t end, struct tide_entry *entry);
/* INT64_MAX: there is none. */
int64_t tide_ends_first(const struct tide_ends *ends);
/* Take out the entries of the first end: the head of their chain. */
struct tide_entry *tide_ends_pop(struct tide_ends *ends);
/* The one behind it, or NULL. */
struct tide_entry *tide_ends_next(const struct tide_ends *ends, struct tide_entry *entry);

#endif
