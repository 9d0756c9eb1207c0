/* SPDX-License-Identifier: Apache-2.0 */
/* The files sink: rows of some epochs become one file. */
#include "sink/files.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/hash.h"
#include "sink/files_inside.h"
#include "sink/json_row.h"

enum { WRITE_BYTES = 1 << 20, EVERY_MS = 10000 };

struct files {
	struct tide_sink sink; /* first */
	struct tide_files_folder folder;
	struct tide_buf text;
};

static void files_close(struct tide_sink *sink)
{
	struct files *files = (struct files *)sink;
	if (files == NULL)
		return;
	tide_files_folder_close(&files->folder);
	tide_buf_fini(&files->text);
	free(files);
}

static int files_open(struct tide_sink **out, const struct tide_sink_options *options,
                      struct tide_error *err)
{
	assert(options->output != NULL);
	const char *path = tide_option_get(&options->output->options, "path");
	const char *every = tide_option_get(&options->output->options, "every");
	int64_t every_ms = every != NULL ? tide_clock_span_ms(every) : EVERY_MS;
	if (path == NULL || *path == '\0')
		return tide_fail(err, TIDE_ERR_USAGE, "sink %s wants a path",
		                 options->output->name);
	struct files *files = calloc(1, sizeof *files);
	if (files == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a sink of files");
	files->sink.ops = &tide_files_ops;
	files->sink.exactly_once = true;
	files->sink.every_ms = every_ms < 0 ? EVERY_MS : every_ms;
	int rc = tide_files_folder_open(&files->folder, path, options->output->name,
	                                options->checkpoint_id, err);
	if (rc != TIDE_OK) {
		free(files);
		return rc;
	}
	*out = &files->sink;
	return TIDE_OK;
}

static int files_last_epoch(struct tide_sink *sink, int64_t *epoch, struct tide_error *err)
{
	const struct tide_files_folder *folder = &((struct files *)sink)->folder;
	(void)err;
	*epoch = folder->epoch_count > 0 ? folder->epochs[folder->epoch_count - 1] : -1;
	return TIDE_OK;
}

/* What has gathered in files->text. */
static int flush(struct files *files, int fd, struct tide_hasher *hasher, struct tide_error *err)
{
	const char *p = files->text.p;
	size_t left = files->text.len;
	if (files->text.failed)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows of sink %s",
		                 files->folder.sink);
	tide_hasher_add(hasher, p, left);
	while (left > 0) {
		ssize_t n = tide_failpoint("files_write") != 0 ? -1 : write(fd, p, left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return tide_fail(err, TIDE_ERR_IO,
			                 "sink %s: %s: %s. Nothing is lost: the rows wait in the "
			                 "checkpoint, and the next start writes them",
			                 files->folder.sink, files->folder.own, strerror(errno));
		p += n;
		left -= (size_t)n;
	}
	tide_buf_clear(&files->text);
	return TIDE_OK;
}

static int write_rows(struct files *files, int fd, const struct tide_rows *rows,
                      struct tide_hasher *hasher, struct tide_files_commit *commit,
                      struct tide_error *err)
{
	struct tide_json_row json;
	int rc = tide_json_row_init(&json, tide_rows_schema(rows), NULL, err);
	tide_buf_clear(&files->text);
	commit->rows = tide_rows_count(rows);
	for (uint32_t row = 0; rc == TIDE_OK && row < commit->rows; row++) {
		tide_json_row_put(&json, rows, row, &files->text);
		tide_buf_put(&files->text, "\n", 1);
		if (files->text.len < WRITE_BYTES && row + 1 < commit->rows)
			continue;
		commit->bytes += files->text.len;
		rc = flush(files, fd, hasher, err);
	}
	tide_json_row_fini(&json);
	if (rc == TIDE_OK && (tide_failpoint("files_sync") != 0 || fsync(fd) != 0))
		rc = tide_fail(err, TIDE_ERR_IO, "sink %s: %s: %s", files->folder.sink,
		               files->folder.own, strerror(errno));
	commit->hash = tide_hasher_sum(hasher);
	return rc;
}

static int files_publish(struct tide_sink *sink, int64_t epoch, const struct tide_rows *rows,
                         struct tide_error *err)
{
	struct files *files = (struct files *)sink;
	struct tide_files_commit commit = { .epoch = epoch };
	int fd = -1;
	struct tide_hasher *hasher = tide_hasher_new();
	if (hasher == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for sink %s", files->folder.sink);
	int rc = tide_files_data_open(&files->folder, epoch, &fd, err);
	if (rc == TIDE_OK)
		rc = write_rows(files, fd, rows, hasher, &commit, err);
	if (fd >= 0)
		close(fd);
	tide_hasher_free(hasher);
	return rc == TIDE_OK ? tide_files_commit(&files->folder, &commit, err) : rc;
}

const struct tide_sink_ops tide_files_ops = {
	.kind = "files",
	.modes = TIDE_MODE_APPEND | TIDE_MODE_UPDATE,
	.open = files_open,
	.last_epoch = files_last_epoch,
	.publish = files_publish,
	.close = files_close,
};
