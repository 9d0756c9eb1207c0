/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as files in a folder, exactly once.
 *
 *   PATH/rows-EPOCH-TAG.jsonl            a commit's rows, an object a line
 *   PATH/_tidemark/TAG/manifest-EPOCH    that there is such a commit: its file
 *                                        with size, rows and checksum (XXH3)
 *   PATH/_tidemark/TAG/data-EPOCH        rows of a commit that is under way
 *
 * TAG stands for the checkpoint and the sink's name, so that neither several
 * sinks nor a second checkpoint meet in a folder. A commit is true when its
 * manifest is: data and manifest are written and synced under other names, the
 * manifest is renamed and its folder synced, then the data is renamed to where
 * readers look. They never see part of a file. The next start finishes what a
 * manifest says and removes what none says.
 *
 * Options: path, format = "json", every (a span: commits of several epochs). */
#ifndef TIDE_SINK_FILES_H
#define TIDE_SINK_FILES_H

#include "sink/sink.h"

extern const struct tide_sink_ops tide_files_ops;

#endif
