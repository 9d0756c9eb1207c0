/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of one batch: bump allocation, freed all at once. Addresses stay
 * put until the reset, and 32 readable bytes follow every allocation (so that
 * wide loads need no tail case).
 *
 * A reset zeroes every struct that was handed out, keeps 1 MiB of memory for
 * the next batch and all addresses mapped: a reference kept too long reads
 * zeroes or a newer struct, and never faults. */
#ifndef TIDE_RECORD_ARENA_H
#define TIDE_RECORD_ARENA_H

#include <stddef.h>

#include "record/abi.h"

struct tide_arena;

struct tide_arena *tide_arena_new(void); /* NULL when out of memory */
void tide_arena_free(struct tide_arena *arena);
void tide_arena_reset(struct tide_arena *arena);
/* For structs (views, headers, cells): 8-byte aligned; NULL when out of memory. */
void *tide_arena_alloc(struct tide_arena *arena, size_t size);
/* For text, with no alignment, apart from structs: bytes of a record are never
 * read as a view. NULL when out of memory. */
char *tide_arena_text(struct tide_arena *arena, size_t size);
/* Give back the end of the newest allocation. */
void tide_arena_trim(struct tide_arena *arena, void *end);
/* A place, and back to it: what was handed out since then reads as zeroes or as
 * something newer. A reset forgets the place. */
void tide_arena_mark(struct tide_arena *arena);
void tide_arena_rewind(struct tide_arena *arena);
size_t tide_arena_used(const struct tide_arena *arena);

#endif
