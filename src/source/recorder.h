/* SPDX-License-Identifier: Apache-2.0 */
/* A recorder: stands around a source and keeps a copy of what it delivers. */
#ifndef TIDE_SOURCE_RECORDER_H
#define TIDE_SOURCE_RECORDER_H

#include "base/buf.h"
#include "source/source.h"

/* Takes the place of *source, which it then owns; nothing is mirrored to the
 * consumer group any more. Workers may fetch from it as from the other. */
int tide_recorder_wrap(struct tide_source **source, struct tide_error *err);

/* While no worker fetches: what was delivered of a partition since the last take,
 * as recording.h has records, appended. False: not all was kept, for want of memory. */
bool tide_recorder_take(struct tide_source *recorder, const struct tide_source_part *part,
                        struct tide_buf *out);

#endif
