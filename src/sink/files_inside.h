/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the files sink: for files.c and files_folder.c. */
#ifndef TIDE_SINK_FILES_INSIDE_H
#define TIDE_SINK_FILES_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { TIDE_FILES_PATH_MAX = 3800 };

/* One commit, as its manifest says. */
struct tide_files_commit {
	int64_t epoch;
	uint64_t rows, bytes, hash;
};

/* The two folders of a sink, and its commits whose manifests are kept. */
struct tide_files_folder {
	const char *sink; /* its name, for texts */
	char path[TIDE_FILES_PATH_MAX];
	char own[TIDE_FILES_PATH_MAX + 40]; /* PATH/_tidemark/TAG */
	char tag[20];
	int path_fd, own_fd;
	int64_t *epochs; /* ascending */
	size_t epoch_count;
};

/* Makes both, finishes and removes what was left behind. */
int tide_files_folder_open(struct tide_files_folder *folder, const char *path, const char *sink,
                           uint64_t checkpoint_id, struct tide_error *err);
void tide_files_folder_close(struct tide_files_folder *folder);

/* Of a new commit: the file to write its rows to. */
int tide_files_data_open(struct tide_files_folder *folder, int64_t epoch, int *fd,
                         struct tide_error *err);
/* The rows are written and synced: commit. */
int tide_files_commit(struct tide_files_folder *folder, const struct tide_files_commit *commit,
                      struct tide_error *err);

#endif
