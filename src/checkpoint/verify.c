/* SPDX-License-Identifier: Apache-2.0 */
/* Verifying: every record and every segment file is read and checked. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/hash.h"
#include "checkpoint/dir.h"
#include "checkpoint/inside.h"
#include "checkpoint/until.h"
#include "state/keys.h"

enum { TRIES = 5 };

static int fail_key(const struct tide_checkpoint *cp, const char *what, struct tide_slice key,
                    struct tide_error *err)
{
	char hex[65] = "";
	for (size_t i = 0; i < key.len && i < 32; i++) {
		static const char digits[] = "0123456789abcdef";
		hex[2 * i] = digits[(uint8_t)key.p[i] >> 4];
		hex[2 * i + 1] = digits[(uint8_t)key.p[i] & 15];
		hex[2 * i + 2] = '\0';
	}
	return tide_fail(err, TIDE_ERR_CHECKPOINT, "checkpoint %s/db: %s: key %s%s", cp->dir, what,
	                 hex, key.len > 32 ? "…" : "");
}

/* States that are over are not counted, and may be there yet. */
static bool is_over(const struct tide_checkpoint *cp, const struct tide_op *op, const char *key)
{
	const struct tide_state_count *count = tide_meta_state(&cp->meta, op->name);
	return op->op.windowed && count != NULL && tide_key_time(key) <= count->closed_us;
}

/* Summed up, so that it does not matter which comes first. */
static uint64_t digest_of(struct tide_slice key, struct tide_slice value)
{
	return tide_hash(value.p, value.len, tide_hash(key.p, key.len, 0));
}

/* "NAME#until" is what NAME keeps in the order of time. */
static bool is_list(const struct tide_checkpoint *cp, const struct tide_op *op)
{
	static const char until[] = "#until";
	size_t len = strlen(op->name), tail = sizeof until - 1;
	if (len <= tail || strcmp(op->name + len - tail, until) != 0)
		return false;
	for (int i = 0; i < cp->op_count; i++)
		if (strlen(cp->ops[i].name) == len - tail &&
		    strncmp(cp->ops[i].name, op->name, len - tail) == 0)
			return true;
	return false;
}

/* Its keys count as if each were alone: how epochs have put them together depends on
 * where they ended. */
static int check_list(const struct tide_checkpoint *cp, const struct tide_op *op,
                      struct tide_slice key, struct tide_slice value,
                      struct tide_verify_report *report, struct tide_error *err)
{
	struct tide_until until;
	struct tide_buf alone = { 0 };
	struct tide_slice one;
	int rc = TIDE_OK;
	if (!tide_until_open(&until, key, value))
		return fail_key(cp, "a list of keys is none", key, err);
	while (rc == TIDE_OK && tide_until_next(&until, &one)) {
		tide_buf_clear(&alone);
		tide_until_alone(&alone, op->op, until.end_us, until.shard, one.p, one.len);
		report->state_rows++;
		report->state_digest += digest_of((struct tide_slice){ alone.p, alone.len },
		                                  (struct tide_slice){ "", 0 });
		if (alone.failed)
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to verify");
		else if (tide_key_shard(one.p, one.len) != until.shard)
			rc = fail_key(cp, "a list is in a shard that is not its keys'", key, err);
	}
	if (rc == TIDE_OK && until.left.failed)
		rc = fail_key(cp, "a list of keys is cut", key, err);
	tide_buf_fini(&alone);
	return rc;
}

static int check_one(const struct tide_checkpoint *cp, struct tide_op *op, struct tide_slice key,
                     struct tide_error *err)
{
	struct tide_buf bytes = { 0 };
	uint32_t shard;
	int rc = TIDE_OK;
	if (!tide_state_split(key, op->op, &shard, &bytes))
		rc = fail_key(cp, "a state's key is too short", key, err);
	else if (bytes.failed)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to verify");
	else if (shard != tide_state_shard(op->op, bytes.p, bytes.len))
		rc = fail_key(cp, "a state is in a shard that is not its key's", key, err);
	else if (!is_over(cp, op, bytes.p))
		op->counted++;
	tide_buf_fini(&bytes);
	return rc;
}

static int check_state(struct tide_checkpoint *cp, struct tide_slice key, struct tide_slice value,
                       struct tide_verify_report *report, struct tide_error *err)
{
	struct tide_op *op = NULL;
	if (key.len < 5)
		return fail_key(cp, "a state's key is too short", key, err);
	int number = (uint8_t)key.p[1] << 8 | (uint8_t)key.p[2];
	for (int i = 0; i < cp->op_count; i++)
		if (cp->ops[i].op.number == number)
			op = &cp->ops[i];
	if (op == NULL)
		return fail_key(cp, "a state belongs to no operator", key, err);
	if (is_list(cp, op))
		return check_list(cp, op, key, value, report, err);
	report->state_rows++;
	report->state_digest += digest_of(key, value);
	return check_one(cp, op, key, err);
}

static int check_epoch(const struct tide_checkpoint *cp, struct tide_slice key,
                       struct tide_slice value, struct tide_error *err)
{
	struct tide_meta meta;
	struct tide_buf want = { 0 };
	int rc = tide_meta_decode(value, &meta, err);
	if (rc != TIDE_OK)
		return tide_fail_within(err, "checkpoint %s/db, history", cp->dir);
	tide_history_key(&want, meta.epoch);
	if (want.failed)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to verify");
	else if (want.len != key.len || memcmp(want.p, key.p, key.len) != 0 ||
	         meta.checkpoint_id != cp->meta.checkpoint_id)
		rc = fail_key(cp, "an epoch's record is another epoch's", key, err);
	tide_buf_fini(&want);
	tide_meta_fini(&meta);
	return rc;
}

static int check_record(struct tide_checkpoint *cp, struct tide_slice key, struct tide_slice value,
                        struct tide_buf *rows, struct tide_verify_report *report,
                        struct tide_error *err)
{
	report->bytes += key.len + value.len;
	switch (key.p[0]) {
	case 's': return check_state(cp, key, value, report, err);
	case 'h': report->epochs++; return check_epoch(cp, key, value, err);
	case 'o':
		report->outbox_rows++;
		if (tide_outbox_rows(cp->dir, value, rows, err) != TIDE_OK)
			return err != NULL ? err->status : TIDE_ERR_CHECKPOINT;
		if (rows->len >= TIDE_SEGMENT_BYTES_MIN)
			report->bytes += rows->len;
		return TIDE_OK;
	case 'm': /* opening read and checked these */
	case 'n':
	case 'p': /* for people */ return TIDE_OK;
	default: return fail_key(cp, "a key of no known kind", key, err);
	}
}

/* The record says of each operator how many states it has. */
static int check_counts(const struct tide_checkpoint *cp, struct tide_error *err)
{
	for (int i = 0; i < cp->op_count; i++) {
		const struct tide_op *op = &cp->ops[i];
		const struct tide_state_count *count = tide_meta_state(&cp->meta, op->name);
		if (count != NULL && count->rows != op->counted)
			return tide_fail(err, TIDE_ERR_CHECKPOINT,
			                 "checkpoint %s/db: %s has %llu states, and the record of "
			                 "epoch %lld says %llu",
			                 cp->dir, op->name, (unsigned long long)op->counted,
			                 (long long)cp->meta.epoch,
			                 (unsigned long long)count->rows);
	}
	return TIDE_OK;
}

static int verify_once(const char *dir, struct tide_verify_report *report, struct tide_error *err)
{
	struct tide_checkpoint_options options = { .read_only = true };
	struct tide_checkpoint *cp = NULL;
	struct tide_slice key, value;
	struct tide_buf rows = { 0 };
	*report = (struct tide_verify_report){ 0 };
	int rc = tide_checkpoint_open(dir, &options, &cp, err);
	if (rc != TIDE_OK)
		return rc;
	struct tide_rocks_iter *it = tide_rocks_iter_new(cp->rocks, (struct tide_slice){ "", 0 },
	                                                 (struct tide_slice){ "\xff", 1 });
	while (rc == TIDE_OK && it != NULL && tide_rocks_iter_next(it, &key, &value))
		rc = check_record(cp, key, value, &rows, report, err);
	int end = tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL);
	if (rc == TIDE_OK)
		rc = end;
	if (rc == TIDE_OK)
		rc = check_counts(cp, err);
	tide_buf_fini(&rows);
	tide_checkpoint_close(cp);
	return rc;
}

/* Does a job hold the lock now? */
static bool in_use(const char *dir)
{
	char *path = tide_dir_path(dir, "lock");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	bool used = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	if (fd >= 0)
		close(fd);
	free(path);
	return used;
}

int tide_checkpoint_verify(const char *dir, struct tide_verify_report *report,
                           struct tide_error *err)
{
	int rc = TIDE_ERR_FAILED;
	bool used = false;
	/* A running job removes files that this reader still has on its list; what
	 * is really damaged is damaged the next time, too. */
	for (int i = 0; rc != TIDE_OK && i < TRIES; i++) {
		rc = verify_once(dir, report, err);
		used = in_use(dir);
		if (!used)
			break;
	}
	if (rc != TIDE_OK && used && err != NULL)
		tide_fail_within(err, "a job is using this checkpoint; stop it and verify again");
	return rc;
}
