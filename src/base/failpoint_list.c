/* SPDX-License-Identifier: Apache-2.0 */
/* The fail points, in the order in which a job may pass them. tests/check/failpoints
 * holds this list against the source, tests/fault/points_spec.lua strikes each. */
#include "base/failpoint.h"

#include <stddef.h>

#ifdef TIDE_FAILPOINTS

static const struct tide_failpoint_note notes[] = {
	/* Opening. */
	{ "lock", "checkpoint", "before the lock of a checkpoint is taken", true },
	{ "format", "checkpoint", "before a new directory says that it is a checkpoint", true },
	{ "open", "checkpoint", "before RocksDB is opened", true },
	{ "begin", "checkpoint", "before the first record of a new checkpoint", true },
	{ "anchor_make", "checkpoint", "before a new checkpoint gets its anchor", true },
	{ "anchor_mend", "checkpoint", "before an anchor that a kill left behind catches up",
	  true },
	{ "sweep", "checkpoint", "before segments of what was never decided are removed", false },
	{ "adopt", "run", "before the checkpoint's job is compared with the one that runs", true },
	{ "migrate", "run",
	  "before each chunk of states that a new version takes over, or has moved", true },
	{ "spill", "state", "before changed states go to files ahead of the decision", true },
	{ "kafka_connect", "sink", "before a producer is made", true },
	{ "kafka_init", "sink", "before it fences its predecessors", true },
	{ "kafka_memory", "sink", "before the broker is asked what is published", true },
	{ "files_settle", "sink", "before a commit that a kill left is finished, or undone", true },
	{ "recover", "run", "before a sink is asked for its last epoch", true },
	{ "replay", "run", "before rows of the outbox are published again", true },
	{ "kafka_warm", "sink", "before the transaction that only repeats the memory", false },
	{ "place", "run", "before partitions are placed, and their fingerprints compared", true },
	{ "start", "run", "before the first positions of new partitions go on record", true },
	/* An epoch, until it is decided. */
	{ "idle", "run", "while there is nothing to read", false },
	{ "run", "run", "before the workers read an epoch", true },
	{ "arena", "record", "before the memory of a batch grows", true },
	{ "barrier", "run", "when all workers have read it", true },
	{ "hand", "run", "before the epoch goes to the thread that commits", true },
	{ "check", "run", "before rows are held against what the sinks take", true },
	{ "segment", "checkpoint", "before rows of more than 1 MiB get a file of their own", true },
	{ "segment_sync", "checkpoint", "before that file is synced", true },
	{ "segment_dir", "checkpoint", "before its folder is synced", true },
	{ "decide", "checkpoint", "before the synced step that decides the epoch", true },
	{ "batch", "state", "in it, before a small one is written", true },
	{ "sst", "state", "in it, before a large one is written to files", true },
	{ "ingest", "state", "in it, before RocksDB takes those files in", true },
	{ "decided", "checkpoint", "right behind it", true },
	{ "anchor", "checkpoint", "before the anchor, the checkpoint's second witness, is written",
	  true },
	{ "anchor_sync", "checkpoint", "before it is synced, which is once a second", true },
	{ "release", "checkpoint", "when it is on record that rows were published", true },
	{ "forget", "checkpoint", "before the segment of such rows is removed", false },
	/* What follows. */
	{ "hold", "run", "before rows wait for others that go into the same file", true },
	{ "publish", "run", "before rows go to a sink", true },
	{ "console_write", "sink", "before rows go to stdout", true },
	{ "console_written", "sink", "when they are there", true },
	{ "files_data", "sink", "before a file of rows is made", true },
	{ "files_write", "sink", "before rows go into it", true },
	{ "files_sync", "sink", "before it is synced", true },
	{ "files_manifest", "sink", "before its manifest is written", true },
	{ "files_manifest_sync", "sink", "before that is synced", true },
	{ "files_manifest_rename", "sink", "before that gets its name, which commits", true },
	{ "files_manifest_dir", "sink", "before that name is synced", true },
	{ "files_rename", "sink", "before the file of rows gets its name", true },
	{ "files_dir", "sink", "before that name is synced", true },
	{ "files_done", "sink", "when all that is done", true },
	{ "kafka_trust", "sink",
	  "when a producer was disturbed: io keeps it all the same, which tears transactions",
	  true },
	{ "kafka_begin", "sink", "when a transaction has begun", true },
	{ "kafka_send", "sink", "before each record: io is a refusal for good", true },
	{ "kafka_flush", "sink", "before the records are waited for", true },
	{ "kafka_offsets", "sink", "before the epoch's number joins the transaction", true },
	{ "kafka_commit", "sink", "before the transaction is committed", true },
	{ "kafka_committed", "sink", "when it is", true },
	{ "kafka_abort", "sink", "before a transaction that cannot succeed is aborted", false },
	{ "published", "run", "when a sink has taken rows", true },
	{ "settle", "run", "before it goes on record, at rest and at the end, what was published",
	  true },
	{ "mirror", "run", "before the group's offsets are committed, for tools to see", false },
	{ "close", "checkpoint", "before a checkpoint is closed", false },
	/* On request. */
	{ "reload", "run", "before a new version of the job is taken over", true },
	{ "swap", "run", "before its functions take the places of the old ones", false },
	{ "reopen", "run", "before all is opened anew for it", true },
	{ "reset", "run", "before `offsets reset` decides", true },
	{ "resolve", "run", "before `checkpoint resolve` and `outbox skip` decide", true },
};

const struct tide_failpoint_note *tide_failpoint_at(int i)
{
	return i >= 0 && i < (int)(sizeof notes / sizeof notes[0]) ? &notes[i] : NULL;
}

#endif
