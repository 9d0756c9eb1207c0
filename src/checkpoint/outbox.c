/* SPDX-License-Identifier: Apache-2.0 */
/* The outbox and its segment files.
 *
 * A value: kind, then the rows or the reference (file, size, hash of the file),
 * then a checksum of all that. */
#include "checkpoint/outbox.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/durable.h"
#include "base/hash.h"
#include "base/log.h"
#include "checkpoint/dir.h"

enum { KIND_ROWS = 0, KIND_SEGMENT = 1, SEED = 0x6f757462 };

struct value {
	uint8_t kind;
	struct tide_slice rows;
	char *segment;
	uint64_t size, hash;
};

static int fail_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the outbox");
}

static void put_big_endian(struct tide_buf *out, uint64_t v, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--)
		tide_buf_u8(out, (uint8_t)(v >> (8 * i)));
}

void tide_outbox_key(struct tide_buf *out, const char *sink, int64_t epoch)
{
	size_t len = strlen(sink);
	assert(len < 1 << 16 && epoch >= 0);
	tide_buf_u8(out, 'o');
	put_big_endian(out, len, 2);
	tide_buf_put(out, sink, len);
	put_big_endian(out, (uint64_t)epoch, 8);
}

/* The other way; false on bytes that are no such key. */
static bool key_read(struct tide_slice key, char **sink, int64_t *epoch)
{
	const uint8_t *p = (const uint8_t *)key.p;
	size_t len = key.len > 11 ? (size_t)p[1] << 8 | p[2] : 0;
	if (key.len < 11 || p[0] != 'o' || key.len != len + 11)
		return false;
	uint64_t v = 0;
	for (size_t i = 0; i < 8; i++)
		v = v << 8 | p[3 + len + i];
	*epoch = (int64_t)v;
	*sink = strndup(key.p + 3, len);
	return *sink != NULL && strlen(*sink) == len && *epoch >= 0;
}

/* ---- values ---- */

static void value_end(struct tide_buf *out)
{
	if (!out->failed)
		tide_buf_u64(out, tide_hash(out->p, out->len, SEED));
}

/* Owns value->segment when it succeeds. */
static int value_read(struct tide_slice bytes, struct value *value, struct tide_error *err)
{
	*value = (struct value){ 0 };
	errno = 0;
	size_t body = bytes.len >= 9 ? bytes.len - 8 : 0;
	struct tide_reader in = tide_reader_of(bytes.p, body);
	struct tide_reader tail = tide_reader_of(bytes.p + body, bytes.len - body);
	bool good = body > 0 && tide_read_u64(&tail) == tide_hash(bytes.p, body, SEED);
	value->kind = tide_read_u8(&in);
	if (good && value->kind == KIND_ROWS) {
		value->rows = tide_read_bytes(&in);
	} else if (good && value->kind == KIND_SEGMENT) {
		value->segment = tide_read_str(&in);
		value->size = tide_read_u64(&in);
		value->hash = tide_read_u64(&in);
		good = value->segment != NULL && strchr(value->segment, '/') == NULL;
	} else {
		good = false;
	}
	if (good && !in.failed && in.p == in.end)
		return TIDE_OK;
	bool memory = errno == ENOMEM;
	free(value->segment);
	value->segment = NULL;
	if (memory)
		return fail_memory(err);
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "an entry of the outbox is damaged (its checksum differs)");
}

/* ---- segment files ---- */

static int fail_file(const char *path, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
}

static int segment_write(const struct tide_outbox *outbox, const char *name, struct tide_slice rows,
                         struct tide_error *err)
{
	if (mkdir(outbox->dir, 0777) != 0 && errno != EEXIST)
		return fail_file(outbox->dir, err);
	char *path = tide_dir_path(outbox->dir, name);
	if (path == NULL)
		return fail_memory(err);
	int rc = TIDE_OK;
	int fd = tide_failpoint("segment") != 0
	                 ? -1
	                 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || !tide_write_all(fd, rows.p, rows.len) ||
	    tide_failpoint("segment_sync") != 0 || fsync(fd) != 0)
		rc = fail_file(path, err);
	if (fd >= 0)
		close(fd);
	if (rc == TIDE_OK)
		rc = tide_pass("segment_dir", err);
	if (rc == TIDE_OK)
		rc = tide_dir_sync(outbox->dir, err);
	/* The folder's own name, too: this may be its first file. */
	char *parent = tide_dir_path(outbox->dir, "..");
	if (rc == TIDE_OK)
		rc = parent != NULL ? tide_dir_sync(parent, err) : fail_memory(err);
	free(parent);
	free(path);
	return rc;
}

static int segment_read(const char *path, const struct value *value, struct tide_buf *rows,
                        struct tide_error *err)
{
	struct stat st;
	int rc = TIDE_OK;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		rc = tide_fail(err, TIDE_ERR_CHECKPOINT, "%s: %s; rows of the outbox are lost",
		               path, strerror(errno));
	else if ((uint64_t)st.st_size != value->size)
		rc = tide_fail(err, TIDE_ERR_CHECKPOINT,
		               "%s is damaged: it has %llu bytes and should have %llu", path,
		               (unsigned long long)st.st_size, (unsigned long long)value->size);
	tide_buf_clear(rows);
	if (rc == TIDE_OK && !tide_buf_reserve(rows, value->size))
		rc = fail_memory(err);
	while (rc == TIDE_OK && rows->len < value->size) {
		ssize_t n = read(fd, rows->p + rows->len, value->size - rows->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			rc = fail_file(path, err);
		else
			rows->len += (size_t)n;
	}
	if (rc == TIDE_OK && tide_hash(rows->p, rows->len, SEED) != value->hash)
		rc = tide_fail(err, TIDE_ERR_CHECKPOINT, "%s is damaged: its checksum differs",
		               path);
	if (fd >= 0)
		close(fd);
	return rc;
}

int tide_outbox_rows(const char *checkpoint_dir, struct tide_slice bytes, struct tide_buf *rows,
                     struct tide_error *err)
{
	struct value value;
	char *path = NULL;
	int rc = value_read(bytes, &value, err);
	if (rc != TIDE_OK)
		return rc;
	if (value.kind == KIND_ROWS) {
		tide_buf_clear(rows);
		tide_buf_put(rows, value.rows.p, value.rows.len);
		return rows->failed ? fail_memory(err) : TIDE_OK;
	}
	if (asprintf(&path, "%s/segments/%s", checkpoint_dir, value.segment) < 0) {
		path = NULL;
		rc = fail_memory(err);
	} else {
		rc = segment_read(path, &value, rows, err);
	}
	free(path);
	free(value.segment);
	return rc;
}

/* ---- the queue in memory ---- */

static struct tide_outbox_item *item_add(struct tide_outbox *outbox)
{
	if (outbox->count == outbox->capacity) {
		size_t capacity = outbox->capacity * 2 + 16;
		void *grown = realloc(outbox->items, capacity * sizeof *outbox->items);
		if (grown == NULL)
			return NULL;
		outbox->items = grown;
		outbox->capacity = capacity;
	}
	struct tide_outbox_item *item = &outbox->items[outbox->count++];
	*item = (struct tide_outbox_item){ 0 };
	return item;
}

static int item_load(struct tide_outbox *outbox, struct tide_slice key, struct tide_slice bytes,
                     struct tide_error *err)
{
	struct value value;
	struct tide_outbox_item *item = item_add(outbox);
	if (item == NULL)
		return fail_memory(err);
	if (!key_read(key, &item->sink, &item->epoch))
		return tide_fail(err, TIDE_ERR_CHECKPOINT, "a key of the outbox is damaged");
	int rc = value_read(bytes, &value, err);
	if (rc == TIDE_OK)
		item->segment = value.segment; /* Ownership moves to the item. */
	return rc;
}

int tide_outbox_load(struct tide_outbox *outbox, const char *checkpoint_dir,
                     struct tide_rocks *rocks, struct tide_error *err)
{
	struct tide_slice key, value;
	int rc = TIDE_OK;
	*outbox = (struct tide_outbox){ .dir = tide_dir_path(checkpoint_dir, "segments") };
	if (outbox->dir == NULL)
		return fail_memory(err);
	struct tide_rocks_iter *it = tide_rocks_iter_new(rocks, (struct tide_slice){ "o", 1 },
	                                                 (struct tide_slice){ "p", 1 });
	while (rc == TIDE_OK && it != NULL && tide_rocks_iter_next(it, &key, &value))
		rc = item_load(outbox, key, value, err);
	int end = tide_rocks_iter_end(it, rc == TIDE_OK ? err : NULL);
	return rc != TIDE_OK ? rc : end;
}

void tide_outbox_fini(struct tide_outbox *outbox)
{
	for (size_t i = 0; i < outbox->count; i++) {
		free(outbox->items[i].sink);
		free(outbox->items[i].segment);
	}
	free(outbox->items);
	free(outbox->dir);
	*outbox = (struct tide_outbox){ 0 };
}

void tide_outbox_sweep(const struct tide_outbox *outbox)
{
	DIR *dir = opendir(outbox->dir);
	if (dir == NULL)
		return;
	for (struct dirent *file; (file = readdir(dir)) != NULL;) {
		bool wanted = file->d_name[0] == '.';
		for (size_t i = 0; !wanted && i < outbox->count; i++)
			wanted = outbox->items[i].segment != NULL &&
			         strcmp(outbox->items[i].segment, file->d_name) == 0;
		if (wanted)
			continue;
		(void)tide_failpoint("sweep");
		unlinkat(dirfd(dir), file->d_name, 0);
	}
	closedir(dir);
}

int tide_outbox_add(struct tide_outbox *outbox, struct tide_writes *writes, const char *sink,
                    int64_t epoch, uint64_t decision, struct tide_slice rows,
                    struct tide_error *err)
{
	struct tide_buf key = { 0 }, value = { 0 };
	int rc = TIDE_OK;
	struct tide_outbox_item *item = item_add(outbox);
	if (item == NULL)
		return fail_memory(err);
	item->epoch = epoch;
	item->sink = strdup(sink);
	tide_outbox_key(&key, sink, epoch);
	if (rows.len < TIDE_SEGMENT_BYTES_MIN) {
		tide_buf_u8(&value, KIND_ROWS);
		tide_buf_bytes(&value, rows.p, rows.len);
	} else if (asprintf(&item->segment, "%llu-%zu.rows", (unsigned long long)decision,
	                    outbox->count) < 0) {
		item->segment = NULL;
		rc = fail_memory(err);
	} else {
		tide_buf_u8(&value, KIND_SEGMENT);
		tide_buf_str(&value, item->segment);
		tide_buf_u64(&value, rows.len);
		tide_buf_u64(&value, tide_hash(rows.p, rows.len, SEED));
		rc = segment_write(outbox, item->segment, rows, err);
	}
	value_end(&value);
	if (rc == TIDE_OK && (item->sink == NULL || key.failed || value.failed ||
	                      !tide_writes_put(writes, (struct tide_slice){ key.p, key.len },
	                                       (struct tide_slice){ value.p, value.len })))
		rc = fail_memory(err);
	tide_buf_fini(&key);
	tide_buf_fini(&value);
	return rc;
}

bool tide_outbox_release(struct tide_outbox_item *item, struct tide_writes *writes)
{
	struct tide_buf key = { 0 };
	tide_outbox_key(&key, item->sink, item->epoch);
	item->going = true;
	bool ok = !key.failed && tide_writes_delete(writes, (struct tide_slice){ key.p, key.len });
	tide_buf_fini(&key);
	return ok;
}

size_t tide_outbox_forget(struct tide_outbox *outbox)
{
	size_t left = 0, gone;
	for (size_t i = 0; i < outbox->count; i++) {
		struct tide_outbox_item *item = &outbox->items[i];
		if (!item->going) {
			outbox->items[left++] = *item;
			continue;
		}
		char *path =
			item->segment != NULL ? tide_dir_path(outbox->dir, item->segment) : NULL;
		if (path != NULL)
			(void)tide_failpoint("forget");
		if (path != NULL && unlink(path) != 0)
			tide_log(TIDE_WARN, "%s: %s; the next start removes it", path,
			         strerror(errno));
		free(path);
		free(item->segment);
		free(item->sink);
	}
	gone = outbox->count - left;
	outbox->count = left;
	return gone;
}
