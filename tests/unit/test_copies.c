/* SPDX-License-Identifier: Apache-2.0 */
/* Kept copies: each is a checkpoint by itself, names what is damaged in it, and can
 * be gone back to. */
#include "checkpoint_fixture.h"

#include <fcntl.h>

#include "checkpoint/kept.h"

static struct tide_kept make_ok(const char *dir, struct tide_checkpoint *cp, int most)
{
	struct tide_kept kept;
	if (tide_kept_make(dir, tide_checkpoint_rocks(cp), most, &kept, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	return kept;
}

static int count_of(const char *dir)
{
	struct tide_kept *list;
	int count;
	assert_int_equal(tide_kept_list(dir, &list, &count, &err), TIDE_OK);
	for (int i = 0; i < count; i++) {
		assert_true(list[i].epoch >= 0);
		assert_true(i == 0 || list[i].epoch > list[i - 1].epoch);
	}
	free(list);
	return count;
}

static const char *copy_path(const char *dir, const struct tide_kept *kept)
{
	static char path[256];
	snprintf(path, sizeof path, "%.100s/copies/%.47s", dir, kept->name);
	return path;
}

static void copy_is_a_whole_checkpoint_while_the_job_goes_on(void **state)
{
	(void)state;
	char dir[160];
	struct tide_kept kept[8];
	snprintf(dir, sizeof dir, "%s", path_of("copies"));
	struct tide_checkpoint *cp = open_ok(dir, false);
	assert_int_equal(tide_kept_make(dir, tide_checkpoint_rocks(cp), 3, &kept[0], &err),
	                 TIDE_ERR_USAGE); /* nothing is decided */
	for (int e = 0; e < 5; e++) {
		assert_int_equal(decide_next(cp), TIDE_OK);
		kept[e] = make_ok(dir, cp, 8);
		assert_int_equal(kept[e].epoch, e);
	}
	make_ok(dir, cp, 8); /* again: of this decision there is one */
	assert_int_equal(count_of(dir), 5);
	for (int e = 0; e < 5; e++) {
		if (tide_kept_verify(dir, kept[e].name, &err) != TIDE_OK)
			fail_msg("%s", err.text);
		struct tide_checkpoint *copy = open_ok(copy_path(dir, &kept[e]), true);
		assert_whole(copy, e);
		tide_checkpoint_close(copy);
		assert_verified(copy_path(dir, &kept[e]));
	}
	assert_int_equal(decide_next(cp), TIDE_OK);
	make_ok(dir, cp, 3);
	assert_int_equal(count_of(dir), 3);
	assert_whole(cp, 5);
	tide_checkpoint_close(cp);
}

static void restore_goes_back_and_on(void **state)
{
	(void)state;
	char dir[160], mark[200];
	struct tide_kept kept[2];
	snprintf(dir, sizeof dir, "%s", path_of("restore"));
	struct tide_checkpoint *cp = open_ok(dir, false);
	for (int e = 0; e < 6; e++) {
		assert_int_equal(decide_next(cp), TIDE_OK);
		if (e == 1 || e == 4) /* with rows in a file of their own, both */
			kept[e / 4] = make_ok(dir, cp, 3);
	}
	assert_int_equal(tide_kept_restore(dir, kept[0].name, &err), TIDE_ERR_CHECKPOINT);
	assert_says(err.text, "in use");
	tide_checkpoint_close(cp);
	for (int i = 1; i >= 0; i--) {
		int64_t epoch = i == 0 ? 1 : 4;
		if (tide_kept_restore(dir, kept[i].name, &err) != TIDE_OK)
			fail_msg("%s", err.text);
		cp = open_ok(dir, false);
		assert_whole(cp, epoch);
		assert_int_equal(decide_next(cp), TIDE_OK);
		assert_whole(cp, epoch + 1);
		tide_checkpoint_close(cp);
		assert_verified(dir);
		assert_int_equal(tide_kept_verify(dir, kept[i].name, &err), TIDE_OK);
	}
	/* One that was cut short: nobody opens it, and it is done again. */
	snprintf(mark, sizeof mark, "%s/RESTORING", dir);
	shell("rm -rf %s/db && echo x > %s", dir, mark);
	assert_says(open_refused(dir, false, TIDE_ERR_CHECKPOINT), "restore");
	assert_says(open_refused(dir, true, TIDE_ERR_CHECKPOINT), "replaced");
	assert_int_equal(tide_kept_restore(dir, kept[1].name, &err), TIDE_OK);
	cp = open_ok(dir, false);
	assert_whole(cp, 4);
	tide_checkpoint_close(cp);
}

static char names[64][256];
static int name_count;

static int note_name(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)at;
	if (type == FTW_F && st->st_size > 0 && name_count < 64)
		snprintf(names[name_count++], sizeof names[0], "%s", path);
	return 0;
}

static void damage_of_any_file_is_named_and_not_restored(void **state)
{
	(void)state;
	char dir[160];
	snprintf(dir, sizeof dir, "%s", path_of("named"));
	struct tide_checkpoint *cp = open_ok(dir, false);
	for (int e = 0; e < 5; e++)
		assert_int_equal(decide_next(cp), TIDE_OK);
	struct tide_kept kept = make_ok(dir, cp, 3);
	tide_checkpoint_close(cp);
	nftw(copy_path(dir, &kept), note_name, 16, FTW_PHYS);
	assert_int_equal(name_count, (int)kept.files + 1);
	for (int i = 0; i < name_count; i++) {
		char byte;
		struct stat st;
		assert_int_equal(stat(names[i], &st), 0);
		int fd = open(names[i], O_RDWR);
		assert_true(fd >= 0);
		for (int flip = 0; flip < 2; flip++) { /* there, and back */
			assert_int_equal(pread(fd, &byte, 1, st.st_size / 2), 1);
			byte = (char)(byte ^ 16);
			assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 2), 1);
			if (flip > 0)
				break;
			assert_int_equal(tide_kept_verify(dir, kept.name, &err),
			                 TIDE_ERR_CHECKPOINT);
			assert_says(err.text, names[i]);
			assert_int_equal(tide_kept_restore(dir, kept.name, &err),
			                 TIDE_ERR_CHECKPOINT);
		}
		close(fd);
		assert_int_equal(tide_kept_verify(dir, kept.name, &err), TIDE_OK);
	}
	shell("rm %s%s", names[0], "");
	assert_int_equal(tide_kept_verify(dir, kept.name, &err) != TIDE_OK, 1);
	assert_says(err.text, names[0]);
	assert_int_equal(tide_kept_verify(dir, "000000000099-000000000099", &err), TIDE_ERR_USAGE);
	assert_int_equal(tide_kept_verify(dir, "../copies", &err), TIDE_ERR_USAGE);
	assert_verified(dir); /* the checkpoint itself was not touched */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copy_is_a_whole_checkpoint_while_the_job_goes_on),
		cmocka_unit_test(restore_goes_back_and_on),
		cmocka_unit_test(damage_of_any_file_is_named_and_not_restored),
	};
	return cmocka_run_group_tests(tests, root_make, root_remove);
}
