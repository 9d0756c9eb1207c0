/* SPDX-License-Identifier: Apache-2.0 */
/* RocksDB behind rocks.h: both ways of applying, what survives a kill, readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "state/rocks.h"
#include "state/writes.h"

enum { LARGE = 60000 };

static char root[64];
static struct tide_error err;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static int root_make(void **state)
{
	(void)state;
	snprintf(root, sizeof root, "/tmp/test_rocks.XXXXXX");
	return mkdtemp(root) == NULL;
}

static int root_remove(void **state)
{
	(void)state;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *path_of(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", root, name);
	return path;
}

static struct tide_slice slice(const char *s)
{
	return (struct tide_slice){ s, strlen(s) };
}

static struct tide_rocks *open_at(const char *name, bool read_only)
{
	struct tide_rocks *db = NULL;
	struct tide_rocks_options options = { .create = !read_only, .read_only = read_only };
	int rc = tide_rocks_open(path_of(name), &options, &db, &err);
	if (rc != TIDE_OK)
		fail_msg("%s", err.text);
	return db;
}

static void put(struct tide_writes *writes, const char *key, const char *value)
{
	assert_true(tide_writes_put(writes, slice(key), slice(value)));
}

static void apply(struct tide_rocks *db, struct tide_writes *writes)
{
	if (tide_rocks_apply(db, &writes, 1, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	tide_writes_free(writes);
}

/* The value of a key, "" when there is none. */
static const char *get(struct tide_rocks *db, const char *key)
{
	static struct tide_buf value;
	bool found;
	assert_int_equal(tide_rocks_get(db, slice(key), &value, &found, &err), TIDE_OK);
	if (!found)
		return "";
	tide_buf_put(&value, "", 1);
	return value.p;
}

/* Keys "s00000".. with one value, enough of them for SST files; and the meta
 * key, as every decision writes it. */
static struct tide_writes *large(const char *value)
{
	struct tide_writes *writes = tide_writes_new();
	for (int i = 0; i < LARGE; i++) {
		char key[16];
		snprintf(key, sizeof key, "s%05d", (i * 7919) % LARGE);
		put(writes, key, value);
	}
	put(writes, "meta", value);
	return writes;
}

static struct tide_writes *small(const char *key, const char *value)
{
	struct tide_writes *writes = tide_writes_new();
	put(writes, key, value);
	put(writes, "meta", value);
	return writes;
}

static void values_come_back(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("values", false);
	struct tide_writes *writes = tide_writes_new();
	put(writes, "a", "1");
	put(writes, "b", "2");
	put(writes, "a", "3"); /* the last put of a key wins */
	put(writes, "c", "");
	apply(db, writes);
	assert_string_equal(get(db, "a"), "3");
	struct tide_slice keys[] = { slice("c"), slice("x"), slice("b") }, values[3];
	assert_int_equal(tide_rocks_multi_get(db, keys, 3, values, &err), TIDE_OK);
	assert_non_null(values[0].p);
	assert_int_equal(values[0].len, 0);
	assert_null(values[1].p);
	assert_int_equal(values[2].len, 1);
	assert_memory_equal(values[2].p, "2", 1);
	free((char *)(uintptr_t)values[0].p);
	free((char *)(uintptr_t)values[2].p);
	writes = tide_writes_new();
	tide_writes_delete(writes, slice("b"));
	apply(db, writes);
	assert_string_equal(get(db, "b"), "");
	tide_rocks_close(db);
	db = open_at("values", true);
	assert_string_equal(get(db, "a"), "3");
	assert_string_equal(get(db, "b"), "");
	tide_rocks_close(db);
}

static size_t count_range(struct tide_rocks *db, const char *from, const char *to)
{
	struct tide_slice key, value;
	char before[16] = "";
	size_t count = 0;
	struct tide_rocks_iter *it = tide_rocks_iter_new(db, slice(from), slice(to));
	while (tide_rocks_iter_next(it, &key, &value)) {
		char now[16] = "";
		memcpy(now, key.p, key.len);
		assert_true(strcmp(before, now) < 0);
		memcpy(before, now, sizeof now);
		count++;
	}
	assert_int_equal(tide_rocks_iter_end(it, &err), TIDE_OK);
	return count;
}

static void scan_sees_its_range_in_order(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("scan", false);
	apply(db, large("v"));
	assert_int_equal(count_range(db, "s", "t"), LARGE);
	assert_int_equal(count_range(db, "s00010", "s00020"), 10);
	assert_int_equal(count_range(db, "t", "u"), 0);
	struct tide_writes *writes = tide_writes_new();
	tide_writes_delete_range(writes, slice("s00005"), slice("s00100"));
	put(writes, "s00050", "after");
	apply(db, writes);
	assert_int_equal(count_range(db, "s", "t"), LARGE - 95 + 1);
	assert_string_equal(get(db, "s00050"), "after");
	tide_rocks_close(db);
}

/* This program once more, as one of the children below: a fork would take
 * RocksDB's locks along without the threads that hold them. */
static int run_child(const char *name, const char *argument)
{
	pid_t child;
	int status;
	char *argv[] = { (char *)(uintptr_t) "test_rocks", (char *)(uintptr_t)name, root,
		         (char *)(uintptr_t)argument, NULL };
	extern char **environ;
	assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static int child_order(int round)
{
	char name[32];
	snprintf(name, sizeof name, "order%d", round);
	struct tide_rocks *db = open_at(name, false);
	apply(db, small("s00001", "small0"));
	apply(db, large("large1"));
	if (round >= 1)
		apply(db, small("s00001", "small2"));
	if (round >= 2)
		apply(db, large("large3"));
	if (round >= 3)
		apply(db, small("s00001", "small4"));
	return kill(getpid(), SIGKILL);
}

/* The log of writes and ingested files take turns; then a kill, and all must
 * be as the last writer left it, whatever is replayed. */
static void batches_and_files_keep_their_order_over_a_kill(void **state)
{
	(void)state;
	for (int round = 0; round < 4; round++) {
		char name[32];
		const char *newest[] = { "large1", "small2", "large3", "small4" };
		snprintf(name, sizeof name, "order%d", round);
		int status = run_child("order", name + strlen("order"));
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		struct tide_rocks *db = open_at(name, false);
		assert_string_equal(get(db, "s00001"), newest[round]);
		assert_string_equal(get(db, "meta"), newest[round]);
		assert_string_equal(get(db, "s00002"), round < 2 ? "large1" : "large3");
		assert_int_equal(count_range(db, "s", "t"), LARGE);
		tide_rocks_close(db);
	}
}

static void many_large_sets_in_a_row_end_as_the_last(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("pile", false);
	for (int i = 0; i < 24; i++) {
		char value[16];
		snprintf(value, sizeof value, "v%d", i);
		apply(db, large(value));
	}
	assert_string_equal(get(db, "s00007"), "v23");
	assert_int_equal(count_range(db, "s", "t"), LARGE);
	tide_rocks_close(db);
}

static void later_sets_win_in_both_ways(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("sets", false);
	for (int round = 0; round < 2; round++) {
		struct tide_writes *sets[3] = { round == 0 ? tide_writes_new() : large("one"),
			                        tide_writes_new(), tide_writes_new() };
		put(sets[0], "s00003", "one");
		put(sets[1], "s00003", "two");
		tide_writes_delete(sets[2], slice("s00003"));
		put(sets[1], "s00004", "two");
		put(sets[2], "s00005", "three");
		put(sets[2], "s00004", "three");
		put(sets[2], "s00004", "four");
		assert_int_equal(tide_rocks_apply(db, sets, 3, &err), TIDE_OK);
		assert_string_equal(get(db, "s00003"), "");
		assert_string_equal(get(db, "s00004"), "four");
		assert_string_equal(get(db, "s00005"), "three");
		for (int i = 0; i < 3; i++)
			tide_writes_free(sets[i]);
	}
	assert_int_equal(count_range(db, "s", "t"), LARGE - 1);
	tide_rocks_close(db);
}

/* Random sets, merged, against a plain array of what should win. */
static void merge_equals_a_plain_model(void **state)
{
	(void)state;
	unsigned seed =
		getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : (unsigned)time(NULL);
	print_message("SEED=%u\n", seed);
	for (int round = 0; round < 300; round++) {
		struct tide_writes *sets[4];
		char want[40][32] = { { 0 } };
		int count = 1 + rand_r(&seed) % 4;
		for (int s = 0; s < count; s++) {
			bool ordered = rand_r(&seed) % 2 == 0;
			sets[s] = tide_writes_new();
			for (int i = 0, at = 0; i < 30; i++) {
				char key[32], value[32];
				at = ordered ? at + 1 + rand_r(&seed) % 3 : rand_r(&seed) % 40;
				if (at >= 40)
					break;
				snprintf(key, sizeof key, "%02d", at);
				snprintf(value, sizeof value, "%d.%d", s, i);
				bool gone = rand_r(&seed) % 5 == 0;
				if (gone)
					tide_writes_delete(sets[s], slice(key));
				else
					put(sets[s], key, value);
				snprintf(want[at], sizeof want[at], "%s", gone ? "-" : value);
			}
		}
		struct tide_write w;
		struct tide_writes_merge *merge = tide_writes_merge_new(sets, count);
		for (int at = 0; at < 40; at++) {
			if (want[at][0] == 0)
				continue;
			assert_true(tide_writes_merge_next(merge, &w));
			assert_int_equal((w.key.p[0] - '0') * 10 + w.key.p[1] - '0', at);
			assert_int_equal(w.kind == TIDE_WRITE_DELETE, want[at][0] == '-');
			if (w.kind == TIDE_WRITE_PUT)
				assert_memory_equal(w.value.p, want[at], w.value.len);
		}
		assert_false(tide_writes_merge_next(merge, &w));
		tide_writes_merge_free(merge);
		for (int s = 0; s < count; s++)
			tide_writes_free(sets[s]);
	}
}

static int names_in(const char *dir, const char *prefix)
{
	int count = 0;
	DIR *d = opendir(dir);
	assert_non_null(d);
	for (struct dirent *item; (item = readdir(d)) != NULL;)
		count += strncmp(item->d_name, prefix, strlen(prefix)) == 0;
	closedir(d);
	return count;
}

static void reader_sees_a_running_database_and_leaves_no_trace(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("reader", false);
	apply(db, small("a", "1"));
	apply(db, large("v"));
	apply(db, small("a", "2"));
	int logs = names_in(path_of("reader"), "LOG");
	struct tide_rocks *reader = open_at("reader", true);
	assert_string_equal(get(reader, "a"), "2");
	assert_int_equal(count_range(reader, "s", "t"), LARGE);
	tide_rocks_close(reader);
	assert_int_equal(names_in(path_of("reader"), "LOG"), logs);
	apply(db, small("a", "3"));
	tide_rocks_close(db);
}

static void absent_database_is_not_made_by_accident(void **state)
{
	(void)state;
	struct tide_rocks *db = NULL;
	struct tide_rocks_options options = { 0 };
	assert_int_equal(tide_rocks_open(path_of("none"), &options, &db, &err),
	                 TIDE_ERR_CHECKPOINT);
	assert_non_null(strstr(err.text, path_of("none")));
	options.read_only = true;
	assert_int_equal(tide_rocks_open(path_of("none"), &options, &db, &err),
	                 TIDE_ERR_CHECKPOINT);
	assert_null(db);
}

static int child_broken(void)
{
	struct tide_rocks *db = open_at("broken", false);
	apply(db, large("one"));
	struct tide_writes *two = large("two"), *three = small("s00001", "three");
	int failed = tide_rocks_apply(db, &two, 1, &err);
	int refused = tide_rocks_apply(db, &three, 1, &err);
	tide_writes_free(two);
	tide_writes_free(three);
	tide_rocks_close(db);
	return failed == TIDE_ERR_IO && refused == TIDE_ERR_IO ? 0 : 1;
}

/* A failed ingest: nothing of the set is there, and nothing more is taken until
 * the database has been opened again. */
static void nothing_is_written_after_an_error(void **state)
{
	(void)state;
#ifndef TIDE_FAILPOINTS
	skip();
#endif
	setenv("TIDEMARK_FAILPOINT", "ingest=io@2", 1);
	int status = run_child("broken", "");
	unsetenv("TIDEMARK_FAILPOINT");
	assert_int_equal(status, 0);
	struct tide_rocks *db = open_at("broken", false);
	assert_string_equal(get(db, "s00001"), "one");
	assert_string_equal(get(db, "meta"), "one");
	tide_rocks_close(db);
	assert_int_equal(names_in(path_of("broken.ingest"), ""), 2); /* . and .. */
}

/* What a kill left half way is swept up by the next start. */
static void files_of_a_killed_ingest_are_removed(void **state)
{
	(void)state;
#ifndef TIDE_FAILPOINTS
	skip();
#endif
	setenv("TIDEMARK_FAILPOINT", "ingest=kill@2", 1);
	int status = run_child("broken", "");
	unsetenv("TIDEMARK_FAILPOINT");
	assert_true(WIFSIGNALED(status));
	assert_true(names_in(path_of("broken.ingest"), "") > 2);
	struct tide_rocks *db = open_at("broken", false);
	assert_string_equal(get(db, "s00001"), "one");
	tide_rocks_close(db);
	assert_int_equal(names_in(path_of("broken.ingest"), ""), 2);
}

/* What goes ahead into files is not there before the rest, and both win over what
 * was there, whatever came in which file. */
static void files_ahead_enter_with_the_rest(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("ahead", false);
	apply(db, large("old"));
	struct tide_writes *sets[] = { large("ahead"), tide_writes_new() };
	assert_int_equal(tide_writes_spill(sets[0], db, &err), TIDE_OK);
	assert_int_equal(tide_writes_bytes(sets[0]), 0);
	put(sets[0], "s00007", "again");
	assert_true(tide_writes_delete(sets[0], slice("s00009")));
	put(sets[0], "t", "behind");
	assert_int_equal(tide_writes_spill(sets[0], db, &err), TIDE_OK);
	put(sets[0], "s00008", "last");
	put(sets[1], "meta", "decided");
	assert_string_equal(get(db, "s00001"), "old");
	assert_string_equal(get(db, "meta"), "old");
	assert_int_equal(tide_rocks_apply(db, sets, 2, &err), TIDE_OK);
	for (int round = 0; round < 2; round++) {
		assert_string_equal(get(db, "s00001"), "ahead");
		assert_string_equal(get(db, "s00007"), "again");
		assert_string_equal(get(db, "s00008"), "last");
		assert_string_equal(get(db, "s00009"), "");
		assert_string_equal(get(db, "t"), "behind");
		assert_string_equal(get(db, "meta"), "decided");
		assert_int_equal(count_range(db, "s", "t"), LARGE - 1);
		tide_rocks_close(db);
		db = open_at("ahead", false);
	}
	tide_rocks_close(db);
	tide_writes_free(sets[0]);
	tide_writes_free(sets[1]);
	assert_int_equal(names_in(path_of("ahead.ingest"), ""), 2);
}

static void files_ahead_of_nothing_go(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("given-up", false);
	apply(db, small("s00001", "old"));
	struct tide_writes *writes = large("new");
	assert_int_equal(tide_writes_spill(writes, db, &err), TIDE_OK);
	assert_true(names_in(path_of("given-up.ingest"), "") > 2);
	tide_writes_free(writes);
	assert_int_equal(names_in(path_of("given-up.ingest"), ""), 2);
	assert_string_equal(get(db, "s00001"), "old");
	tide_rocks_close(db);
}

/* Windows: each epoch has keys behind those of the ones before, and drops the oldest. */
static struct tide_writes *windows(int epoch)
{
	enum { KEPT = 2 };
	struct tide_writes *writes = tide_writes_new();
	char key[32], to[32];
	for (int i = 0; i < LARGE; i++) {
		snprintf(key, sizeof key, "s__%03d-%06d", epoch, i);
		put(writes, key, "value");
	}
	snprintf(to, sizeof to, "s__%03d", epoch - KEPT + 1);
	if (epoch >= KEPT)
		assert_true(tide_writes_drop(writes, slice(to)));
	return writes;
}

static int tables_in(const char *dir)
{
	DIR *d = opendir(dir);
	int count = 0;
	assert_non_null(d);
	for (struct dirent *item; (item = readdir(d)) != NULL;)
		count += strstr(item->d_name, ".sst") != NULL;
	closedir(d);
	return count;
}

static void files_of_what_was_dropped_go_with_it(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("dropped", false);
	for (int epoch = 0; epoch < 10; epoch++)
		apply(db, windows(epoch));
	/* Far fewer than are compacted. */
	assert_in_range(tables_in(path_of("dropped")), 2, 4);
	assert_int_equal(count_range(db, "s__008", "t"), 2 * LARGE);
	tide_rocks_close(db);
	db = open_at("dropped", false);
	assert_int_equal(count_range(db, "s__008", "t"), 2 * LARGE);
	tide_rocks_close(db);
}

/* Each would be a file of its own between those of the changes. */
static void drops_of_large_changes_make_few_files(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("drops", false);
	for (int epoch = 0; epoch < 7; epoch++) {
		struct tide_writes *writes = large("new");
		assert_true(tide_writes_drop(writes, slice("s0_1")));
		apply(db, writes);
	}
	assert_in_range(tables_in(path_of("drops")), 7, 9);
	tide_rocks_close(db);
}

static void what_was_dropped_goes_with_a_small_change(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("behind", false);
	struct tide_writes *writes = tide_writes_new();
	put(writes, "s__000-a", "dropped");
	put(writes, "s__001-a", "kept");
	apply(db, writes);
	writes = large("new");
	assert_true(tide_writes_drop(writes, slice("s__001")));
	apply(db, writes);
	assert_int_equal(count_range(db, "s__", "s__001"), 1);
	apply(db, small("s00001", "newer"));
	assert_int_equal(count_range(db, "s__", "s__001"), 0);
	assert_int_equal(count_range(db, "s__", "s__999"), 1);
	tide_rocks_close(db);
}

static void what_a_crash_leaves_goes_with_the_next_drop(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("left", false);
	apply(db, small("s__000-a", "left"));
	struct tide_writes *writes = large("new");
	assert_true(tide_writes_drop(writes, slice("s__001")));
	apply(db, writes);
	tide_rocks_close(db);
	db = open_at("left", false);
	assert_int_equal(count_range(db, "s__", "t"), 1);
	writes = small("s__002-a", "new");
	assert_true(tide_writes_drop(writes, slice("s__002")));
	apply(db, writes);
	assert_int_equal(count_range(db, "s__", "t"), 1);
	tide_rocks_close(db);
}

static void what_somebody_remembers_is_not_unlinked(void **state)
{
	(void)state;
	struct tide_rocks *db = open_at("remembered", false);
	struct tide_slice key, value;
	for (int epoch = 0; epoch < 2; epoch++)
		apply(db, windows(epoch));
	const struct tide_moment *moment = tide_rocks_moment(db);
	for (int epoch = 2; epoch < 8; epoch++)
		apply(db, windows(epoch));
	int there = 0;
	struct tide_rocks_iter *it = tide_rocks_iter_at(db, moment, slice("s"), slice("t"));
	while (tide_rocks_iter_next(it, &key, &value))
		there++;
	assert_int_equal(tide_rocks_iter_end(it, &err), TIDE_OK);
	assert_int_equal(there, 2 * LARGE);
	tide_rocks_forget(db, moment);
	/* Some are being compacted just then, and go with one of the next. */
	int epoch = 8;
	for (; epoch < 40 && tables_in(path_of("remembered")) > 5; epoch++)
		apply(db, windows(epoch));
	assert_in_range(tables_in(path_of("remembered")), 2, 5);
	char kept[32];
	snprintf(kept, sizeof kept, "s__%03d", epoch - 2);
	assert_int_equal(count_range(db, kept, "t"), 2 * LARGE);
	tide_rocks_close(db);
}

static void version_is_a_number(void **state)
{
	(void)state;
	assert_in_range(tide_rocks_version()[0], '1', '9');
}

int main(int argc, char **argv)
{
	if (argc == 4) {
		snprintf(root, sizeof root, "%s", argv[2]);
		return strcmp(argv[1], "order") == 0 ? child_order(atoi(argv[3])) : child_broken();
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_back),
		cmocka_unit_test(scan_sees_its_range_in_order),
		cmocka_unit_test(batches_and_files_keep_their_order_over_a_kill),
		cmocka_unit_test(many_large_sets_in_a_row_end_as_the_last),
		cmocka_unit_test(later_sets_win_in_both_ways),
		cmocka_unit_test(merge_equals_a_plain_model),
		cmocka_unit_test(reader_sees_a_running_database_and_leaves_no_trace),
		cmocka_unit_test(absent_database_is_not_made_by_accident),
		cmocka_unit_test(nothing_is_written_after_an_error),
		cmocka_unit_test(files_of_a_killed_ingest_are_removed),
		cmocka_unit_test(files_ahead_enter_with_the_rest),
		cmocka_unit_test(files_ahead_of_nothing_go),
		cmocka_unit_test(files_of_what_was_dropped_go_with_it),
		cmocka_unit_test(drops_of_large_changes_make_few_files),
		cmocka_unit_test(what_was_dropped_goes_with_a_small_change),
		cmocka_unit_test(what_a_crash_leaves_goes_with_the_next_drop),
		cmocka_unit_test(what_somebody_remembers_is_not_unlinked),
		cmocka_unit_test(version_is_a_number),
	};
	return cmocka_run_group_tests(tests, root_make, root_remove);
}
