/* SPDX-License-Identifier: Apache-2.0 */
/* Generators: "words" to be read by people, "text" to be measured with. */
#include "broker/generate.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	VOCABULARY = 50000,
	TEXT_LEN_MIN = 80,
	TEXT_LEN_MAX = 120,
	WORD_LEN_MAX = 12,
	SCRATCH = 512
};

/* One draw from a discrete distribution in constant time (Walker's aliases). */
struct alias {
	double *keep;
	uint32_t *other;
};

struct tide_generator {
	uint64_t state;
	void (*next)(struct tide_generator *gen, struct tide_message *msg);
	char (*vocabulary)[WORD_LEN_MAX + 1];
	uint8_t *vocabulary_len;
	struct alias alias;
	struct tide_message_header headers[TIDE_MESSAGE_HEADERS_MAX];
	char value[SCRATCH], key[SCRATCH], header[SCRATCH];
};

static void words_next(struct tide_generator *gen, struct tide_message *msg);
static void text_next(struct tide_generator *gen, struct tide_message *msg);
static bool vocabulary_build(struct tide_generator *gen);
static bool alias_build(struct alias *alias, uint32_t n);

const char *tide_generator_names(void)
{
	return "words, text";
}

struct tide_generator *tide_generator_new(const char *name, uint64_t seed)
{
	assert(name != NULL);
	bool text = strcmp(name, "text") == 0;
	if (!text && strcmp(name, "words") != 0)
		return NULL;
	struct tide_generator *gen = calloc(1, sizeof *gen);
	if (gen == NULL)
		return NULL;
	gen->state = seed;
	gen->next = text ? text_next : words_next;
	if (text && (!vocabulary_build(gen) || !alias_build(&gen->alias, VOCABULARY))) {
		tide_generator_free(gen);
		return NULL;
	}
	return gen;
}

void tide_generator_free(struct tide_generator *gen)
{
	if (gen == NULL)
		return;
	free(gen->vocabulary);
	free(gen->vocabulary_len);
	free(gen->alias.keep);
	free(gen->alias.other);
	free(gen);
}

void tide_generator_next(struct tide_generator *gen, struct tide_message *msg)
{
	assert(gen != NULL && msg != NULL);
	*msg = (struct tide_message){ .headers = gen->headers, .partition = -1 };
	gen->next(gen, msg);
}

/* SplitMix64: any seed is a good one. */
static uint64_t draw(struct tide_generator *gen)
{
	uint64_t z = gen->state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint32_t below(struct tide_generator *gen, uint32_t n)
{
	return (uint32_t)(((draw(gen) >> 32) * n) >> 32);
}

static bool chance(struct tide_generator *gen, uint32_t percent)
{
	return below(gen, 100) < percent;
}

/* --- "text": the measured word count ------------------------------------ */

/* Word i spells i in syllables, so all differ and need no list on disk. */
static bool vocabulary_build(struct tide_generator *gen)
{
	static const char consonants[] = "bdfgklmnprstvz";
	static const char vowels[] = "aeiou";
	enum { SYLLABLES = 14 * 5 };
	gen->vocabulary = calloc(VOCABULARY, sizeof *gen->vocabulary);
	gen->vocabulary_len = calloc(VOCABULARY, 1);
	if (gen->vocabulary == NULL || gen->vocabulary_len == NULL)
		return false;
	for (uint32_t i = 0; i < VOCABULARY; i++) {
		uint32_t rest =
			i + SYLLABLES * SYLLABLES; /* three syllables: 13 words in 100 bytes */
		uint8_t len = 0;
		while (rest > 0) {
			uint32_t syllable = rest % SYLLABLES;
			gen->vocabulary[i][len++] = consonants[syllable / 5];
			gen->vocabulary[i][len++] = vowels[syllable % 5];
			rest /= SYLLABLES;
		}
		if (i % 3 == 0)
			gen->vocabulary[i][len++] = consonants[i % 14];
		assert(len <= WORD_LEN_MAX);
		gen->vocabulary_len[i] = len;
	}
	return true;
}

/* Zipf with s = 1: rank r has weight 1/r. */
static bool alias_build(struct alias *alias, uint32_t n)
{
	alias->keep = calloc(n, sizeof *alias->keep);
	alias->other = calloc(n, sizeof *alias->other);
	uint32_t *small = calloc(n, sizeof *small), *large = calloc(n, sizeof *large);
	uint32_t smalls = 0, larges = 0;
	bool ok = alias->keep != NULL && alias->other != NULL && small != NULL && large != NULL;
	if (!ok)
		goto out;
	double sum = 0;
	for (uint32_t i = 0; i < n; i++)
		sum += 1.0 / (i + 1);
	for (uint32_t i = 0; i < n; i++) {
		alias->keep[i] = (1.0 / (i + 1)) / sum * n;
		alias->other[i] = i;
		if (alias->keep[i] < 1)
			small[smalls++] = i;
		else
			large[larges++] = i;
	}
	while (smalls > 0 && larges > 0) {
		uint32_t poor = small[--smalls], rich = large[larges - 1];
		alias->other[poor] = rich;
		alias->keep[rich] -= 1 - alias->keep[poor];
		if (alias->keep[rich] < 1) {
			larges--;
			small[smalls++] = rich;
		}
	}
	/* What rounding left over keeps itself. */
	while (smalls > 0)
		alias->keep[small[--smalls]] = 1;
	while (larges > 0)
		alias->keep[large[--larges]] = 1;
out:
	free(small);
	free(large);
	return ok;
}

static uint32_t zipf(struct tide_generator *gen)
{
	uint32_t i = below(gen, VOCABULARY);
	double u = (double)(draw(gen) >> 11) * 0x1p-53;
	return u < gen->alias.keep[i] ? i : gen->alias.other[i];
}

static size_t put_word(struct tide_generator *gen, char *at, uint32_t word)
{
	memcpy(at, gen->vocabulary[word], gen->vocabulary_len[word]);
	return gen->vocabulary_len[word];
}

static void text_next(struct tide_generator *gen, struct tide_message *msg)
{
	size_t want = TEXT_LEN_MIN + below(gen, TEXT_LEN_MAX - TEXT_LEN_MIN + 1);
	size_t len = put_word(gen, gen->value, zipf(gen));
	while (len < want) {
		uint32_t word = zipf(gen);
		if (len + 1 + gen->vocabulary_len[word] > TEXT_LEN_MAX)
			break;
		gen->value[len++] = ' ';
		len += put_word(gen, gen->value + len, word);
	}
	assert(len >= TEXT_LEN_MIN && len <= TEXT_LEN_MAX);
	msg->value = (struct tide_slice){ gen->value, len };
	if (chance(gen, 90))
		msg->key = (struct tide_slice){ gen->key, put_word(gen, gen->key, zipf(gen)) };
	if (chance(gen, 50)) {
		len = put_word(gen, gen->header, zipf(gen));
		gen->header[len++] = ' ';
		len += put_word(gen, gen->header + len, zipf(gen));
		gen->headers[0].name = (struct tide_slice){ "h", 1 };
		gen->headers[0].value = (struct tide_slice){ gen->header, len };
		msg->header_count = 1;
	}
}

/* --- "words": the demo ---------------------------------------------------- */

static const char *const openings[] = { "Early this morning",   "Before the tide turned",
	                                "At the harbour",       "By noon",
	                                "Further up the coast", "In the old market",
	                                "Without a word",       "Once again" };
static const char *const adjectives[] = { "small",   "bright",   "patient", "salty",
	                                  "quiet",   "restless", "wooden",  "northern",
	                                  "careful", "hungry",   "blue",    "familiar" };
static const char *const nouns[] = { "boat",    "gull", "lighthouse", "fisherman", "wave",
	                             "captain", "net",  "child",      "dog",       "merchant",
	                             "storm",   "crew", "lantern",    "river" };
static const char *const verbs[] = { "follows", "carries", "watches", "finds",  "leaves",
	                             "counts",  "greets",  "mends",   "paints", "remembers" };
static const char *const places[] = { "past the pier",   "under the bridge", "along the shore",
	                              "near the mill",   "beyond the reef",  "into the bay",
	                              "behind the dunes" };
static const char *const subjects[] = { "weather report", "order",     "market news",
	                                "arrival",        "departure", "catch of the day" };
static const char *const origins[] = { "web", "mobile app", "harbour office", "buoy seven" };

#define PICK(gen, list) ((list)[below((gen), (uint32_t)(sizeof(list) / sizeof((list)[0])))])

static void add(char *to, size_t *len, const char *text)
{
	size_t n = strlen(text);
	assert(*len + n < SCRATCH);
	memcpy(to + *len, text, n);
	*len += n;
}

static void phrase(struct tide_generator *gen, char *to, size_t *len)
{
	add(to, len, " the ");
	add(to, len, PICK(gen, adjectives));
	add(to, len, " ");
	add(to, len, PICK(gen, nouns));
}

/* Some records lack a key, a value or headers, so that every row of the word
 * count's table shows up within seconds. */
static void words_next(struct tide_generator *gen, struct tide_message *msg)
{
	size_t len = 0;
	add(gen->value, &len, PICK(gen, openings));
	phrase(gen, gen->value, &len);
	add(gen->value, &len, " ");
	add(gen->value, &len, PICK(gen, verbs));
	phrase(gen, gen->value, &len);
	add(gen->value, &len, " ");
	add(gen->value, &len, PICK(gen, places));
	add(gen->value, &len, ".");
	if (!chance(gen, 4))
		msg->value = (struct tide_slice){ gen->value, len };
	if (chance(gen, 80)) {
		const char *key = PICK(gen, subjects);
		msg->key = (struct tide_slice){ key, strlen(key) };
	}
	if (chance(gen, 60)) {
		const char *origin = PICK(gen, origins);
		gen->headers[msg->header_count].name = (struct tide_slice){ "source", 6 };
		gen->headers[msg->header_count++].value =
			(struct tide_slice){ origin, strlen(origin) };
	}
	if (chance(gen, 15)) {
		gen->headers[msg->header_count].name = (struct tide_slice){ "priority", 8 };
		gen->headers[msg->header_count++].value = (struct tide_slice){ "high", 4 };
	}
}
