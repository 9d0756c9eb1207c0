/* SPDX-License-Identifier: Apache-2.0 */
/* How long it takes to find a key's state: the word count's shape, and a large table.
 *
 * make build/bench/table && build/bench/table */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "state/queue.h"

enum {
	WAITING = 1024,
	WORDS = 50000,
	CALLS = 4000000,
	ROW = 13,
	WORD_MAX = 16,
	ROUNDS = 5,
	LARGE = 10000000
};

static char words[WORDS][WORD_MAX + 1];
static uint64_t rng = 42;

static uint32_t rand32(void)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(rng >> 33);
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Frequent words are short, as in any language. */
static void words_make(void)
{
	for (uint32_t i = 0; i < WORDS; i++) {
		uint32_t len = 2 + rand32() % 4 + (uint32_t)(log2(i + 1) / 3), v = i;
		for (uint32_t k = 0; k < len && k < WORD_MAX; k++, v /= 26)
			words[i][k] = (char)('a' + (k < 4 ? v % 26 : rand32() % 26));
	}
}

/* Zipf with exponent 1 by inverting the harmonic sum. */
static void text_make(char *text, uint32_t *at, uint8_t *len)
{
	double h = 0, *sums = malloc(WORDS * sizeof *sums);
	for (int i = 0; i < WORDS; i++)
		sums[i] = h += 1.0 / (i + 1);
	uint32_t end = 0;
	for (uint32_t i = 0; i < CALLS; i++) {
		double want = rand32() / 2147483648.0 * h;
		uint32_t lo = 0, hi = WORDS - 1;
		while (lo < hi) {
			uint32_t mid = (lo + hi) / 2;
			if (sums[mid] < want)
				lo = mid + 1;
			else
				hi = mid;
		}
		at[i] = end;
		len[i] = (uint8_t)strlen(words[lo]);
		memcpy(text + end, words[lo], len[i]);
		end += len[i];
		text[end++] = ' ';
	}
	free(sums);
}

static void add_waiting(struct tide_queue *queue)
{
	uint32_t count = 0;
	tide_queue_resolve(queue, &count);
	for (uint32_t i = 0; i < count; i++)
		++*(int64_t *)(uintptr_t)queue->states[i];
}

static void bench_words(const char *text, const uint32_t *at, const uint8_t *len)
{
	struct tide_keyspec spec = { .count = 2,
		                     .columns = { 0, 1 },
		                     .types = { TIDE_STRING, TIDE_STRING } };
	struct tide_table *table = tide_table_new(&spec, 8);
	struct tide_queue *queue = tide_queue_new(table, &spec, NULL, NULL, 0);
	double best = 1e9;
	for (int round = 0; round < ROUNDS; round++) {
		double start = now_ns();
		for (uint32_t i = 0; i < CALLS; i++) {
			struct tide_cell row[2] = { { .p = "value", .len = 5 },
				                    { .p = text + at[i], .len = len[i] } };
			tide_queue_push(queue, row, i);
			if (queue->count > WAITING)
				add_waiting(queue);
		}
		add_waiting(queue);
		double ns = (now_ns() - start) / CALLS;
		best = ns < best ? ns : best;
	}
	printf("words: %.2f ns a word (best of %d), %u keys, %zu bytes\n", best, ROUNDS,
	       tide_table_count(table), tide_table_bytes(table));
	tide_queue_free(queue);
	tide_table_free(table);
}

static void bench_large(void)
{
	struct tide_keyspec spec = { .count = 1, .types = { TIDE_INT } };
	struct tide_table *table = tide_table_new(&spec, 8);
	struct tide_queue *queue = tide_queue_new(table, &spec, NULL, NULL, 0);
	struct tide_cell cell = { .i = 0 };
	double start = now_ns();
	for (int64_t i = 0; i < LARGE; i++) {
		cell.i = i * 7919;
		tide_queue_push(queue, &cell, 0);
		if (queue->count > WAITING)
			add_waiting(queue);
	}
	add_waiting(queue);
	double made = now_ns();
	for (int i = 0; i < LARGE; i++) {
		cell.i = (int64_t)(rand32() % LARGE) * 7919;
		tide_queue_push(queue, &cell, 0);
		if (queue->count > WAITING)
			add_waiting(queue);
	}
	add_waiting(queue);
	double found = now_ns();
	printf("large: insert %.1f ns, find %.1f ns, %u keys, %zu MiB\n", (made - start) / LARGE,
	       (found - made) / LARGE, tide_table_count(table), tide_table_bytes(table) >> 20);
	uint64_t at = 0;
	for (struct tide_entry *e; (e = tide_table_each(table, &at)) != NULL;)
		e->flags = 0;
	start = now_ns();
	uint32_t gone = tide_table_evict(table, (size_t)256 << 20);
	printf("evict: %.0f ms to %zu MiB, %u gone\n", (now_ns() - start) / 1e6,
	       tide_table_bytes(table) >> 20, gone);
	tide_queue_free(queue);
	tide_table_free(table);
}

int main(void)
{
	char *text = calloc(CALLS * (WORD_MAX + 1) + 32, 1);
	uint32_t *at = malloc(CALLS * sizeof *at);
	uint8_t *len = malloc(CALLS);
	if (text == NULL || at == NULL || len == NULL)
		return 1;
	words_make();
	text_make(text, at, len);
	bench_words(text, at, len);
	bench_large();
	free(text);
	free(at);
	free(len);
	return 0;
}
