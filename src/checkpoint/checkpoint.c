/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint: opening, deciding, closing.
 *
 * The directory
 *   FORMAT      "tidemark checkpoint format 1"; what has none is not ours
 *   lock        flock of the one process that may write; who it is, as text
 *   anchor      how far decisions have come, outside RocksDB (anchor.h)
 *   db/         RocksDB, one column family (state/rocks.c)
 *   db.ingest/  files on their way into db/
 *   segments/   rows of outbox entries over 1 MiB, one file each (outbox.h)
 *   copies/     moments to go back to, each whole and with a manifest (kept.h)
 *   replaced/   what the last `restore` took away
 *   RESTORING   a restore has begun and not ended; nothing else opens it
 *
 * Keys in db/
 *   h EPOCH            decision record of an epoch, the newest TIDE_EPOCHS_KEPT
 *   p EPOCH            progress of an epoch as JSON, as many; for people
 *   meta               the newest decision record: written by every decision
 *   n NAME             number of an operator
 *   o SINK EPOCH       rows that wait for a sink, or where their file is
 *   s OP SHARD KEY     state
 * Numbers in keys are big-endian, so that key order is their order.
 *
 * Invariants
 *  1. RocksDB holds only decided epochs. Everything of a decision becomes true
 *     in one tide_rocks_apply, or nothing of it.
 *  2. A decision is numbered one more than the one before; its epoch is that of
 *     the one before, or one more.
 *  3. Every decision writes the key `meta`. Its record carries its own checksum.
 *  4. A segment file is whole and synced before the decision that refers to it,
 *     and is removed only after the decision that releases it.
 *  5. The anchor is written after a decision and before anything is published.
 *     So on disk: decision of anchor <= decision of meta. Otherwise RocksDB has
 *     gone back in time, and opening stops.
 *  6. The anchor is made after the first meta and before the first epoch. So
 *     where there is an anchor there is a meta with the same checkpoint id, and
 *     where a decision has been made there is an anchor.
 *  7. An outbox entry (sink, e) exists exactly if it was decided and e is beyond
 *     the sink's acked of the newest decision.
 *  8. One process writes: the holder of the lock. After a failed step it makes
 *     no further one, in particular no fsync is tried twice.
 *
 *        tide_checkpoint_open                     tide_checkpoint_decide
 *   ABSENT ──dir_open──► NEW ──begin──► DECIDED n ──stage──► STAGED n+1
 *                         ▲  │            ▲  │ ▲                 │
 *                         └──┘            │  │ └──── kill ───────┤ rocks_apply
 *                        kill: again      │  │                   ▼
 *   REFUSED ◄──compare── (any) ◄──────────┼──┘           APPLIED n+1
 *     (5, 6, checksum)      open          │                      │ anchor_write
 *                                         └──── settle ◄─────────┘
 *
 * A kill in APPLIED opens as DECIDED n+1 with an anchor behind, which is normal:
 * its rows have not been published and come out of the outbox. Segment files of
 * a STAGED epoch that was never applied are swept by the next open. */
#include "checkpoint/checkpoint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/mutant.h"
#include "checkpoint/dir.h"
#include "checkpoint/inside.h"

enum { OPEN_TRIES = 5 };

static const struct tide_slice meta_key = { "meta", 4 };

void tide_history_key(struct tide_buf *out, int64_t epoch)
{
	tide_buf_u8(out, 'h');
	for (int shift = 56; shift >= 0; shift -= 8)
		tide_buf_u8(out, (uint8_t)((uint64_t)epoch >> shift));
}

static struct tide_slice slice_of(const struct tide_buf *buf)
{
	return (struct tide_slice){ buf->p, buf->len };
}

static int fail_memory(const struct tide_checkpoint *cp, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the checkpoint %s", cp->dir);
}

/* ---- opening ---- */

static int rocks_open(struct tide_checkpoint *cp, const struct tide_checkpoint_options *given,
                      bool create, struct tide_error *err)
{
	struct tide_rocks_options options = { .create = create,
		                              .read_only = given->read_only,
		                              .memory_max = given->memory_max };
	char *path = tide_dir_path(cp->dir, "db");
	if (path == NULL)
		return fail_memory(cp, err);
	/* A running job may remove a file between our reading the list of files
	 * and opening them; the next list is without it. */
	int rc = TIDE_ERR_FAILED;
	for (int i = 0; rc != TIDE_OK && i < (given->read_only ? OPEN_TRIES : 1); i++)
		rc = tide_rocks_open(path, &options, &cp->rocks, err);
	free(path);
	return rc;
}

static int meta_read(struct tide_checkpoint *cp, struct tide_anchor_mark *mark, bool *found,
                     struct tide_error *err)
{
	struct tide_buf bytes = { 0 };
	int rc = tide_rocks_get(cp->rocks, meta_key, &bytes, found, err);
	if (rc == TIDE_OK && *found) {
		rc = tide_meta_decode(slice_of(&bytes), &cp->meta, err);
		if (rc != TIDE_OK)
			tide_fail_within(err, "checkpoint %s/db", cp->dir);
		*mark = tide_anchor_mark_of(&cp->meta, slice_of(&bytes));
	}
	tide_buf_fini(&bytes);
	return rc;
}

/* Invariants 5 and 6. NULL: it is absent. */
static int compare(const struct tide_checkpoint *cp, const struct tide_anchor_mark *anchor,
                   const struct tide_anchor_mark *meta, struct tide_error *err)
{
	static const char way_out[] =
		"Nothing was touched. Go back to a copy (`tidemark checkpoint copies` lists those in "
		"it, `restore` takes one), or start over with rm -rf, from the configured starting "
		"offsets";
	if (anchor == NULL && (meta == NULL || meta->decision == 0))
		return TIDE_OK;
	if (anchor == NULL)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "checkpoint %s: epoch %lld is decided but the file anchor is "
		                 "missing, so nothing proves that it is the newest. %s",
		                 cp->dir, (long long)meta->epoch, way_out);
	if (meta == NULL)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "checkpoint %s: epoch %lld was decided but %s/db opens empty: "
		                 "its files are damaged or missing. %s",
		                 cp->dir, (long long)anchor->epoch, cp->dir, way_out);
	if (anchor->checkpoint_id != meta->checkpoint_id)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "checkpoint %s: the file anchor belongs to checkpoint %016llx, "
		                 "%s/db to %016llx: they were mixed. %s",
		                 cp->dir, (unsigned long long)anchor->checkpoint_id, cp->dir,
		                 (unsigned long long)meta->checkpoint_id, way_out);
	if (anchor->decision > meta->decision)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "checkpoint %s went back in time: epoch %lld (decision %llu) was "
		                 "decided but %s/db ends at epoch %lld (decision %llu). %s",
		                 cp->dir, (long long)anchor->epoch,
		                 (unsigned long long)anchor->decision, cp->dir,
		                 (long long)meta->epoch, (unsigned long long)meta->decision,
		                 way_out);
	if (anchor->decision == meta->decision && anchor->meta_hash != meta->meta_hash)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "checkpoint %s: the record of epoch %lld is not the one that was "
		                 "decided. %s",
		                 cp->dir, (long long)meta->epoch, way_out);
	return TIDE_OK;
}

/* Random and not zero. The clock stands in where the kernel has nothing yet. */
static uint64_t id_new(void)
{
	uint64_t id = 0;
	if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
		id = (uint64_t)tide_clock_us() << 16 ^ (uint64_t)getpid();
	return id != 0 ? id : 1;
}

/* A new lineage, or one whose making was interrupted: meta, then the anchor. */
static int begin(struct tide_checkpoint *cp, bool have_meta, struct tide_error *err)
{
	struct tide_buf bytes = { 0 };
	struct tide_writes *writes = tide_writes_new();
	int rc = TIDE_OK;
	if (writes == NULL)
		return fail_memory(cp, err);
	if (!have_meta) {
		cp->meta = (struct tide_meta){ .format = TIDE_CHECKPOINT_FORMAT,
			                       .epoch = -1,
			                       .checkpoint_id = id_new(),
			                       .watermark_us = INT64_MIN };
	}
	tide_meta_encode(&cp->meta, &bytes);
	if (bytes.failed || !tide_writes_put(writes, meta_key, slice_of(&bytes)))
		rc = fail_memory(cp, err);
	if (rc == TIDE_OK)
		rc = tide_pass("begin", err);
	if (rc == TIDE_OK)
		rc = tide_rocks_apply(cp->rocks, &writes, 1, err);
	if (rc == TIDE_OK)
		rc = tide_dir_sync(cp->dir, err);
	if (rc == TIDE_OK) {
		struct tide_anchor_mark mark = tide_anchor_mark_of(&cp->meta, slice_of(&bytes));
		rc = tide_anchor_make(cp->dir, &mark, err);
	}
	tide_writes_free(writes);
	tide_buf_fini(&bytes);
	return rc;
}

static int load(struct tide_checkpoint *cp, const struct tide_checkpoint_options *options,
                struct tide_error *err)
{
	struct tide_anchor_mark anchor, meta = { 0 };
	bool anchored = false, found = false;
	/* The anchor first: a running job only ever moves meta forward. */
	int rc = tide_anchor_read(cp->dir, &anchor, &anchored, err);
	if (rc == TIDE_OK && cp->read_only && !anchored)
		return tide_fail(err, TIDE_ERR_CHECKPOINT, "there is no checkpoint in %s yet",
		                 cp->dir);
	if (rc == TIDE_OK)
		rc = tide_pass("open", err);
	if (rc == TIDE_OK)
		rc = rocks_open(cp, options, !cp->read_only && !anchored, err);
	if (rc == TIDE_OK)
		rc = meta_read(cp, &meta, &found, err);
	if (rc == TIDE_OK)
		rc = compare(cp, anchored ? &anchor : NULL, found ? &meta : NULL, err);
	if (rc == TIDE_OK && !anchored)
		rc = begin(cp, found, err);
	if (rc == TIDE_OK && !cp->read_only)
		rc = tide_anchor_open(cp->dir, &cp->anchor, err);
	/* It may be behind after a kill, or have lost its newest slot. */
	if (rc == TIDE_OK && anchored && !cp->read_only && anchor.decision < meta.decision) {
		rc = tide_pass("anchor_mend", err);
		if (rc == TIDE_OK)
			rc = tide_anchor_write(cp->anchor, &meta, err);
	}
	if (rc == TIDE_OK)
		rc = tide_ops_load(cp, err);
	if (rc == TIDE_OK)
		rc = tide_outbox_load(&cp->outbox, cp->dir, cp->rocks, err);
	if (rc == TIDE_OK && !cp->read_only)
		tide_outbox_sweep(&cp->outbox);
	return rc;
}

int tide_checkpoint_open(const char *dir, const struct tide_checkpoint_options *options,
                         struct tide_checkpoint **out, struct tide_error *err)
{
	struct tide_checkpoint *cp = calloc(1, sizeof *cp);
	if (cp == NULL || (cp->dir = strdup(dir)) == NULL) {
		free(cp);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the checkpoint %s", dir);
	}
	cp->lock_fd = -1;
	cp->read_only = options->read_only;
	/* "a/b/" and "a/b" are one place, also in messages. */
	for (size_t len = strlen(cp->dir); len > 1 && cp->dir[len - 1] == '/'; len--)
		cp->dir[len - 1] = '\0';
	int rc = cp->read_only ? tide_dir_check(cp->dir, err)
	                       : tide_dir_open(cp->dir, &cp->lock_fd, err);
	if (rc == TIDE_OK)
		rc = load(cp, options, err);
	if (rc != TIDE_OK) {
		cp->broken = true;
		tide_checkpoint_close(cp);
		return rc;
	}
	cp->past = options->past;
	if (cp->past != NULL)
		tide_past_open(cp->past, cp->rocks, cp->meta.epoch);
	*out = cp;
	return TIDE_OK;
}

void tide_checkpoint_close(struct tide_checkpoint *cp)
{
	if (cp == NULL)
		return;
	(void)tide_failpoint("close");
	if (cp->past != NULL)
		tide_past_close(cp->past);
	tide_rocks_close(cp->rocks);
	tide_anchor_close(cp->anchor);
	tide_outbox_fini(&cp->outbox);
	tide_meta_fini(&cp->meta);
	for (int i = 0; i < cp->op_count; i++)
		free(cp->ops[i].name);
	free(cp->ops);
	free(cp->dir);
	if (cp->lock_fd >= 0)
		close(cp->lock_fd); /* last: it lets the next process in */
	free(cp);
}

const struct tide_meta *tide_checkpoint_meta(const struct tide_checkpoint *cp)
{
	return &cp->meta;
}

struct tide_rocks *tide_checkpoint_rocks(struct tide_checkpoint *cp)
{
	return cp->rocks;
}

/* ---- deciding ---- */

static const struct tide_sink_mark *mark_of(const struct tide_meta *meta, const char *sink)
{
	for (int i = 0; i < meta->sink_count; i++)
		if (strcmp(meta->sinks[i].name, sink) == 0)
			return &meta->sinks[i];
	return NULL;
}

static int check_order(const struct tide_checkpoint *cp, const struct tide_meta *meta,
                       int outbox_count, struct tide_error *err)
{
	assert(!cp->read_only);
	assert(meta->checkpoint_id == cp->meta.checkpoint_id);
	assert(outbox_count == 0 || meta->epoch > cp->meta.epoch);
	if (cp->broken)
		return tide_fail(err, TIDE_ERR_IO,
		                 "checkpoint %s takes no decision after an error; start again",
		                 cp->dir);
	if (meta->epoch != cp->meta.epoch && meta->epoch != cp->meta.epoch + 1)
		return tide_fail(err, TIDE_ERR_FAILED,
		                 "checkpoint %s: epoch %lld cannot follow epoch %lld", cp->dir,
		                 (long long)meta->epoch, (long long)cp->meta.epoch);
	return TIDE_OK;
}

/* Entries that the new marks say are published go in this same step. */
static int stage_releases(struct tide_checkpoint *cp, const struct tide_meta *meta,
                          struct tide_writes *writes, struct tide_error *err)
{
	for (size_t i = 0; i < cp->outbox.count; i++) {
		struct tide_outbox_item *item = &cp->outbox.items[i];
		const struct tide_sink_mark *mark = mark_of(meta, item->sink);
		const struct tide_sink_mark *old = mark_of(&cp->meta, item->sink);
		if (mark == NULL && old != NULL && item->epoch > old->acked)
			return tide_fail(err, TIDE_ERR_CHECKPOINT,
			                 "sink %s has decided rows that are not published (epochs "
			                 "%lld to %lld); let it publish them before removing it",
			                 item->sink, (long long)item->epoch, (long long)old->due);
		if (mark != NULL && item->epoch > mark->acked)
			continue;
		if (!tide_outbox_release(item, writes))
			return fail_memory(cp, err);
	}
	return TIDE_OK;
}

/* Puts meta, history, operators and outbox of one decision into `writes`. */
static int stage(struct tide_checkpoint *cp, const struct tide_meta *meta,
                 const struct tide_buf *record, const struct tide_outbox_entry *outbox,
                 int outbox_count, struct tide_writes *writes, struct tide_error *err)
{
	struct tide_buf key = { 0 }, old = { 0 };
	int rc = stage_releases(cp, meta, writes, err);
	for (int i = 0; rc == TIDE_OK && i < outbox_count; i++) {
		assert(mark_of(meta, outbox[i].sink) != NULL);
		assert(mark_of(meta, outbox[i].sink)->due == meta->epoch);
		rc = tide_outbox_add(&cp->outbox, writes, outbox[i].sink, meta->epoch,
		                     meta->decision, outbox[i].rows, err);
	}
	bool ok = tide_writes_put(writes, meta_key, slice_of(record)) && tide_ops_write(cp, writes);
	if (ok && meta->epoch >= 0) {
		tide_history_key(&key, meta->epoch);
		ok = !key.failed && tide_writes_put(writes, slice_of(&key), slice_of(record));
	}
	if (ok && meta->epoch >= TIDE_EPOCHS_KEPT && meta->epoch > cp->meta.epoch) {
		tide_history_key(&old, meta->epoch - TIDE_EPOCHS_KEPT);
		ok = !old.failed && tide_writes_delete(writes, slice_of(&old));
	}
	tide_buf_fini(&key);
	tide_buf_fini(&old);
	return rc == TIDE_OK && !ok ? fail_memory(cp, err) : rc;
}

/* The one step in which an epoch becomes true. */
static int apply(struct tide_checkpoint *cp, struct tide_writes *const *state, int state_count,
                 struct tide_writes *own, struct tide_error *err)
{
	struct tide_writes **sets =
		malloc(((size_t)state_count + 1) * sizeof(struct tide_writes *));
	if (sets == NULL)
		return fail_memory(cp, err);
	size_t bytes = 0;
	for (int i = 0; i < state_count; i++) {
		sets[i] = state[i];
		bytes += tide_writes_bytes(state[i]);
	}
	sets[state_count] = own;
	if (cp->past != NULL)
		tide_past_expect(cp->past, bytes,
		                 tide_rocks_in_files(cp->rocks, sets, state_count + 1));
	if (tide_mutant(APPLY_FIRST))
		(void)tide_rocks_apply(cp->rocks, state, state_count, err);
	int rc = tide_pass("decide", err);
	if (rc == TIDE_OK)
		rc = tide_rocks_apply(cp->rocks, sets, state_count + 1, err);
	if (rc == TIDE_OK)
		rc = tide_pass("decided", err);
	free(sets);
	return rc;
}

/* What was decided is what memory says from now on; then the anchor. */
static int settle(struct tide_checkpoint *cp, struct tide_meta *next, const struct tide_buf *record,
                  struct tide_error *err)
{
	struct tide_anchor_mark mark = tide_anchor_mark_of(next, slice_of(record));
	tide_meta_fini(&cp->meta);
	cp->meta = *next;
	*next = (struct tide_meta){ 0 };
	tide_ops_decided(cp);
	int rc = tide_mutant(NO_ANCHOR) ? TIDE_OK : tide_anchor_write(cp->anchor, &mark, err);
	bool releases = false;
	for (size_t i = 0; i < cp->outbox.count; i++)
		releases = releases || cp->outbox.items[i].going;
	if (rc == TIDE_OK && releases)
		rc = tide_pass("release", err);
	if (rc == TIDE_OK && releases)
		tide_outbox_forget(&cp->outbox);
	return rc;
}

int tide_checkpoint_decide(struct tide_checkpoint *cp, const struct tide_meta *meta,
                           struct tide_writes *const *state, int state_count,
                           const struct tide_outbox_entry *outbox, int outbox_count,
                           struct tide_error *err)
{
	struct tide_meta next = { 0 };
	struct tide_buf record = { 0 };
	struct tide_writes *own = NULL;
	int rc = check_order(cp, meta, outbox_count, err);
	if (rc != TIDE_OK)
		return rc;
	own = tide_writes_new();
	if (own == NULL || !tide_meta_copy(&next, meta)) {
		rc = fail_memory(cp, err);
		goto out;
	}
	next.format = TIDE_CHECKPOINT_FORMAT;
	next.decision = cp->meta.decision + 1;
	tide_meta_encode(&next, &record);
	if (record.failed) {
		rc = fail_memory(cp, err);
		goto out;
	}
	rc = stage(cp, &next, &record, outbox, outbox_count, own, err);
	if (rc == TIDE_OK)
		rc = apply(cp, state, state_count, own, err);
	if (rc == TIDE_OK)
		rc = settle(cp, &next, &record, err);
	if (rc == TIDE_OK && cp->past != NULL)
		tide_past_note(cp->past, cp->meta.epoch);
out:
	cp->broken = rc != TIDE_OK;
	tide_writes_free(own);
	tide_buf_fini(&record);
	tide_meta_fini(&next);
	return rc;
}

/* ---- reading ---- */

int tide_checkpoint_outbox(struct tide_checkpoint *cp, const char *sink, int64_t epoch,
                           struct tide_buf *rows, bool *found, struct tide_error *err)
{
	struct tide_buf key = { 0 }, value = { 0 };
	*found = false;
	if (epoch < 0)
		return TIDE_OK;
	tide_outbox_key(&key, sink, epoch);
	int rc = key.failed ? fail_memory(cp, err)
	                    : tide_rocks_get(cp->rocks, slice_of(&key), &value, found, err);
	if (rc == TIDE_OK && *found)
		rc = tide_outbox_rows(cp->dir, slice_of(&value), rows, err);
	if (rc == TIDE_ERR_CHECKPOINT)
		tide_fail_within(err, "sink %s, epoch %lld", sink, (long long)epoch);
	tide_buf_fini(&key);
	tide_buf_fini(&value);
	return rc;
}

static void progress_key(struct tide_buf *out, int64_t epoch)
{
	tide_history_key(out, epoch);
	if (!out->failed)
		out->p[0] = 'p';
}

bool tide_checkpoint_keep_progress(struct tide_writes *writes, int64_t epoch,
                                   struct tide_slice json)
{
	struct tide_buf key = { 0 }, old = { 0 };
	progress_key(&key, epoch);
	bool ok = !key.failed && tide_writes_put(writes, slice_of(&key), json);
	if (ok && epoch >= TIDE_EPOCHS_KEPT) {
		progress_key(&old, epoch - TIDE_EPOCHS_KEPT);
		ok = !old.failed && tide_writes_delete(writes, slice_of(&old));
	}
	tide_buf_fini(&key);
	tide_buf_fini(&old);
	return ok;
}

int tide_checkpoint_progress(struct tide_checkpoint *cp, int64_t from,
                             void (*each)(struct tide_slice json, void *arg), void *arg,
                             struct tide_error *err)
{
	struct tide_slice key, value;
	struct tide_buf first = { 0 };
	progress_key(&first, from > 0 ? from : 0);
	struct tide_rocks_iter *it = NULL;
	if (!first.failed)
		it = tide_rocks_iter_new(cp->rocks, slice_of(&first),
		                         (struct tide_slice){ "q", 1 });
	while (it != NULL && tide_rocks_iter_next(it, &key, &value))
		each(value, arg);
	tide_buf_fini(&first);
	return it != NULL ? tide_rocks_iter_end(it, err) : fail_memory(cp, err);
}

int tide_checkpoint_history(struct tide_checkpoint *cp,
                            bool (*each)(const struct tide_meta *meta, void *arg), void *arg,
                            struct tide_error *err)
{
	struct tide_slice key, value;
	int rc = TIDE_OK;
	bool more = true;
	struct tide_rocks_iter *it = tide_rocks_iter_new(cp->rocks, (struct tide_slice){ "h", 1 },
	                                                 (struct tide_slice){ "i", 1 });
	while (rc == TIDE_OK && more && it != NULL && tide_rocks_iter_next(it, &key, &value)) {
		struct tide_meta meta;
		rc = tide_meta_decode(value, &meta, err);
		if (rc != TIDE_OK)
			tide_fail_within(err, "checkpoint %s/db, history", cp->dir);
		else
			more = each(&meta, arg);
		tide_meta_fini(&meta);
	}
	int end = tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL);
	return rc != TIDE_OK ? rc : end;
}
