/* SPDX-License-Identifier: Apache-2.0 */
/* A small checkpoint whose every byte is a function of its epoch, so that a
 * reader can tell a whole epoch from any mixture. For one test program each. */
#ifndef CHECKPOINT_FIXTURE_H
#define CHECKPOINT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ftw.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "state/keys.h"

enum { FIX_KEYS = 40, FIX_LARGE_EVERY = 3, FIX_LARGE = (1 << 20) + 100, FIX_RESET = 1000000 };

static char root[64];
static struct tide_error err;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static inline void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline int root_make(void **state)
{
	(void)state;
	snprintf(root, sizeof root, "/tmp/test_checkpoint.XXXXXX");
	return mkdtemp(root) == NULL || chmod(root, 0755) != 0;
}

static inline int root_remove(void **state)
{
	(void)state;
	remove_tree(root);
	return 0;
}

static inline const char *path_of(const char *name)
{
	static char paths[4][160];
	static int next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", root, name);
	return path;
}

static inline struct tide_checkpoint *open_ok(const char *dir, bool read_only)
{
	struct tide_checkpoint *cp = NULL;
	struct tide_checkpoint_options options = { .read_only = read_only };
	if (tide_checkpoint_open(dir, &options, &cp, &err) != TIDE_OK)
		fail_msg("%s", err.text);
	return cp;
}

/* The error text; fails the test when it opens. */
static inline const char *open_refused(const char *dir, bool read_only, int status)
{
	struct tide_checkpoint *cp = NULL;
	struct tide_checkpoint_options options = { .read_only = read_only };
	int rc = tide_checkpoint_open(dir, &options, &cp, &err);
	if (rc != status)
		fail_msg("expected %d, got %d: %s", status, rc,
		         rc != TIDE_OK ? err.text : "opened");
	assert_int_equal(err.status, status);
	assert_null(cp);
	return err.text;
}

static inline void assert_says(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static inline void state_key_of(struct tide_buf *key, struct tide_state_op op, int i)
{
	char text[16];
	int len = snprintf(text + 1, sizeof text - 1, "key%d", i);
	text[0] = (char)len;
	tide_buf_clear(key);
	tide_state_key(key, op, tide_key_shard(text, (size_t)len + 1), text, (size_t)len + 1);
}

static inline size_t rows_len(int64_t epoch)
{
	return epoch % FIX_LARGE_EVERY == 1 ? FIX_LARGE : 20;
}

static inline char *rows_of(int64_t epoch)
{
	size_t len = rows_len(epoch);
	char *rows = malloc(len);
	assert_non_null(rows);
	for (size_t i = 0; i < len; i++)
		rows[i] = (char)((size_t)epoch * 31 + i / 64);
	return rows;
}

/* Decides the epoch after the newest; the sink has published all but it. */
static inline int decide_next(struct tide_checkpoint *cp)
{
	struct tide_state_op op;
	struct tide_buf key = { 0 };
	struct tide_meta meta;
	assert_int_equal(tide_checkpoint_op(cp, "count", false, &op, &err), TIDE_OK);
	assert_true(tide_meta_copy(&meta, tide_checkpoint_meta(cp)));
	meta.epoch++;
	meta.now_us = meta.epoch * 1000;
	meta.rows_in = (uint64_t)meta.epoch * 10;
	struct tide_position *at = tide_meta_position(&meta, "events", 0);
	if (at == NULL)
		at = tide_meta_position_add(&meta, "events", 0);
	at->from = at->next;
	at->next = (meta.epoch + 1) * 10;
	struct tide_sink_mark *mark = tide_meta_sink(&meta, "out");
	if (mark == NULL)
		mark = tide_meta_sink_add(&meta, "out");
	mark->due = meta.epoch;
	mark->acked = meta.epoch - 1;
	struct tide_writes *writes = tide_writes_new();
	for (int i = 0; i < FIX_KEYS; i++) {
		state_key_of(&key, op, i);
		assert_true(tide_writes_put(writes, (struct tide_slice){ key.p, key.len },
		                            (struct tide_slice){ (char *)&meta.epoch, 8 }));
	}
	char *rows = rows_of(meta.epoch);
	struct tide_outbox_entry entry = { "out", { rows, rows_len(meta.epoch) } };
	int rc = tide_checkpoint_decide(cp, &meta, &writes, 1, &entry, 1, &err);
	free(rows);
	tide_writes_free(writes);
	tide_buf_fini(&key);
	tide_meta_fini(&meta);
	return rc;
}

/* Is everything as decide_next left it for its epoch? A difference is a reason;
 * NULL is "all well". *rc says whether reading met an error. */
static inline const char *difference(struct tide_checkpoint *cp, int *rc)
{
	const struct tide_meta *meta = tide_checkpoint_meta(cp);
	struct tide_buf bytes = { 0 };
	const char *why = NULL;
	bool found;
	struct tide_state_op op = { 0 };
	*rc = tide_checkpoint_op(cp, "count", false, &op, &err);
	if (meta->epoch >= 0 && (meta->position_count != 1 || meta->sink_count != 1 ||
	                         meta->positions[0].next != (meta->epoch + 1) * 10 ||
	                         meta->sinks[0].due != meta->epoch))
		why = "meta";
	for (int i = 0; *rc == TIDE_OK && why == NULL && i < FIX_KEYS; i++) {
		struct tide_buf key = { 0 };
		state_key_of(&key, op, i);
		*rc = tide_rocks_get(tide_checkpoint_rocks(cp),
		                     (struct tide_slice){ key.p, key.len }, &bytes, &found, &err);
		if (*rc == TIDE_OK &&
		    (found != (meta->epoch >= 0) ||
		     (found && (bytes.len != 8 || memcmp(bytes.p, &meta->epoch, 8) != 0))))
			why = "state";
		tide_buf_fini(&key);
	}
	for (int64_t e = 0; *rc == TIDE_OK && why == NULL && e <= meta->epoch; e++) {
		*rc = tide_checkpoint_outbox(cp, "out", e, &bytes, &found, &err);
		if (*rc != TIDE_OK)
			break;
		char *rows = rows_of(e);
		if (found != (e == meta->epoch) ||
		    (found && (bytes.len != rows_len(e) || memcmp(bytes.p, rows, bytes.len) != 0)))
			why = "outbox";
		free(rows);
	}
	tide_buf_fini(&bytes);
	return why;
}

static inline void assert_whole(struct tide_checkpoint *cp, int64_t epoch)
{
	int rc;
	const char *why = difference(cp, &rc);
	if (rc != TIDE_OK)
		fail_msg("%s", err.text);
	if (why != NULL)
		fail_msg("%s differs", why);
	assert_int_equal(tide_checkpoint_meta(cp)->epoch, epoch);
}

static inline void assert_verified(const char *dir)
{
	struct tide_verify_report report;
	if (tide_checkpoint_verify(dir, &report, &err) != TIDE_OK)
		fail_msg("%s", err.text);
}

static inline void shell(const char *command, const char *a, const char *b)
{
	char line[512];
	/* The command is one of the test's own; both arguments are used or extra. */
	snprintf(line, sizeof line, command, a, b);
	if (system(line) != 0)
		fail_msg("%s", line);
}

/* This program once more, as a child with a role: a fork would take RocksDB's
 * locks along without the threads that hold them. */
static inline pid_t child_start(const char *role, const char *dir)
{
	pid_t child;
	char *argv[] = { (char *)(uintptr_t) "test", (char *)(uintptr_t)role,
		         (char *)(uintptr_t)dir, NULL };
	extern char **environ;
	assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ), 0);
	return child;
}

static inline int child_end(pid_t child)
{
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

#endif
