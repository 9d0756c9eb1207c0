/* SPDX-License-Identifier: Apache-2.0 */
/* The word splitter behind tide.words: runs of [a-zA-Z0-9], lower-cased. */
#ifndef TIDE_DECODE_WORDS_H
#define TIDE_DECODE_WORDS_H

#include "record/abi.h"
#include "record/arena.h"

/* Views of the words of text[0, len), in arena memory, ended by one whose len_
 * is -1. The views carry `gen`. NULL when out of memory. Reads up to 32 bytes
 * past the end of text (arena text allows it); set `exact` where it may not. */
const struct tide_view *tide_words(struct tide_arena *arena, const char *text, int32_t len,
                                   uint32_t gen, int exact);

#endif
