/* SPDX-License-Identifier: Apache-2.0 */
/* Kept copies: moments of a checkpoint in its own directory, to go back to.
 *
 * copies/EPOCH-DECISION/ is a checkpoint by itself: FORMAT, anchor, db/, segments/,
 * and a manifest with the size and the checksum of every file. It has its name only
 * when all of that is on the disk. Files of RocksDB that never change are links to
 * those of the checkpoint: against a disk that fails, copies belong elsewhere. */
#ifndef TIDE_CHECKPOINT_KEPT_H
#define TIDE_CHECKPOINT_KEPT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct tide_rocks;

enum { TIDE_KEPT_MAX = 3, TIDE_KEPT_NAME = 48 };

struct tide_kept {
	char name[TIDE_KEPT_NAME];
	uint64_t checkpoint_id, decision;
	int64_t epoch, made_us;
	uint64_t files, bytes;
};

/* A copy of what is decided, from any thread, also while the job decides more; then
 * the oldest go until `most` are left. */
int tide_kept_make(const char *dir, struct tide_rocks *rocks, int most, struct tide_kept *out,
                   struct tide_error *err);
/* One line about it, for people. */
void tide_kept_say(const struct tide_kept *kept, char *text, size_t size);
/* Those that are there, the oldest first; 0 is fine. Free with free(). One whose
 * manifest cannot be read has epoch -1. */
int tide_kept_list(const char *dir, struct tide_kept **out, int *count, struct tide_error *err);
/* Reads every file; the error names the one that is damaged, missing or too much. */
int tide_kept_verify(const char *dir, const char *name, struct tide_error *err);
/* Removes all but the newest `most`, what a restore has replaced, and what was begun. */
int tide_kept_prune(const char *dir, int most, int *removed, struct tide_error *err);
/* The checkpoint becomes what this copy is; what it was goes to replaced/. Nobody may
 * use it meanwhile. A kill in between is made good by another restore. */
int tide_kept_restore(const char *dir, const char *name, struct tide_error *err);

#endif
