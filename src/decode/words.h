/* SPDX-License-Identifier: Apache-2.0 */
/* The word splitter behind tide.words: runs of [a-zA-Z0-9], lower-cased. */
#ifndef TIDE_DECODE_WORDS_H
#define TIDE_DECODE_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "record/abi.h"

struct tide_words_of {
	const char *text;
	int32_t len;  /* below 0: null, which has no words */
	bool exact;   /* else up to 32 bytes past the end of text are read */
	uint32_t gen; /* that the words carry */
	char *lower;  /* tide_words_lower(len) bytes, for the words themselves */
};

size_t tide_words_lower(int32_t len);
/* How many places a list of its words takes at most, with the end. */
size_t tide_words_max(const char *text, int32_t len);
/* Writes the list, which ends with a word whose len_ is -1; returns what is
 * behind that. */
struct tide_word *tide_words(const struct tide_words_of *from, struct tide_word *list);

#endif
