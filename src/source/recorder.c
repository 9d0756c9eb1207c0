/* SPDX-License-Identifier: Apache-2.0 */
/* A recorder: stands around a source and keeps a copy of what it delivers. */
#include "source/recorder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "source/recording.h"

/* What was delivered of one partition; only who fetches from it writes it. */
struct track {
	const struct tide_source_part *part;
	struct tide_buf records;
};

struct recorder {
	struct tide_source pub;
	struct tide_source *inner;
	struct track **tracks;
	int track_count;
};

static struct recorder *recorder_of(struct tide_source *src)
{
	return (struct recorder *)src;
}

static struct track *track_of(const struct recorder *recorder, const struct tide_source_part *part)
{
	for (int i = 0; i < recorder->track_count; i++)
		if (recorder->tracks[i]->part == part)
			return recorder->tracks[i];
	assert(false); /* A partition that was never discovered. */
	return NULL;
}

static int add_track(struct recorder *recorder, const struct tide_source_part *part,
                     struct tide_error *err)
{
	struct track *track = calloc(1, sizeof *track);
	struct track **tracks = realloc(recorder->tracks, ((size_t)recorder->track_count + 1) *
	                                                          sizeof(struct track *));
	if (tracks != NULL)
		recorder->tracks = tracks;
	if (track == NULL || tracks == NULL) {
		free(track);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to record %s-%d", part->topic,
		                 part->partition);
	}
	track->part = part;
	tracks[recorder->track_count++] = track;
	return TIDE_OK;
}

static int recorder_discover(struct tide_source *src, struct tide_source_part ***parts, int *count,
                             struct tide_error *err)
{
	struct recorder *recorder = recorder_of(src);
	int before = *count;
	int rc = recorder->inner->ops->discover(recorder->inner, parts, count, err);
	for (int i = before; rc == TIDE_OK && i < *count; i++)
		rc = add_track(recorder, (*parts)[i], err);
	return rc;
}

static int recorder_ends(struct tide_source *src, struct tide_source_part **parts, int count,
                         struct tide_error *err)
{
	struct tide_source *inner = recorder_of(src)->inner;
	return inner->ops->ends(inner, parts, count, err);
}

static int recorder_resolve(struct tide_source *src, struct tide_source_part **parts, int count,
                            const char *position, int64_t *offsets, struct tide_error *err)
{
	struct tide_source *inner = recorder_of(src)->inner;
	return inner->ops->resolve(inner, parts, count, position, offsets, err);
}

static int recorder_verify(struct tide_source *src, struct tide_source_part **parts, int count,
                           struct tide_loss *losses, struct tide_error *err)
{
	struct tide_source *inner = recorder_of(src)->inner;
	return inner->ops->verify(inner, parts, count, losses, err);
}

static int recorder_seek(struct tide_source *src, struct tide_source_part **parts, int count,
                         struct tide_error *err)
{
	struct tide_source *inner = recorder_of(src)->inner;
	return inner->ops->seek(inner, parts, count, err);
}

static void recorder_wait(struct tide_source *src, int timeout_ms)
{
	struct tide_source *inner = recorder_of(src)->inner;
	inner->ops->wait(inner, timeout_ms);
}

static struct tide_slice bytes_of(const struct tide_view *view)
{
	if (view->len_ < 0)
		return (struct tide_slice){ NULL, 0 };
	/* Empty is not null. */
	const char *p = tide_view_p(view);
	return (struct tide_slice){ p != NULL ? p : "", (size_t)view->len_ };
}

static void keep(struct tide_buf *out, const struct tide_rec *rec)
{
	const struct tide_header *headers = (const void *)(uintptr_t)rec->headers_addr_;
	tide_recorded_begin(out, rec->offset_, rec->timestamp_ms_, bytes_of(&rec->key_),
	                    bytes_of(&rec->value_), rec->header_count);
	for (uint32_t i = 0; i < rec->header_count; i++)
		tide_recorded_put_header(out, bytes_of(&headers[i].name_),
		                         bytes_of(&headers[i].value_));
}

static int recorder_fetch(struct tide_source *src, struct tide_source_part *part, int64_t to,
                          int timeout_ms, struct tide_batch *batch, struct tide_error *err)
{
	struct recorder *recorder = recorder_of(src);
	uint32_t before = batch->count;
	int rc = recorder->inner->ops->fetch(recorder->inner, part, to, timeout_ms, batch, err);
	struct track *track = track_of(recorder, part);
	for (uint32_t i = before; i < batch->count; i++)
		keep(&track->records, &batch->recs[i]);
	return rc;
}

static void recorder_mirror(struct tide_source *src, struct tide_source_part **parts, int count)
{
	(void)src, (void)parts, (void)count; /* The group is the running job's. */
}

static int recorder_poll(struct tide_source *src, struct tide_error *err)
{
	struct tide_source *inner = recorder_of(src)->inner;
	return inner->ops->poll(inner, err);
}

static void recorder_close(struct tide_source *src)
{
	struct recorder *recorder = recorder_of(src);
	recorder->inner->ops->close(recorder->inner);
	for (int i = 0; i < recorder->track_count; i++) {
		tide_buf_fini(&recorder->tracks[i]->records);
		free(recorder->tracks[i]);
	}
	free(recorder->tracks);
	free(recorder);
}

static const struct tide_source_ops recorder_ops = {
	.kind = "recorder",
	.discover = recorder_discover,
	.ends = recorder_ends,
	.resolve = recorder_resolve,
	.verify = recorder_verify,
	.seek = recorder_seek,
	.wait = recorder_wait,
	.fetch = recorder_fetch,
	.mirror = recorder_mirror,
	.poll = recorder_poll,
	.close = recorder_close,
};

int tide_recorder_wrap(struct tide_source **source, struct tide_error *err)
{
	struct recorder *recorder = calloc(1, sizeof *recorder);
	assert(*source != NULL);
	if (recorder == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a recorder");
	recorder->pub.ops = &recorder_ops;
	recorder->inner = *source;
	*source = &recorder->pub;
	return TIDE_OK;
}

bool tide_recorder_take(struct tide_source *recorder, const struct tide_source_part *part,
                        struct tide_buf *out)
{
	assert(recorder->ops == &recorder_ops);
	struct track *track = track_of(recorder_of(recorder), part);
	bool ok = !track->records.failed;
	tide_buf_put(out, track->records.p, track->records.len);
	tide_buf_fini(&track->records);
	return ok && !out->failed;
}
