/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of one batch: bump allocation, freed all at once. Addresses stay
 * put until the reset, 32 readable bytes follow every allocation (so that wide
 * loads need no tail case), and a reset keeps one chunk for the next batch. */
#ifndef TIDE_RECORD_ARENA_H
#define TIDE_RECORD_ARENA_H

#include <stddef.h>

#include "record/abi.h"

struct tide_arena;

struct tide_arena *tide_arena_new(void); /* NULL when out of memory */
void tide_arena_free(struct tide_arena *arena);
void tide_arena_reset(struct tide_arena *arena);
/* 8-byte aligned; NULL when out of memory. */
void *tide_arena_alloc(struct tide_arena *arena, size_t size);
/* Text with no alignment. */
char *tide_arena_text(struct tide_arena *arena, size_t size);
/* Give back the end of the newest allocation. */
void tide_arena_trim(struct tide_arena *arena, void *end);
size_t tide_arena_used(const struct tide_arena *arena);

#endif
