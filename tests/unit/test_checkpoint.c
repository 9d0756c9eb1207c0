/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint: epochs whole or not at all, whoever else wants the directory,
 * and what is on record. */
#include "checkpoint_fixture.h"

#include <dirent.h>
#include <signal.h>

static void new_checkpoint_has_decided_nothing(void **state)
{
	(void)state;
	const char *dir = path_of("new");
	struct tide_checkpoint *cp = open_ok(dir, false);
	const struct tide_meta *meta = tide_checkpoint_meta(cp);
	uint64_t id = meta->checkpoint_id;
	assert_int_equal(meta->epoch, -1);
	assert_true(id != 0);
	assert_int_equal(meta->watermark_us, INT64_MIN);
	tide_checkpoint_close(cp);
	cp = open_ok(dir, false);
	assert_int_equal(tide_checkpoint_meta(cp)->checkpoint_id, id);
	tide_checkpoint_close(cp);
	struct tide_checkpoint *other = open_ok(path_of("new2"), false);
	assert_true(tide_checkpoint_meta(other)->checkpoint_id != id);
	tide_checkpoint_close(other);
	assert_verified(dir);
}

static void decided_epochs_are_there_after_reopening(void **state)
{
	(void)state;
	const char *dir = path_of("reopen");
	for (int64_t e = 0; e < 8; e++) {
		struct tide_checkpoint *cp = open_ok(dir, false);
		assert_int_equal(decide_next(cp), TIDE_OK);
		assert_whole(cp, e);
		tide_checkpoint_close(cp);
		cp = open_ok(dir, false);
		assert_whole(cp, e);
		assert_int_equal(tide_checkpoint_meta(cp)->decision, (uint64_t)e + 1);
		tide_checkpoint_close(cp);
		assert_verified(dir);
	}
}

static uint64_t digest_of(const char *dir)
{
	struct tide_verify_report report;
	assert_int_equal(tide_checkpoint_verify(dir, &report, &err), TIDE_OK);
	return report.state_digest;
}

/* Two lineages, so that everything but the state differs. */
static void equal_states_have_equal_digests(void **state)
{
	const char *dirs[] = { path_of("digest1"), path_of("digest2") };
	uint64_t before[2];
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct tide_checkpoint *cp = open_ok(dirs[i], false);
		assert_int_equal(decide_next(cp), TIDE_OK);
		tide_checkpoint_close(cp);
		before[i] = digest_of(dirs[i]);
	}
	assert_true(before[0] == before[1] && before[0] != 0);
	struct tide_checkpoint *cp = open_ok(dirs[1], false);
	assert_int_equal(decide_next(cp), TIDE_OK);
	tide_checkpoint_close(cp);
	assert_true(digest_of(dirs[1]) != before[0]);
}

static int files_in(const char *dir)
{
	int count = 0;
	DIR *d = opendir(dir);
	for (struct dirent *item; d != NULL && (item = readdir(d)) != NULL;)
		count += item->d_name[0] != '.';
	if (d != NULL)
		closedir(d);
	return count;
}

/* Child: decides epochs until a fail point ends it; then takes no more. */
static int child_run(const char *dir)
{
	struct tide_checkpoint *cp = open_ok(dir, false);
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < 6; i++)
		rc = decide_next(cp);
	if (rc != TIDE_OK)
		rc = decide_next(cp) == TIDE_ERR_IO ? 9 : 8;
	tide_checkpoint_close(cp);
	return rc;
}

static void every_fail_point_leaves_a_whole_epoch(void **state)
{
	(void)state;
#ifndef TIDE_FAILPOINTS
	skip();
#endif
	/* The newest epoch when the point is hit for the nth time; release needs a
	 * second epoch before there is something to release. */
	static const struct {
		const char *point;
		int64_t newest;
	} cases[] = {
		{ "decide", -2 },
		{ "decided", -1 },
		{ "anchor", -1 },
		{ "release", 0 },
	};
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		for (int hit = 1; hit <= 4; hit++) {
			for (int kills = 0; kills < 2; kills++) {
				char env[64], name[64];
				snprintf(env, sizeof env, "%s=%s@%d", cases[c].point,
				         kills ? "kill" : "io", hit);
				snprintf(name, sizeof name, "fail.%s.%d.%d", cases[c].point, hit,
				         kills);
				const char *dir = path_of(name);
				int64_t newest = hit + cases[c].newest;
				setenv("TIDEMARK_FAILPOINT", env, 1);
				int status = child_end(child_start("run", dir));
				unsetenv("TIDEMARK_FAILPOINT");
				if (kills)
					assert_true(WIFSIGNALED(status) &&
					            WTERMSIG(status) == SIGKILL);
				else
					assert_int_equal(WEXITSTATUS(status), 9);
				struct tide_checkpoint *cp = open_ok(dir, false);
				if (newest < 0)
					newest = -1;
				assert_whole(cp, newest);
				/* Files of an undecided epoch are gone, of a decided one there. */
				assert_int_equal(
					files_in(path_of((snprintf(name, sizeof name,
				                                   "fail.%s.%d.%d/segments",
				                                   cases[c].point, hit, kills),
				                          name))),
					newest % FIX_LARGE_EVERY == 1);
				assert_int_equal(decide_next(cp), TIDE_OK);
				assert_whole(cp, newest + 1);
				tide_checkpoint_close(cp);
				assert_verified(dir);
			}
		}
	}
}

static void second_process_is_refused_by_name_and_pid(void **state)
{
	(void)state;
	const char *dir = path_of("locked");
	char pid[16];
	snprintf(pid, sizeof pid, "process %d", (int)getpid());
	struct tide_checkpoint *cp = open_ok(dir, false);
	int status = child_end(child_start("refused", dir));
	assert_int_equal(WEXITSTATUS(status), 0);
	const char *text = open_refused(dir, false, TIDE_ERR_CHECKPOINT);
	assert_says(text, pid);
	assert_says(text, "test_checkpoint");
	assert_says(text, dir);
	tide_checkpoint_close(cp);
	cp = open_ok(dir, false); /* the lock ended with its holder */
	tide_checkpoint_close(cp);
}

/* Child: is refused, and names its parent. */
static int child_refused(const char *dir)
{
	char pid[16];
	struct tide_checkpoint *cp = NULL;
	struct tide_checkpoint_options options = { 0 };
	snprintf(pid, sizeof pid, "process %d", (int)getppid());
	int rc = tide_checkpoint_open(dir, &options, &cp, &err);
	return rc == TIDE_ERR_CHECKPOINT && strstr(err.text, pid) != NULL ? 0 : 1;
}

static void foreign_directory_is_not_touched(void **state)
{
	(void)state;
	const char *spark = path_of("spark");
	shell("mkdir -p %s/offsets %s/commits", spark, spark);
	shell("touch %s/metadata", spark, "");
	assert_says(open_refused(spark, false, TIDE_ERR_CHECKPOINT), "Spark");
	assert_says(err.text, spark);
	assert_says(open_refused(spark, true, TIDE_ERR_CHECKPOINT), "Spark");
	assert_int_equal(files_in(spark), 3);
	const char *other = path_of("other");
	shell("mkdir %s && touch %s/photo.jpg", other, other);
	assert_says(open_refused(other, false, TIDE_ERR_CHECKPOINT), "photo.jpg");
	assert_int_equal(files_in(other), 1);
	const char *volume = path_of("volume"); /* a fresh mount is as good as empty */
	shell("mkdir -p %s/lost+found", volume, "");
	tide_checkpoint_close(open_ok(volume, false));
}

static void unknown_format_is_refused(void **state)
{
	(void)state;
	const char *dir = path_of("format");
	tide_checkpoint_close(open_ok(dir, false));
	shell("echo 'tidemark checkpoint format 7' > %s/FORMAT", dir, "");
	assert_says(open_refused(dir, false, TIDE_ERR_CHECKPOINT), "format 7");
	assert_says(open_refused(dir, true, TIDE_ERR_CHECKPOINT), "format 7");
	shell("echo nonsense > %s/FORMAT", dir, "");
	assert_says(open_refused(dir, false, TIDE_ERR_CHECKPOINT), "FORMAT");
	shell("rm %s/FORMAT", dir, "");
	assert_says(open_refused(dir, false, TIDE_ERR_CHECKPOINT), "no file FORMAT");
}

static void unusable_path_is_named_with_its_cure(void **state)
{
	(void)state;
	const char *text = open_refused(path_of("no/such/parent"), false, TIDE_ERR_IO);
	assert_says(text, "no/such/parent");
	assert_says(text, "mkdir");
	shell("touch %s", path_of("file"), "");
	assert_says(open_refused(path_of("file"), false, TIDE_ERR_IO), "--checkpoint-dir");
	open_refused(path_of("nothing"), true, TIDE_ERR_CHECKPOINT);
	assert_int_not_equal(access(path_of("nothing"), F_OK), 0);
	shell("mkdir -m 555 %s", path_of("sealed"), "");
	int status = child_end(child_start("sealed", path_of("sealed")));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(files_in(path_of("sealed")), 0);
}

/* Child: not as root, who may write everywhere. */
static int child_sealed(const char *dir)
{
	struct tide_checkpoint *cp = NULL;
	struct tide_checkpoint_options options = { 0 };
	if (geteuid() == 0 && setuid(65534) != 0)
		return 1;
	int rc = tide_checkpoint_open(dir, &options, &cp, &err);
	return rc == TIDE_ERR_IO && strstr(err.text, "chmod -R 755") != NULL &&
	                       strstr(err.text, dir) != NULL
	               ? 0
	               : 2;
}

static void reader_sees_what_the_running_job_has_decided(void **state)
{
	(void)state;
	const char *dir = path_of("reader");
	struct tide_checkpoint *cp = open_ok(dir, false);
	for (int64_t e = 0; e < 5; e++) {
		assert_int_equal(decide_next(cp), TIDE_OK);
		struct tide_checkpoint *reader = open_ok(dir, true);
		assert_whole(reader, e);
		tide_checkpoint_close(reader);
		assert_verified(dir);
	}
	tide_checkpoint_close(cp);
}

/* `offsets reset`: positions under a new epoch, no state; and again. */
static void offsets_can_be_reset_twice(void **state)
{
	(void)state;
	const char *dir = path_of("reset");
	struct tide_checkpoint *cp = open_ok(dir, false);
	assert_int_equal(decide_next(cp), TIDE_OK);
	for (int i = 1; i <= 2; i++) {
		struct tide_meta meta;
		assert_true(tide_meta_copy(&meta, tide_checkpoint_meta(cp)));
		meta.epoch++;
		struct tide_position *at = tide_meta_position(&meta, "events", 0);
		at->from = at->next = FIX_RESET * i;
		at->print_offset = -1;
		assert_int_equal(tide_checkpoint_decide(cp, &meta, NULL, 0, NULL, 0, &err),
		                 TIDE_OK);
		tide_meta_fini(&meta);
		tide_checkpoint_close(cp);
		cp = open_ok(dir, false);
		assert_int_equal(tide_checkpoint_meta(cp)->epoch, i);
		assert_int_equal(tide_checkpoint_meta(cp)->positions[0].next, FIX_RESET * i);
		assert_int_equal(tide_checkpoint_meta(cp)->positions[0].print_offset, -1);
	}
	tide_checkpoint_close(cp);
	assert_verified(dir);
}

static void epoch_can_be_decided_again_but_not_skipped(void **state)
{
	(void)state;
	const char *dir = path_of("again");
	struct tide_meta meta;
	struct tide_buf rows = { 0 };
	bool found;
	struct tide_checkpoint *cp = open_ok(dir, false);
	assert_int_equal(decide_next(cp), TIDE_OK);
	assert_int_equal(decide_next(cp), TIDE_OK);
	assert_true(tide_meta_copy(&meta, tide_checkpoint_meta(cp)));
	/* A clean stop: the sink's last epoch is published, so its rows go. */
	tide_meta_sink(&meta, "out")->acked = 1;
	assert_int_equal(tide_checkpoint_decide(cp, &meta, NULL, 0, NULL, 0, &err), TIDE_OK);
	assert_int_equal(tide_checkpoint_outbox(cp, "out", 1, &rows, &found, &err), TIDE_OK);
	assert_false(found);
	assert_int_equal(files_in(path_of("again/segments")), 0);
	meta.epoch = 3;
	assert_int_equal(tide_checkpoint_decide(cp, &meta, NULL, 0, NULL, 0, &err),
	                 TIDE_ERR_FAILED);
	meta.epoch = 0;
	assert_int_equal(tide_checkpoint_decide(cp, &meta, NULL, 0, NULL, 0, &err),
	                 TIDE_ERR_FAILED);
	tide_checkpoint_close(cp);
	cp = open_ok(dir, false);
	assert_int_equal(tide_checkpoint_meta(cp)->epoch, 1);
	assert_int_equal(tide_checkpoint_meta(cp)->decision, 3);
	assert_int_equal(tide_checkpoint_meta(cp)->sinks[0].acked, 1);
	tide_checkpoint_close(cp);
	tide_meta_fini(&meta);
	tide_buf_fini(&rows);
}

static void sink_with_unpublished_rows_cannot_be_removed(void **state)
{
	(void)state;
	struct tide_checkpoint *cp = open_ok(path_of("removed"), false);
	struct tide_meta meta;
	assert_int_equal(decide_next(cp), TIDE_OK);
	assert_true(tide_meta_copy(&meta, tide_checkpoint_meta(cp)));
	free(meta.sinks[0].name);
	meta.sink_count = 0;
	assert_int_equal(tide_checkpoint_decide(cp, &meta, NULL, 0, NULL, 0, &err),
	                 TIDE_ERR_CHECKPOINT);
	assert_says(err.text, "out");
	tide_meta_fini(&meta);
	tide_checkpoint_close(cp);
}

struct seen {
	int64_t first, last;
	int count;
};

static bool see(const struct tide_meta *meta, void *arg)
{
	struct seen *seen = arg;
	if (seen->count++ == 0)
		seen->first = meta->epoch;
	else
		assert_int_equal(meta->epoch, seen->last + 1);
	seen->last = meta->epoch;
	assert_int_equal(meta->positions[0].next, (meta->epoch + 1) * 10);
	assert_int_equal(meta->positions[0].from, meta->epoch * 10);
	return true;
}

static void history_keeps_the_newest_epochs(void **state)
{
	(void)state;
	struct seen seen = { 0 };
	struct tide_checkpoint *cp = open_ok(path_of("history"), false);
	for (int i = 0; i < TIDE_EPOCHS_KEPT + 7; i++)
		assert_int_equal(decide_next(cp), TIDE_OK);
	assert_int_equal(tide_checkpoint_history(cp, see, &seen, &err), TIDE_OK);
	assert_int_equal(seen.count, TIDE_EPOCHS_KEPT);
	assert_int_equal(seen.first, 7);
	assert_int_equal(seen.last, TIDE_EPOCHS_KEPT + 6);
	tide_checkpoint_close(cp);
}

static void operators_keep_their_numbers(void **state)
{
	(void)state;
	const char *dir = path_of("ops");
	struct tide_state_op a, b, again;
	struct tide_checkpoint *cp = open_ok(dir, false);
	assert_int_equal(decide_next(cp), TIDE_OK); /* "count" */
	assert_int_equal(tide_checkpoint_op(cp, "a", false, &a, &err), TIDE_OK);
	assert_int_equal(decide_next(cp), TIDE_OK);
	assert_int_equal(tide_checkpoint_op(cp, "undecided", false, &b, &err), TIDE_OK);
	assert_int_not_equal(a.number, b.number);
	tide_checkpoint_close(cp);
	cp = open_ok(dir, false);
	assert_int_equal(tide_checkpoint_op(cp, "b", false, &b, &err), TIDE_OK);
	assert_int_equal(tide_checkpoint_op(cp, "a", false, &again, &err), TIDE_OK);
	assert_int_equal(again.number, a.number);
	assert_int_not_equal(a.number, b.number);
	tide_checkpoint_close(cp);
}

int main(int argc, char **argv)
{
	if (argc == 3) {
		if (strcmp(argv[1], "run") == 0)
			return child_run(argv[2]);
		return strcmp(argv[1], "refused") == 0 ? child_refused(argv[2])
		                                       : child_sealed(argv[2]);
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_checkpoint_has_decided_nothing),
		cmocka_unit_test(decided_epochs_are_there_after_reopening),
		cmocka_unit_test(equal_states_have_equal_digests),
		cmocka_unit_test(every_fail_point_leaves_a_whole_epoch),
		cmocka_unit_test(second_process_is_refused_by_name_and_pid),
		cmocka_unit_test(foreign_directory_is_not_touched),
		cmocka_unit_test(unknown_format_is_refused),
		cmocka_unit_test(unusable_path_is_named_with_its_cure),
		cmocka_unit_test(reader_sees_what_the_running_job_has_decided),
		cmocka_unit_test(offsets_can_be_reset_twice),
		cmocka_unit_test(epoch_can_be_decided_again_but_not_skipped),
		cmocka_unit_test(sink_with_unpublished_rows_cannot_be_removed),
		cmocka_unit_test(history_keeps_the_newest_epochs),
		cmocka_unit_test(operators_keep_their_numbers),
	};
	return cmocka_run_group_tests(tests, root_make, root_remove);
}
