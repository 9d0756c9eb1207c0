/* SPDX-License-Identifier: Apache-2.0 */
/* The past of a checkpoint: each of its newest epochs as it was, whatever became of
 * it, as far back as was asked for and no further than its size allows. */
#include "checkpoint_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "checkpoint/copy.h"
#include "checkpoint/past.h"

/* So many fit into a batch; more than that enter as files. */
enum { MANY = 10000, FILES = 20000, BYTES = 64 << 20 };

#ifdef __SANITIZE_THREAD__
/* RocksDB counts who still reads with atomics that TSan does not see: what it frees, it
 * may. Races between two lines of ours are still told. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:librocksdb.so\n";
}
#endif

static struct tide_checkpoint *open_with(const char *dir, struct tide_past *past)
{
	struct tide_checkpoint *cp = NULL;
	struct tide_checkpoint_options options = { .past = past };
	if (tide_checkpoint_open(dir, &options, &cp, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	return cp;
}

static void decide_to(struct tide_checkpoint *cp, int64_t epoch)
{
	while (tide_checkpoint_meta(cp)->epoch < epoch)
		assert_int_equal(decide_next(cp), TIDE_OK);
}

/* What is kept of so many epochs before, as a checkpoint of its own. */
static int64_t plant(struct tide_past *past, int epochs, const char *dir)
{
	struct tide_buf meta = { 0 }, state = { 0 };
	int64_t epoch = -2, newest = -2;
	if (tide_past_copy(past, epochs, BYTES, &epoch, &newest, &meta, &state, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	if (tide_checkpoint_plant(dir, (struct tide_slice){ meta.p, meta.len },
	                          (struct tide_slice){ state.p, state.len }, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	tide_buf_fini(&meta);
	tide_buf_fini(&state);
	return epoch;
}

/* The epoch that its states are of. */
static int64_t states_of(const char *dir, int64_t epoch)
{
	struct tide_checkpoint *cp = open_ok(dir, true);
	struct tide_state_op op;
	struct tide_buf key = { 0 }, value = { 0 };
	int64_t seen = -1;
	bool found;
	assert_int_equal(tide_checkpoint_meta(cp)->epoch, epoch);
	assert_int_equal(tide_checkpoint_meta(cp)->positions[0].next, (epoch + 1) * 10);
	assert_int_equal(tide_checkpoint_op(cp, "count", false, &op, &err), TIDE_OK);
	for (int i = 0; i < FIX_KEYS; i++) {
		state_key_of(&key, op, i);
		assert_int_equal(tide_rocks_get(tide_checkpoint_rocks(cp),
		                                (struct tide_slice){ key.p, key.len }, &value,
		                                &found, &err),
		                 TIDE_OK);
		assert_true(found);
		assert_int_equal(value.len, 8);
		assert_true(i == 0 || memcmp(value.p, &seen, 8) == 0);
		memcpy(&seen, value.p, 8);
	}
	tide_buf_fini(&key);
	tide_buf_fini(&value);
	tide_checkpoint_close(cp);
	return seen;
}

static int copy_status(struct tide_past *past, int epochs, size_t bytes_max)
{
	struct tide_buf meta = { 0 }, state = { 0 };
	int64_t epoch, newest;
	int rc = tide_past_copy(past, epochs, bytes_max, &epoch, &newest, &meta, &state, &err);
	tide_buf_fini(&meta);
	tide_buf_fini(&state);
	return rc;
}

static void each_of_the_newest_epochs_is_there_as_it_was(void **state)
{
	(void)state;
	struct tide_past *past = tide_past_new(6, BYTES);
	struct tide_checkpoint *cp = open_with(path_of("each"), past);
	decide_to(cp, 20);
	for (int back = 1; back <= 6; back++) {
		char name[32];
		snprintf(name, sizeof name, "each-%d", back);
		assert_int_equal(plant(past, back, path_of(name)), 20 - back);
		assert_int_equal(states_of(path_of(name), 20 - back), 20 - back);
	}
	/* No more than it was made for. */
	assert_int_equal(plant(past, 7, path_of("each-7")), 14);
	tide_checkpoint_close(cp);
	tide_past_free(past);
}

static void an_epoch_that_is_decided_again_counts_once(void **state)
{
	(void)state;
	struct tide_past *past = tide_past_new(2, BYTES);
	struct tide_checkpoint *cp = open_with(path_of("again"), past);
	decide_to(cp, 3);
	for (int i = 0; i < 5; i++) {
		struct tide_meta meta;
		assert_true(tide_meta_copy(&meta, tide_checkpoint_meta(cp)));
		assert_int_equal(tide_checkpoint_decide(cp, &meta, NULL, 0, NULL, 0, &err),
		                 TIDE_OK);
		tide_meta_fini(&meta);
	}
	assert_int_equal(plant(past, 2, path_of("again-2")), 1);
	assert_int_equal(states_of(path_of("again-2"), 1), 1);
	tide_checkpoint_close(cp);
	tide_past_free(past);
}

static void a_checkpoint_that_opens_has_no_past(void **state)
{
	(void)state;
	const char *dir = path_of("opens");
	struct tide_past *past = tide_past_new(6, BYTES);
	struct tide_checkpoint *cp = open_with(dir, past);
	assert_int_equal(copy_status(past, 1, BYTES), TIDE_ERR_UNAVAILABLE);
	decide_to(cp, 4);
	assert_int_equal(copy_status(past, 1, BYTES), TIDE_OK);
	assert_int_equal(copy_status(past, 1, 100), TIDE_ERR_USAGE);
	assert_says(err.text, "larger than");
	tide_checkpoint_close(cp);
	assert_int_equal(copy_status(past, 1, BYTES), TIDE_ERR_UNAVAILABLE);
	cp = open_with(dir, past);
	assert_int_equal(copy_status(past, 1, BYTES), TIDE_ERR_UNAVAILABLE);
	decide_to(cp, 5);
	assert_int_equal(plant(past, 6, path_of("opens-6")), 4);
	tide_checkpoint_close(cp);
	tide_past_free(past);
}

static void decide_much(struct tide_checkpoint *cp, int64_t epoch, int count)
{
	struct tide_state_op op;
	struct tide_meta meta;
	struct tide_buf key = { 0 };
	char value[256];
	memset(value, (int)epoch, sizeof value);
	assert_int_equal(tide_checkpoint_op(cp, "much", false, &op, &err), TIDE_OK);
	assert_true(tide_meta_copy(&meta, tide_checkpoint_meta(cp)));
	meta.epoch = epoch;
	struct tide_writes *writes = tide_writes_new();
	for (int i = 0; i < count; i++) {
		state_key_of(&key, op, i);
		assert_true(tide_writes_put(writes, (struct tide_slice){ key.p, key.len },
		                            (struct tide_slice){ value, sizeof value }));
	}
	assert_int_equal(tide_checkpoint_decide(cp, &meta, &writes, 1, NULL, 0, &err), TIDE_OK);
	tide_buf_fini(&key);
	tide_writes_free(writes);
	tide_meta_fini(&meta);
}

static bool all_are(struct tide_past *past, int back, int64_t epoch, int many)
{
	struct tide_buf meta = { 0 }, state = { 0 };
	int64_t found, newest;
	char last = 0;
	assert_int_equal(tide_past_copy(past, back, BYTES, &found, &newest, &meta, &state, &err),
	                 TIDE_OK);
	struct tide_reader in = tide_reader_of(state.p, state.len);
	bool same = found == epoch;
	int count = 0;
	while (in.p < in.end && !in.failed) {
		tide_read_bytes(&in);
		struct tide_slice value = tide_read_bytes(&in);
		if (value.len != 256)
			continue;
		last = value.p[255];
		same = same && last == (char)epoch && value.p[0] == (char)epoch;
		count++;
	}
	tide_buf_fini(&meta);
	tide_buf_fini(&state);
	return same && count == many;
}

static void large_epochs_are_there_as_they_were(void **state)
{
	(void)state;
	struct tide_past *past = tide_past_new(4, BYTES);
	struct tide_checkpoint *cp = open_with(path_of("large"), past);
	for (int64_t e = 0; e < 8; e++)
		decide_much(cp, e, MANY);
	for (int back = 1; back <= 4; back++)
		assert_true(all_are(past, back, 7 - back, MANY));
	tide_checkpoint_close(cp);
	tide_past_free(past);
}

/* RocksDB would write them once more for the sake of who looks back. */
static void no_past_is_kept_across_files(void **state)
{
	(void)state;
	struct tide_past *past = tide_past_new(6, SIZE_MAX);
	struct tide_checkpoint *cp = open_with(path_of("files"), past);
	decide_to(cp, 3);
	assert_int_equal(copy_status(past, 6, BYTES), TIDE_OK);
	decide_much(cp, 4, FILES);
	assert_int_equal(copy_status(past, 6, BYTES), TIDE_ERR_UNAVAILABLE);
	decide_to(cp, 6);
	/* It goes back to that epoch, with the files as they were. */
	assert_true(all_are(past, 6, 4, FILES));
	tide_checkpoint_close(cp);
	tide_past_free(past);
}

static void what_epochs_have_changed_bounds_how_many_are_kept(void **state)
{
	(void)state;
	struct tide_past *past = tide_past_new(6, 7 << 20); /* two of these and some */
	struct tide_past *none = tide_past_new(6, 1 << 20);
	struct tide_checkpoint *cp = open_with(path_of("bytes"), past);
	struct tide_checkpoint *other = open_with(path_of("other"), none);
	for (int64_t e = 0; e < 8; e++) {
		decide_much(cp, e, MANY);
		decide_much(other, e, MANY);
	}
	assert_true(all_are(past, 6, 5, MANY));
	assert_int_equal(copy_status(none, 6, BYTES), TIDE_ERR_UNAVAILABLE);
	/* Small ones after them are kept again. */
	decide_to(other, 10);
	assert_int_equal(copy_status(none, 6, BYTES), TIDE_OK);
	tide_checkpoint_close(cp);
	tide_checkpoint_close(other);
	tide_past_free(past);
	tide_past_free(none);
}

struct looking {
	struct tide_past *past;
	atomic_int stop, looks;
};

static void *look(void *arg)
{
	struct looking *looking = arg;
	while (atomic_load(&looking->stop) == 0) {
		struct tide_buf meta = { 0 }, state = { 0 };
		int64_t epoch, newest;
		struct tide_error ignored;
		if (tide_past_copy(looking->past, 3, BYTES, &epoch, &newest, &meta, &state,
		                   &ignored) == TIDE_OK) {
			struct tide_meta decoded;
			if (tide_meta_decode((struct tide_slice){ meta.p, meta.len }, &decoded,
			                     &ignored) != TIDE_OK ||
			    decoded.epoch != epoch)
				abort();
			tide_meta_fini(&decoded);
			atomic_fetch_add(&looking->looks, 1);
		}
		tide_buf_fini(&meta);
		tide_buf_fini(&state);
	}
	return NULL;
}

static void who_looks_back_and_the_run_do_not_wait_for_each_other(void **state)
{
	(void)state;
	struct looking looking = { .past = tide_past_new(5, 8 << 20) };
	pthread_t thread;
	int64_t e = 0;
	assert_int_equal(pthread_create(&thread, NULL, look, &looking), 0);
	for (int round = 0; round < 5 || atomic_load(&looking.looks) < 10; round++) {
		struct tide_checkpoint *cp = open_with(path_of("looks"), looking.past);
		for (int i = 0; i < 5; i++) {
			decide_much(cp, e++, FILES);
			decide_to(cp, e);
			e++;
		}
		tide_checkpoint_close(cp);
	}
	atomic_store(&looking.stop, 1);
	pthread_join(thread, NULL);
	tide_past_free(looking.past);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_of_the_newest_epochs_is_there_as_it_was),
		cmocka_unit_test(an_epoch_that_is_decided_again_counts_once),
		cmocka_unit_test(a_checkpoint_that_opens_has_no_past),
		cmocka_unit_test(large_epochs_are_there_as_they_were),
		cmocka_unit_test(no_past_is_kept_across_files),
		cmocka_unit_test(what_epochs_have_changed_bounds_how_many_are_kept),
		cmocka_unit_test(who_looks_back_and_the_run_do_not_wait_for_each_other),
	};
	return cmocka_run_group_tests(tests, root_make, root_remove);
}
