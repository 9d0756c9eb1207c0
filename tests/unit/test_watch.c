/* SPDX-License-Identifier: Apache-2.0 */
/* Watching files: every way of saving one is told, once, when it is over. The
 * clock stands still; events are there as soon as the call that causes them
 * returns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/watch.h"

enum { PATHS_MAX = 4, QUIET_MS = 20, WRITING_MS = 300, GONE_MS = 600, LOOK_MS = 1000 };

static char folder[64], came_from[4096];
static struct tide_watch *watch;
static struct tide_error err;
static int64_t now_us;

static int enter(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/tidemark-watch-XXXXXX");
	now_us = 1000000;
	tide_clock_set(now_us);
	return mkdtemp(folder) == NULL || getcwd(came_from, sizeof came_from) == NULL ||
	       chdir(folder) != 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
	(void)info, (void)kind, (void)ftw;
	return remove(path);
}

static int leave(void **state)
{
	(void)state;
	tide_watch_free(watch);
	watch = NULL;
	tide_clock_set(-1);
	return chdir(came_from) != 0 || nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0;
}

static void save(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void move(const char *from, const char *to)
{
	assert_int_equal(rename(from, to), 0);
}

static void point(const char *link, const char *to)
{
	assert_int_equal(symlink(to, link), 0);
}

static void advance(int ms)
{
	now_us += ms * 1000;
	tide_clock_set(now_us);
}

static bool told_after(int ms)
{
	if (tide_watch_wait(watch, 0))
		fail_msg("told before %d ms were over", ms);
	advance(ms);
	return tide_watch_wait(watch, 0);
}

/* Said once, and then no more. */
static void assert_told(void)
{
	assert_true(told_after(QUIET_MS));
	assert_false(tide_watch_busy(watch));
	assert_false(told_after(LOOK_MS));
	assert_false(told_after(LOOK_MS));
}

static void assert_quiet(void)
{
	assert_false(told_after(QUIET_MS));
	assert_false(told_after(LOOK_MS));
	assert_false(told_after(GONE_MS));
}

static void begin(const char *path)
{
	assert_int_equal(tide_watch_new(&path, 1, &watch, &err), TIDE_OK);
	assert_quiet();
}

static void file_that_is_written_in_place_is_told(void **state)
{
	(void)state;
	save("job.lua", "a");
	begin("job.lua");
	save("job.lua", "b");
	assert_told();
	save("job.lua", "b");
	assert_told();
}

static void file_that_is_replaced_is_told_every_time(void **state)
{
	(void)state;
	save("job.lua", "a");
	begin("job.lua");
	for (int i = 0; i < 3; i++) {
		save("job.lua.new", "b");
		assert_quiet();
		move("job.lua.new", "job.lua");
		assert_told();
	}
}

static void editor_that_moves_the_old_file_away_is_told_once(void **state)
{
	(void)state;
	save("job.lua", "a");
	begin("job.lua");
	move("job.lua", "job.lua~");
	assert_false(told_after(QUIET_MS));
	save("job.lua", "b");
	assert_int_equal(unlink("job.lua~"), 0);
	assert_told();
}

static void save_is_over_when_the_file_is_closed(void **state)
{
	(void)state;
	save("job.lua", "a");
	begin("job.lua");
	int fd = open("job.lua", O_WRONLY | O_TRUNC);
	assert_true(fd >= 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(write(fd, "b", 1), 1);
		assert_false(told_after(QUIET_MS));
	}
	close(fd);
	assert_told();
}

static void file_that_stays_open_is_told_after_a_while(void **state)
{
	(void)state;
	save("job.lua", "a");
	begin("job.lua");
	int fd = open("job.lua", O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "b", 1), 1);
	assert_false(told_after(QUIET_MS));
	assert_true(told_after(WRITING_MS));
	close(fd);
	assert_quiet();
}

static void many_saves_in_a_row_are_one(void **state)
{
	(void)state;
	const char *paths[] = { "job.lua", "lib.lua" };
	save("job.lua", "a");
	save("lib.lua", "a");
	assert_int_equal(tide_watch_new(paths, 2, &watch, &err), TIDE_OK);
	for (int i = 0; i < 10; i++) {
		save(paths[i % 2], "b");
		assert_false(told_after(1));
	}
	assert_told();
}

/* What Kubernetes does: files are links through ..data, which is replaced. */
static void config_map_is_told_when_its_data_is_swapped(void **state)
{
	(void)state;
	mkdir("map", 0755);
	mkdir("map/..2024_1", 0755);
	save("map/..2024_1/job.lua", "a");
	point("map/..data", "..2024_1");
	point("map/job.lua", "..data/job.lua");
	begin("map/job.lua");
	for (int i = 2; i < 5; i++) {
		char next[32], file[64];
		snprintf(next, sizeof next, "..2024_%d", i);
		snprintf(file, sizeof file, "map/%s", next);
		mkdir(file, 0755);
		snprintf(file, sizeof file, "map/%s/job.lua", next);
		save(file, "b");
		point("map/..data_tmp", next);
		assert_quiet();
		move("map/..data_tmp", "map/..data");
		assert_told();
	}
	/* The old folder is of no interest any more, the new one is. */
	save("map/..2024_1/job.lua", "c");
	assert_quiet();
	save("map/..2024_4/job.lua", "c");
	assert_told();
}

static void link_to_a_release_is_told_when_it_points_elsewhere(void **state)
{
	(void)state;
	char there[96];
	mkdir("one", 0755);
	mkdir("two", 0755);
	save("one/job.lua", "a");
	save("two/job.lua", "b");
	snprintf(there, sizeof there, "%s/one", folder); /* absolute, once */
	point("current", there);
	begin("current/job.lua");
	point("next", "two");
	move("next", "current");
	assert_told();
	/* The way of `ln -sf`. */
	assert_int_equal(unlink("current"), 0);
	point("current", "one");
	assert_told();
}

static void folder_that_is_replaced_is_told(void **state)
{
	(void)state;
	mkdir("lib", 0755);
	save("lib/dates.lua", "a");
	begin("lib/dates.lua");
	move("lib", "lib.old");
	assert_false(told_after(QUIET_MS));
	mkdir("lib", 0755);
	save("lib/dates.lua", "b");
	assert_told();
	save("lib/dates.lua", "c");
	assert_told();
}

static void file_that_goes_is_told_late_and_told_when_it_comes(void **state)
{
	(void)state;
	save("job.lua", "a");
	begin("job.lua");
	assert_int_equal(unlink("job.lua"), 0);
	assert_false(told_after(QUIET_MS));
	assert_true(told_after(GONE_MS));
	assert_quiet();
	save("job.lua", "a");
	assert_told();
}

static void path_that_is_not_there_is_watched_for(void **state)
{
	(void)state;
	begin("not/yet/job.lua");
	mkdir("not", 0755);
	assert_quiet();
	mkdir("not/yet", 0755);
	assert_quiet();
	save("not/yet/job.lua", "a");
	assert_told();
	save("not/yet/job.lua", "b");
	assert_told();
}

static void other_files_are_of_no_interest(void **state)
{
	(void)state;
	save("job.lua", "a");
	begin("job.lua");
	save("notes.txt", "a");
	save(".job.lua.swp", "a");
	assert_int_equal(unlink("notes.txt"), 0);
	assert_int_equal(chmod("job.lua", 0600), 0);
	int fd = open("job.lua", O_RDONLY);
	close(fd);
	assert_quiet();
}

static void touched_file_is_told(void **state)
{
	(void)state;
	save("job.lua", "a");
	begin("job.lua");
	struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	assert_int_equal(utimensat(AT_FDCWD, "job.lua", times, 0), 0);
	assert_told();
}

static void modules_found_by_a_load_are_watched_from_then_on(void **state)
{
	(void)state;
	const char *paths[] = { "job.lua", "lib.lua" };
	save("job.lua", "a");
	save("lib.lua", "a");
	/* Files' times are coarse: lib.lua was written well before. */
	struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	begin("job.lua");
	assert_int_equal(utimensat(AT_FDCWD, "lib.lua", times, 0), 0);
	save("lib.lua", "b");
	assert_quiet();
	/* Saved after the watch began: whoever loaded it may have read what was before. */
	assert_int_equal(tide_watch_set(watch, paths, 2, &err), TIDE_OK);
	assert_told();
	save("lib.lua", "c");
	assert_told();
	assert_int_equal(tide_watch_set(watch, paths, 1, &err), TIDE_OK);
	save("lib.lua", "d");
	assert_quiet();
}

static void save_between_load_and_set_is_not_lost(void **state)
{
	(void)state;
	const char *path = "job.lua";
	save("job.lua", "a");
	begin("job.lua");
	save("job.lua", "b");
	assert_int_equal(tide_watch_set(watch, &path, 1, &err), TIDE_OK);
	assert_told();
}

static void descriptor_is_readable_when_there_is_something_to_see(void **state)
{
	(void)state;
	save("job.lua", "a");
	begin("job.lua");
	struct pollfd poll_fd = { .fd = tide_watch_fd(watch), .events = POLLIN };
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	save("job.lua", "b");
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
	assert_false(tide_watch_wait(watch, 0));
	assert_true(tide_watch_busy(watch));
	assert_told();
}

static void waiting_ends_with_the_save(void **state)
{
	(void)state;
	save("job.lua", "a");
	begin("job.lua");
	tide_clock_set(-1);
	assert_false(tide_watch_wait(watch, 1));
	save("job.lua", "b");
	assert_true(tide_watch_wait(watch, 60000));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)
	const struct CMUnitTest tests[] = {
		TEST(file_that_is_written_in_place_is_told),
		TEST(file_that_is_replaced_is_told_every_time),
		TEST(editor_that_moves_the_old_file_away_is_told_once),
		TEST(save_is_over_when_the_file_is_closed),
		TEST(file_that_stays_open_is_told_after_a_while),
		TEST(many_saves_in_a_row_are_one),
		TEST(config_map_is_told_when_its_data_is_swapped),
		TEST(link_to_a_release_is_told_when_it_points_elsewhere),
		TEST(folder_that_is_replaced_is_told),
		TEST(file_that_goes_is_told_late_and_told_when_it_comes),
		TEST(path_that_is_not_there_is_watched_for),
		TEST(other_files_are_of_no_interest),
		TEST(touched_file_is_told),
		TEST(modules_found_by_a_load_are_watched_from_then_on),
		TEST(save_between_load_and_set_is_not_lost),
		TEST(descriptor_is_readable_when_there_is_something_to_see),
		TEST(waiting_ends_with_the_save),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
