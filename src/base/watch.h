/* SPDX-License-Identifier: Apache-2.0 */
/* Watches files for being saved: written in place, replaced by a rename, or
 * reached through a symbolic link that was pointed elsewhere (the ..data of a
 * ConfigMap, a release folder). Where the kernel tells nothing, as on network
 * file systems, a look twice a second does.
 *
 * A save is told when it is over: the file was closed or renamed and quiet since
 * for a moment, and is there. Belongs to one thread. */
#ifndef TIDE_BASE_WATCH_H
#define TIDE_BASE_WATCH_H

#include <stdbool.h>

#include "base/error.h"

struct tide_watch;

/* Make it before the files are read, so that no save is missed between. A path
 * that is not there is watched for. */
int tide_watch_new(const char *const *paths, int count, struct tide_watch **out,
                   struct tide_error *err);
void tide_watch_free(struct tide_watch *watch); /* accepts NULL */

/* These and only these from now on. What was saved since tide_watch_wait said
 * true (or tide_watch_new) is told even of a path that is new here: call this
 * with what a load turned out to read, after it. */
int tide_watch_set(struct tide_watch *watch, const char *const *paths, int count,
                   struct tide_error *err);

/* Has one of them been saved since this last said true? Waits for it up to
 * timeout_ms, and less when a signal comes; 0 looks and goes on. */
bool tide_watch_wait(struct tide_watch *watch, int timeout_ms);

/* To poll beside others: readable when something happened that may become a
 * save. Then, and while tide_watch_busy(), keep calling tide_watch_wait. */
int tide_watch_fd(const struct tide_watch *watch);
bool tide_watch_busy(const struct tide_watch *watch);

#endif
