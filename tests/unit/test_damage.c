/* SPDX-License-Identifier: Apache-2.0 */
/* Damage to a checkpoint: flipped bits, cut files, old copies, missing pieces.
 * Each is refused, repaired or harmless; none is silently wrong. TIDE_SWEEP sets
 * how many random damages are tried (300). */
#include "checkpoint_fixture.h"

#include <fcntl.h>
#include <time.h>

enum { FILES_MAX = 64, EPOCHS = 5 };

static unsigned seed;

static uint32_t below(uint32_t n)
{
	return (uint32_t)rand_r(&seed) % n;
}

static char files[FILES_MAX][160];
static int file_count;

static int note_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)at;
	if (type == FTW_F && st->st_size > 0 && file_count < FILES_MAX)
		snprintf(files[file_count++], sizeof files[0], "%s", path);
	return 0;
}

/* In a child, whose kill leaves the newest writes in the log of writes and not
 * in an SST; a clean close before it leaves some of both. */
static int child_build(const char *dir)
{
	struct tide_checkpoint *cp = open_ok(dir, false);
	for (int e = 0; e < EPOCHS; e++) {
		if (decide_next(cp) != TIDE_OK)
			return 1;
		if (e == EPOCHS / 2) {
			tide_checkpoint_close(cp);
			cp = open_ok(dir, false);
		}
	}
	_exit(0);
}

static void build(const char *dir)
{
	assert_int_equal(child_end(child_start("build", dir)), 0);
}

static void damage(const char *path, bool cut)
{
	struct stat st;
	char byte;
	assert_int_equal(stat(path, &st), 0);
	if (cut) {
		assert_int_equal(truncate(path, below((uint32_t)st.st_size)), 0);
		return;
	}
	/* Most of a file's meaning is near its ends. */
	off_t at = below((uint32_t)st.st_size);
	if (below(2) == 0 && st.st_size > 512)
		at = below(2) == 0 ? at % 256 : st.st_size - 1 - at % 256;
	int fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte = (char)(byte ^ (1 << below(8)));
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

enum outcome { REFUSED, UNHARMED, WRONG };

/* Opens, reads all, and decides one more epoch on top. */
static enum outcome judge(const char *dir, const char **why)
{
	struct tide_checkpoint *cp = NULL;
	struct tide_checkpoint_options options = { 0 };
	int rc = tide_checkpoint_open(dir, &options, &cp, &err);
	if (rc != TIDE_OK) {
		if (strstr(err.text, dir) == NULL)
			*why = "the error names no place";
		return *why != NULL ? WRONG : REFUSED;
	}
	*why = difference(cp, &rc);
	if (rc == TIDE_OK && *why == NULL && tide_checkpoint_meta(cp)->epoch != EPOCHS - 1)
		*why = "epoch";
	if (rc == TIDE_OK && *why == NULL && decide_next(cp) == TIDE_OK) {
		*why = difference(cp, &rc);
		if (rc == TIDE_OK && *why == NULL && tide_checkpoint_meta(cp)->epoch != EPOCHS)
			*why = "next epoch";
	}
	tide_checkpoint_close(cp);
	if (rc != TIDE_OK)
		return REFUSED;
	return *why != NULL ? WRONG : UNHARMED;
}

static void no_flipped_bit_or_cut_file_is_silently_wrong(void **state)
{
	(void)state;
	const char *sweep = getenv("TIDE_SWEEP");
	int rounds = sweep != NULL ? atoi(sweep) : 300, counts[3] = { 0 }, wrong = 0;
	char whole[160], hurt[160];
	snprintf(whole, sizeof whole, "%s", path_of("whole"));
	snprintf(hurt, sizeof hurt, "%s", path_of("hurt"));
	build(whole);
	for (int i = 0; i < rounds; i++) {
		const char *why = NULL;
		remove_tree(hurt);
		shell("cp -a %s %s", whole, hurt);
		file_count = 0;
		nftw(hurt, note_file, 16, FTW_PHYS);
		assert_true(file_count > 5);
		/* Every file in turn, first cut and then flipped. */
		const char *file = files[i % file_count];
		bool cut = i / file_count % 2 == 0;
		damage(file, cut);
		enum outcome outcome = judge(hurt, &why);
		counts[outcome]++;
		if (outcome == WRONG) {
			print_message("%s after %s of %s\n", why, cut ? "a cut" : "a flip", file);
			wrong++;
		}
	}
	print_message("%d damages: %d refused, %d harmless or repaired, %d silently wrong\n",
	              rounds, counts[REFUSED], counts[UNHARMED], wrong);
	assert_int_equal(wrong, 0);
	assert_true(counts[REFUSED] > rounds / 10); /* it did meet the damage */
}

/* A checkpoint of three epochs at dir, and its db/ as it was after two. */
static void build_with_past(const char *dir, const char *past)
{
	struct tide_checkpoint *cp = open_ok(dir, false);
	assert_int_equal(decide_next(cp), TIDE_OK);
	assert_int_equal(decide_next(cp), TIDE_OK);
	tide_checkpoint_close(cp);
	shell("cp -a %s/db %s", dir, past);
	cp = open_ok(dir, false);
	assert_int_equal(decide_next(cp), TIDE_OK);
	tide_checkpoint_close(cp);
}

static void database_that_went_back_is_refused(void **state)
{
	(void)state;
	const char *dir = path_of("past"), *past = path_of("past.db");
	build_with_past(dir, past);
	shell("rm -r %s/db%s", dir, "");
	shell("cp -a %s %s/db", past, dir);
	for (int read_only = 0; read_only < 2; read_only++) {
		const char *text = open_refused(dir, read_only, TIDE_ERR_CHECKPOINT);
		assert_says(text, "went back in time");
		assert_says(text, "epoch 2");
		assert_says(text, "ends at epoch 1");
	}
}

static void empty_or_missing_database_is_refused(void **state)
{
	(void)state;
	const char *dir = path_of("empty");
	struct tide_checkpoint *cp = open_ok(dir, false);
	assert_int_equal(decide_next(cp), TIDE_OK);
	tide_checkpoint_close(cp);
	shell("rm -r %s/db", dir, "");
	open_refused(dir, false, TIDE_ERR_CHECKPOINT);
	/* A database that opens well and has nothing in it. */
	struct tide_rocks *rocks = NULL;
	struct tide_rocks_options options = { .create = true };
	char db[160];
	snprintf(db, sizeof db, "%s/db", dir);
	assert_int_equal(tide_rocks_open(db, &options, &rocks, &err), TIDE_OK);
	tide_rocks_close(rocks);
	assert_says(open_refused(dir, false, TIDE_ERR_CHECKPOINT), "opens empty");
	assert_says(err.text, "epoch 0 was decided");
}

static void anchor_read(const char *dir, char slots[2][48])
{
	char path[160];
	snprintf(path, sizeof path, "%s/anchor", dir);
	int fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	memset(slots, 0, 2 * 48);
	for (off_t i = 0; i < 2; i++)
		assert_true(pread(fd, slots[i], 48, i * 4096) >= 0);
	close(fd);
}

/* Another byte than the one that is there. */
static void tear_slot(const char *dir, int64_t slot)
{
	char path[512], byte;
	snprintf(path, sizeof path, "%s/anchor", dir);
	int fd = open(path, O_RDWR);
	off_t at = slot * 4096 + 8;
	assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte = (char)~byte;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void anchor_is_needed_but_one_slot_is_enough(void **state)
{
	(void)state;
	const char *dir = path_of("anchor");
	for (int64_t e = 0; e < 4; e++) {
		struct tide_checkpoint *cp = open_ok(dir, false);
		assert_int_equal(decide_next(cp), TIDE_OK);
		tide_checkpoint_close(cp);
		/* Tear the slot that was written last: decision e + 1. */
		tear_slot(dir, (e + 1) % 2);
		cp = open_ok(dir, false);
		assert_whole(cp, e);
		tide_checkpoint_close(cp);
	}
	shell("cp %s/anchor %s", dir, path_of("anchor.kept"));
	tear_slot(dir, 0);
	tear_slot(dir, 1);
	assert_says(open_refused(dir, false, TIDE_ERR_CHECKPOINT), "anchor is damaged");
	shell("rm %s/anchor%s", dir, "");
	assert_says(open_refused(dir, false, TIDE_ERR_CHECKPOINT), "anchor is missing");
	shell("cp %s %s/anchor", path_of("anchor.kept"), dir);
	struct tide_checkpoint *cp = open_ok(dir, false);
	assert_whole(cp, 3);
	tide_checkpoint_close(cp);
}

/* Within a second nothing is synced, and a loss of power may tear all that was
 * written: so the slot that was certain before takes none of it. */
static void anchor_keeps_its_certain_slot_until_a_sync(void **state)
{
	(void)state;
	const char *dir = path_of("certain");
	char before[2][48], after[2][48];
	time_t begun, ended;
	do {
		remove_tree(dir);
		begun = time(NULL);
		struct tide_checkpoint *cp = open_ok(dir, false);
		anchor_read(dir, before);
		for (int i = 0; i < 3; i++)
			assert_int_equal(decide_next(cp), TIDE_OK);
		anchor_read(dir, after);
		ended = time(NULL);
		tide_checkpoint_close(cp);
	} while (ended != begun); /* it may have been synced: once more */
	assert_memory_equal(before[0], after[0], sizeof before[0]);
	assert_memory_not_equal(before[1], after[1], sizeof before[1]);
	tide_checkpoint_close(open_ok(dir, false));
}

static void pieces_of_two_checkpoints_are_refused(void **state)
{
	(void)state;
	const char *one = path_of("one"), *two = path_of("two");
	for (int i = 0; i < 2; i++) {
		struct tide_checkpoint *cp = open_ok(i == 0 ? one : two, false);
		assert_int_equal(decide_next(cp), TIDE_OK);
		tide_checkpoint_close(cp);
	}
	shell("cp %s/anchor %s/anchor", one, two);
	assert_says(open_refused(two, false, TIDE_ERR_CHECKPOINT), "mixed");
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), tail = strlen(end);
	return len >= tail && strcmp(text + len - tail, end) == 0;
}

/* A byte in the middle of each file of a kind; verify must name the file. */
static void verify_names_the_damaged_file(void **state)
{
	(void)state;
	static const char *const kinds[] = { ".sst", ".rows" };
	struct tide_verify_report report;
	char dir[160];
	for (size_t k = 0; k < 2; k++) {
		int met = 0;
		snprintf(dir, sizeof dir, "%s%s", path_of("verify"), kinds[k]);
		struct tide_checkpoint *cp = open_ok(dir, false);
		assert_int_equal(decide_next(cp), TIDE_OK);
		assert_int_equal(decide_next(cp), TIDE_OK); /* has a segment file */
		tide_checkpoint_close(cp);
		tide_checkpoint_close(open_ok(dir, false)); /* the log becomes an SST */
		assert_verified(dir);
		assert_int_equal(tide_checkpoint_verify(dir, &report, &err), TIDE_OK);
		assert_int_equal(report.state_rows, FIX_KEYS);
		assert_int_equal(report.outbox_rows, 1);
		assert_int_equal(report.epochs, 2);
		assert_true(report.bytes > FIX_LARGE);
		file_count = 0;
		nftw(dir, note_file, 16, FTW_PHYS);
		for (int i = 0; i < file_count; i++) {
			if (!ends_with(files[i], kinds[k]))
				continue;
			met++;
			shell("printf '\\377\\376' | dd of=%s bs=1 seek=40 conv=notrunc "
			      "2>/dev/null%s",
			      files[i], "");
			assert_int_equal(tide_checkpoint_verify(dir, &report, &err),
			                 TIDE_ERR_CHECKPOINT);
			assert_says(err.text, files[i]);
			break;
		}
		assert_int_equal(met, 1);
	}
}

/* The newest epoch again, with what it says of the operator's states. */
static void decide_count(struct tide_checkpoint *cp, uint64_t rows)
{
	struct tide_meta meta;
	assert_true(tide_meta_copy(&meta, tide_checkpoint_meta(cp)));
	struct tide_state_count *count = tide_meta_state(&meta, "count");
	if (count == NULL)
		count = tide_meta_state_add(&meta, "count");
	assert_non_null(count);
	count->rows = rows;
	assert_int_equal(tide_checkpoint_decide(cp, &meta, NULL, 0, NULL, 0, &err), TIDE_OK);
	tide_meta_fini(&meta);
}

static void verify_counts_the_states_again(void **state)
{
	(void)state;
	struct tide_verify_report report;
	char dir[160];
	snprintf(dir, sizeof dir, "%s", path_of("counts"));
	struct tide_checkpoint *cp = open_ok(dir, false);
	assert_int_equal(decide_next(cp), TIDE_OK);
	decide_count(cp, FIX_KEYS);
	assert_int_equal(tide_checkpoint_verify(dir, &report, &err), TIDE_OK);
	decide_count(cp, FIX_KEYS + 1);
	tide_checkpoint_close(cp);
	assert_int_equal(tide_checkpoint_verify(dir, &report, &err), TIDE_ERR_CHECKPOINT);
	assert_says(err.text, "count has 40 states, and the record of epoch 0 says 41");
}

static int begin_all(void **state)
{
	seed = getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : (unsigned)time(NULL);
	print_message("SEED=%u\n", seed);
	return root_make(state);
}

int main(int argc, char **argv)
{
	if (argc == 3)
		return child_build(argv[2]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_flipped_bit_or_cut_file_is_silently_wrong),
		cmocka_unit_test(database_that_went_back_is_refused),
		cmocka_unit_test(empty_or_missing_database_is_refused),
		cmocka_unit_test(anchor_is_needed_but_one_slot_is_enough),
		cmocka_unit_test(anchor_keeps_its_certain_slot_until_a_sync),
		cmocka_unit_test(pieces_of_two_checkpoints_are_refused),
		cmocka_unit_test(verify_names_the_damaged_file),
		cmocka_unit_test(verify_counts_the_states_again),
	};
	return cmocka_run_group_tests(tests, begin_all, root_remove);
}
