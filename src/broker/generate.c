/* SPDX-License-Identifier: Apache-2.0 */
/* Generators: "words" to be read by people, "text" to be measured with, and
 * those of generate_json.c. */
#include "broker/generate_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { VOCABULARY = 50000, TEXT_LEN_MIN = 80, TEXT_LEN_MAX = 120 };

static void words_next(struct tide_generator *gen, struct tide_message *msg);
static void text_next(struct tide_generator *gen, struct tide_message *msg);
static bool vocabulary_build(struct tide_generator *gen);
static bool alias_build(struct tide_alias *alias, uint32_t n);

const char *tide_generator_names(void)
{
	return "words, text, readings, articles";
}

int tide_generator_new(const char *name, uint64_t seed, const struct tide_options *options,
                       struct tide_generator **out, struct tide_error *err)
{
	assert(name != NULL);
	bool text = strcmp(name, "text") == 0, words = strcmp(name, "words") == 0;
	if (!text && !words && strcmp(name, "readings") != 0 && strcmp(name, "articles") != 0)
		return tide_fail(err, TIDE_ERR_USAGE, "no generator \"%s\"; there are: %s", name,
		                 tide_generator_names());
	struct tide_generator *gen = calloc(1, sizeof *gen);
	if (gen == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a generator");
	gen->state = seed;
	gen->next = text ? text_next : words_next;
	int rc = TIDE_OK;
	if (text && (!vocabulary_build(gen) || !alias_build(&gen->alias, VOCABULARY)))
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for a generator");
	if (!text && !words)
		rc = tide_generate_json(gen, name, options, err);
	if (rc != TIDE_OK) {
		tide_generator_free(gen);
		return rc;
	}
	*out = gen;
	return TIDE_OK;
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

static bool chance(struct tide_generator *gen, uint32_t percent)
{
	return tide_below(gen, 100) < percent;
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
		assert(len <= TIDE_WORD_LEN_MAX);
		gen->vocabulary_len[i] = len;
	}
	return true;
}

/* Zipf with s = 1: rank r has weight 1/r. */
static bool alias_build(struct tide_alias *alias, uint32_t n)
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
	uint32_t i = tide_below(gen, VOCABULARY);
	double u = (double)(tide_draw(gen) >> 11) * 0x1p-53;
	return u < gen->alias.keep[i] ? i : gen->alias.other[i];
}

static size_t put_word(struct tide_generator *gen, char *at, uint32_t word)
{
	memcpy(at, gen->vocabulary[word], gen->vocabulary_len[word]);
	return gen->vocabulary_len[word];
}

static void text_next(struct tide_generator *gen, struct tide_message *msg)
{
	size_t want = TEXT_LEN_MIN + tide_below(gen, TEXT_LEN_MAX - TEXT_LEN_MIN + 1);
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

#define PICK(gen, list) ((list)[tide_below((gen), (uint32_t)(sizeof(list) / sizeof((list)[0])))])

static void add(char *to, size_t *len, const char *text)
{
	size_t n = strlen(text);
	assert(*len + n < TIDE_SCRATCH);
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
