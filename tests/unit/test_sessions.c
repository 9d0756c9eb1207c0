/* SPDX-License-Identifier: Apache-2.0 */
/* Open sessions against a plain model: a line of events for each key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <time.h>

#include "run/sessions.h"

enum { GAP = 10, KEYS = 40, SPAN = 600, EVENTS_MAX = 60 };

static unsigned seed;

static int seed_set(void **state)
{
	(void)state;
	seed = getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : (unsigned)time(NULL);
	print_message("SEED=%u\n", seed);
	return 0;
}

static struct tide_joined join_of(struct tide_sessions *sessions, const char *key, int64_t time_us)
{
	int64_t end_us = time_us + GAP;
	struct tide_sessions_walk walk = { tide_sessions_of(sessions, key, strlen(key)), &end_us, 1,
		                           0, GAP };
	struct tide_joined joined, more;
	assert_true(tide_sessions_next(&walk, &joined));
	assert_false(tide_sessions_next(&walk, &more));
	return joined;
}

static const struct tide_session *event(struct tide_sessions *sessions, const char *key,
                                        int64_t time_us)
{
	struct tide_joined joined = join_of(sessions, key, time_us);
	struct tide_session *session = tide_sessions_put(sessions, 7, key, strlen(key), &joined);
	assert_non_null(session);
	return session;
}

static void an_event_one_gap_later_joins_and_the_next_does_not(void **state)
{
	(void)state;
	struct tide_sessions *sessions = tide_sessions_new();
	event(sessions, "a", 100);
	const struct tide_session *session = event(sessions, "a", 110);
	assert_int_equal(session->start_us, 100);
	assert_int_equal(session->end_us, 120);
	assert_int_equal(session->shard, 7);
	assert_int_equal(tide_sessions_count(sessions), 1);
	session = event(sessions, "a", 121);
	assert_int_equal(session->start_us, 121);
	assert_int_equal(tide_sessions_count(sessions), 2);
	/* Before it, likewise. */
	session = event(sessions, "a", 90);
	assert_int_equal(session->start_us, 90);
	assert_int_equal(session->end_us, 120);
	assert_int_equal(event(sessions, "a", 79)->end_us, 89);
	assert_int_equal(tide_sessions_count(sessions), 3);
	/* Of another key nothing is joined. */
	event(sessions, "b", 100);
	event(sessions, "", 100);
	assert_int_equal(tide_sessions_count(sessions), 5);
	tide_sessions_free(sessions);
}

static void what_lies_between_sessions_makes_them_one(void **state)
{
	(void)state;
	struct tide_sessions *sessions = tide_sessions_new();
	event(sessions, "a", 100);
	event(sessions, "a", 120);
	event(sessions, "a", 140);
	int64_t ends_us[] = { 110 + GAP, 130 + GAP, 200 + GAP };
	struct tide_sessions_walk walk = { tide_sessions_of(sessions, "a", 1), ends_us, 3, 0, GAP };
	struct tide_joined first, second, third;
	assert_true(tide_sessions_next(&walk, &first));
	assert_true(tide_sessions_next(&walk, &second));
	assert_false(tide_sessions_next(&walk, &third));
	assert_int_equal(first.sessions, 3);
	assert_int_equal(first.events, 2);
	assert_int_equal(first.start_us, 100);
	assert_int_equal(first.end_us, 150);
	assert_ptr_equal(first.first, tide_sessions_of(sessions, "a", 1));
	assert_int_equal(second.sessions, 0);
	assert_int_equal(second.event, 2);
	assert_int_equal(second.events, 1);
	/* In any order. */
	assert_non_null(tide_sessions_put(sessions, 0, "a", 1, &second));
	assert_non_null(tide_sessions_put(sessions, 0, "a", 1, &first));
	assert_int_equal(tide_sessions_count(sessions), 2);
	assert_int_equal(tide_sessions_first_end(sessions), 150);
	struct tide_session *closed = tide_sessions_pop(sessions);
	assert_int_equal(closed->end_us, 150);
	free(closed);
	assert_int_equal(tide_sessions_first_end(sessions), 210);
	tide_sessions_free(sessions);
}

static void an_end_that_moved_is_not_due(void **state)
{
	(void)state;
	struct tide_sessions *sessions = tide_sessions_new();
	assert_int_equal(tide_sessions_first_end(sessions), INT64_MAX);
	size_t empty = tide_sessions_bytes(sessions);
	for (int64_t at = 0; at < 100000; at += GAP)
		event(sessions, "a", at);
	event(sessions, "b", 50000);
	assert_int_equal(tide_sessions_first_end(sessions), 50000 + GAP);
	/* Nor is it kept for ever. */
	assert_true(tide_sessions_bytes(sessions) < empty + 65536);
	free(tide_sessions_pop(sessions));
	assert_int_equal(tide_sessions_first_end(sessions), 100000);
	free(tide_sessions_pop(sessions));
	assert_int_equal(tide_sessions_count(sessions), 0);
	assert_null(tide_sessions_of(sessions, "a", 1));
	tide_sessions_free(sessions);
}

static void a_session_that_is_taken_is_not_due(void **state)
{
	(void)state;
	struct tide_sessions *sessions = tide_sessions_new();
	event(sessions, "a", 100);
	event(sessions, "a", 200);
	struct tide_session *session = tide_sessions_of(sessions, "a", 1);
	tide_sessions_take(sessions, session);
	assert_int_equal(tide_sessions_count(sessions), 1);
	assert_int_equal(tide_sessions_first_end(sessions), 210);
	tide_sessions_take(sessions, tide_sessions_of(sessions, "a", 1));
	assert_null(tide_sessions_of(sessions, "a", 1));
	event(sessions, "a", 100);
	assert_int_equal(tide_sessions_first_end(sessions), 110);
	tide_sessions_free(sessions);
}

static void number_name(int number, char *name)
{
	snprintf(name, 32, "key %d", number);
}

static size_t keys_held(const struct tide_sessions *sessions)
{
	size_t count = 0;
	for (size_t at = 0; tide_sessions_each(sessions, &at) != NULL;)
		count++;
	return count;
}

static void the_long_unused_go_first_and_with_all_their_sessions(void **state)
{
	(void)state;
	enum { MANY = 5000, USED = 500 };
	char name[32];
	int64_t first_us;
	struct tide_sessions *sessions = tide_sessions_new();
	size_t empty = tide_sessions_bytes(sessions);
	assert_true(tide_sessions_evict(sessions, 0, &first_us));
	assert_int_equal(first_us, INT64_MAX);
	for (int i = 0; i < MANY; i++) {
		number_name(i, name);
		event(sessions, name, 1000 + i);
		event(sessions, name, 9000 + i);
	}
	size_t full = tide_sessions_bytes(sessions);
	assert_true(tide_sessions_evict(sessions, full, &first_us)); /* sweeps by */
	assert_int_equal(first_us, INT64_MAX);
	/* Nothing has to go yet, so nothing was looked at; now half of it has. */
	assert_true(tide_sessions_evict(sessions, full / 2, &first_us));
	assert_true(tide_sessions_bytes(sessions) <= full / 2);
	assert_in_range(first_us, 1000 + GAP, 1000 + MANY);
	assert_true(keys_held(sessions) > USED);
	for (int i = 0; i < USED; i++) {
		number_name(i, name);
		event(sessions, name, 5000 + i);
	}
	assert_true(tide_sessions_evict(sessions, full / 4, &first_us));
	assert_true(tide_sessions_bytes(sessions) <= full / 4);
	for (int i = 0; i < USED; i++) {
		number_name(i, name);
		assert_non_null(tide_sessions_of(sessions, name, strlen(name)));
	}
	for (int i = USED; i < MANY; i++) {
		number_name(i, name);
		const struct tide_session *session = tide_sessions_of(sessions, name, strlen(name));
		if (session == NULL)
			continue;
		assert_int_equal(session->start_us, 1000 + i);
		assert_int_equal(session->next->start_us, 9000 + i);
		assert_null(session->next->next);
	}
	assert_true(tide_sessions_evict(sessions, 0, &first_us));
	assert_int_equal(tide_sessions_count(sessions), 0);
	assert_int_equal(keys_held(sessions), 0);
	assert_int_equal(tide_sessions_first_end(sessions), INT64_MAX);
	assert_true(tide_sessions_bytes(sessions) < empty + 4096);
	event(sessions, "a", 7);
	assert_int_equal(tide_sessions_first_end(sessions), 7 + GAP);
	tide_sessions_free(sessions);
}

/* ---- against a model ---- */

/* seen[key][time]: there is an event, and it has not closed. */
static bool seen[KEYS][SPAN];

static void key_name(int key, char *name)
{
	snprintf(name, 32, "%.*s%d", key % 20, "a long key of bytes", key);
}

/* The sessions of a key are those that its events make. */
static size_t check_key(const struct tide_sessions *sessions, int key)
{
	char name[32];
	key_name(key, name);
	const struct tide_session *session = tide_sessions_of(sessions, name, strlen(name));
	size_t count = 0;
	int64_t start = -1, last = -1;
	for (int at = 0; at <= SPAN; at++) {
		bool ends = start >= 0 && (at == SPAN || (seen[key][at] && at > last + GAP));
		if (ends) {
			assert_non_null(session);
			assert_int_equal(session->start_us, start);
			assert_int_equal(session->end_us, last + GAP);
			session = session->next;
			count++;
			start = -1;
		}
		if (at < SPAN && seen[key][at]) {
			start = start < 0 ? at : start;
			last = at;
		}
	}
	assert_null(session);
	return count;
}

static void check_all(struct tide_sessions *sessions)
{
	size_t count = 0;
	for (int key = 0; key < KEYS; key++)
		count += check_key(sessions, key);
	assert_int_equal(tide_sessions_count(sessions), count);
}

static int by_number(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* Some events of one key at once, all at or after `from`. */
static void add_some(struct tide_sessions *sessions, int key, int from)
{
	int64_t ends_us[EVENTS_MAX];
	size_t count = 1 + (size_t)rand_r(&seed) % 8, put = 0;
	struct tide_joined joined[EVENTS_MAX];
	char name[32];
	key_name(key, name);
	for (size_t i = 0; i < count; i++) {
		int at = from + rand_r(&seed) % (SPAN - from);
		ends_us[i] = at + GAP;
		seen[key][at] = true;
	}
	qsort(ends_us, count, sizeof ends_us[0], by_number);
	struct tide_sessions_walk walk = { tide_sessions_of(sessions, name, strlen(name)), ends_us,
		                           count, 0, GAP };
	size_t events = 0;
	while (tide_sessions_next(&walk, &joined[put])) {
		assert_int_equal(joined[put].event, events);
		events += joined[put++].events;
	}
	assert_int_equal(events, count);
	for (size_t i = 0; i < put; i++)
		assert_non_null(tide_sessions_put(sessions, 0, name, strlen(name), &joined[i]));
}

static void close_until(struct tide_sessions *sessions, int64_t to)
{
	int64_t last = INT64_MIN;
	while (tide_sessions_first_end(sessions) <= to) {
		struct tide_session *session = tide_sessions_pop(sessions);
		assert_true(session->gone && session->end_us >= last);
		last = session->end_us;
		for (int key = 0; key < KEYS; key++) {
			char name[32];
			key_name(key, name);
			if (strlen(name) == session->key_len &&
			    memcmp(name, session->key, session->key_len) == 0)
				for (int64_t at = session->start_us; at <= last - GAP; at++)
					seen[key][at] = false;
		}
		free(session);
	}
}

static void sessions_are_what_their_events_make(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		struct tide_sessions *sessions = tide_sessions_new();
		size_t empty = tide_sessions_bytes(sessions);
		memset(seen, 0, sizeof seen);
		for (int step = 0; step < 400; step++) {
			int closed = step;
			for (int i = 0; i < 3; i++)
				add_some(sessions, rand_r(&seed) % KEYS,
				         closed > GAP ? closed - GAP + 1 : 0);
			if (step % 3 == 0)
				close_until(sessions, closed);
			check_all(sessions);
		}
		close_until(sessions, round % 2 == 0 ? INT64_MAX - 1 : 450);
		check_all(sessions);
		assert_true(round % 2 != 0 || tide_sessions_count(sessions) == 0);
		assert_true(tide_sessions_bytes(sessions) >= empty);
		tide_sessions_free(sessions);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_one_gap_later_joins_and_the_next_does_not),
		cmocka_unit_test(what_lies_between_sessions_makes_them_one),
		cmocka_unit_test(an_end_that_moved_is_not_due),
		cmocka_unit_test(a_session_that_is_taken_is_not_due),
		cmocka_unit_test(the_long_unused_go_first_and_with_all_their_sessions),
		cmocka_unit_test(sessions_are_what_their_events_make),
	};
	return cmocka_run_group_tests(tests, seed_set, NULL);
}
