/* SPDX-License-Identifier: Apache-2.0 */
/* What the newest decisions have left behind, each as it was, for whoever looks back. */
#ifndef TIDE_CHECKPOINT_PAST_H
#define TIDE_CHECKPOINT_PAST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "state/rocks.h"

struct tide_past;

/* Of so many epochs, and fewer where they have changed more bytes than that, which stay
 * on the disk for it, or so much that RocksDB got it in files. It outlives the checkpoints
 * that note in it, one at a time (see struct tide_checkpoint_options). NULL without
 * memory. */
struct tide_past *tide_past_new(int epochs, size_t bytes_max);
void tide_past_free(struct tide_past *past); /* accepts NULL */

/* The checkpoint's side: it opens, is about to change so many bytes, in files or not
 * (tide_rocks_in_files), has decided, closes. Who reads then is stopped. */
void tide_past_open(struct tide_past *past, struct tide_rocks *rocks, int64_t epoch);
void tide_past_expect(struct tide_past *past, size_t bytes, bool in_files);
void tide_past_note(struct tide_past *past, int64_t epoch);
void tide_past_close(struct tide_past *past);

/* As tide_checkpoint_copy, of what was decided `epochs` epochs before the newest, or,
 * where that is not kept, of the oldest that is: *epoch says which. Any thread.
 * TIDE_ERR_UNAVAILABLE: none is kept but the newest, or the checkpoint closes. */
int tide_past_copy(struct tide_past *past, int epochs, size_t bytes_max, int64_t *epoch,
                   int64_t *newest, struct tide_buf *meta, struct tide_buf *state,
                   struct tide_error *err);

/* A copy of the checkpoint in `dir`, whose past this is, as tide_kept_make makes them. Any
 * thread; closing waits for it. TIDE_ERR_UNAVAILABLE: it closes, or is being read. */
struct tide_kept;
int tide_past_keep(struct tide_past *past, const char *dir, int most, struct tide_kept *kept,
                   struct tide_error *err);

#endif
