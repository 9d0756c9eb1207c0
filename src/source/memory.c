/* SPDX-License-Identifier: Apache-2.0 */
/* A source in memory. */
#include "source/memory.h"

#include <assert.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Key, value and headers lie one behind the other; a length of -1 is null. */
struct record {
	char *bytes;
	int64_t offset, key_len, value_len, timestamp_ms;
	uint32_t header_count;
	int64_t *header_lens; /* name, value, name, … */
	size_t size;
};

struct log {
	char *topic;
	int32_t partition;
	struct record *records;
	int64_t count, capacity;
	int64_t first, read; /* offsets: where it begins; up to where there is something */
	int64_t end;         /* what it says of its end, if that is more */
};

struct tide_memory {
	int partitions;
	struct log **logs;
	int count;
	struct log *newest;
};

struct memory_source {
	struct tide_source pub;
	struct tide_memory *memory;
	char *topics;
	struct tide_source_part **parts; /* those handed out */
	int part_count;
};

static void log_free(struct log *log)
{
	for (int64_t i = 0; i < log->count; i++) {
		free(log->records[i].bytes);
		free(log->records[i].header_lens);
	}
	free(log->records);
	free(log->topic);
	free(log);
}

struct tide_memory *tide_memory_new(int partitions)
{
	assert(partitions >= 0);
	struct tide_memory *memory = calloc(1, sizeof *memory);
	if (memory != NULL)
		memory->partitions = partitions;
	return memory;
}

void tide_memory_free(struct tide_memory *memory)
{
	if (memory == NULL)
		return;
	for (int i = 0; i < memory->count; i++)
		log_free(memory->logs[i]);
	free(memory->logs);
	free(memory);
}

static struct log *log_find(const struct tide_memory *memory, const char *topic, int32_t partition)
{
	for (int i = 0; i < memory->count; i++)
		if (memory->logs[i]->partition == partition &&
		    strcmp(memory->logs[i]->topic, topic) == 0)
			return memory->logs[i];
	return NULL;
}

static struct log *log_make(struct tide_memory *memory, const char *topic, int32_t partition,
                            int64_t first)
{
	struct log **logs = realloc(memory->logs, ((size_t)memory->count + 1) * sizeof *logs);
	struct log *log = calloc(1, sizeof *log);
	if (logs != NULL)
		memory->logs = logs;
	if (log != NULL)
		log->topic = strdup(topic);
	if (logs == NULL || log == NULL || log->topic == NULL) {
		free(log);
		return NULL;
	}
	log->partition = partition;
	log->first = log->read = log->end = first;
	logs[memory->count++] = log;
	return log;
}

/* The topic with all its partitions, if it is not there. */
static bool topic_make(struct tide_memory *memory, const char *topic)
{
	bool ok = true;
	for (int32_t p = 0; ok && p < memory->partitions; p++)
		ok = log_find(memory, topic, p) != NULL || log_make(memory, topic, p, 0) != NULL;
	return ok;
}

bool tide_memory_place(struct tide_memory *memory, const char *topic, int32_t partition,
                       int64_t first)
{
	assert(first >= 0);
	return log_find(memory, topic, partition) != NULL ||
	       log_make(memory, topic, partition, first) != NULL;
}

static bool append(struct record *record, struct tide_slice slice)
{
	char *bytes = realloc(record->bytes, record->size + slice.len + 1);
	if (bytes == NULL)
		return false;
	record->bytes = bytes;
	if (slice.len > 0)
		memcpy(bytes + record->size, slice.p, slice.len);
	record->size += slice.len;
	return true;
}

/* One more record; twice the room when there is none. */
static struct record *log_grow(struct log *log)
{
	if (log->count == log->capacity) {
		int64_t capacity = log->capacity * 2 + 16;
		struct record *records = realloc(log->records, (size_t)capacity * sizeof *records);
		if (records == NULL)
			return NULL;
		log->records = records;
		log->capacity = capacity;
	}
	return &log->records[log->count];
}

static int64_t length(struct tide_slice slice)
{
	return slice.p == NULL ? -1 : (int64_t)slice.len;
}

static bool add(struct tide_memory *memory, struct log *log, int64_t offset, struct tide_slice key,
                struct tide_slice value, int64_t timestamp_ms)
{
	struct record *record = log_grow(log);
	char *bytes = malloc(key.len + value.len + 1);
	if (record == NULL || bytes == NULL) {
		free(bytes);
		return false;
	}
	*record = (struct record){ .bytes = bytes,
		                   .offset = offset,
		                   .key_len = length(key),
		                   .value_len = length(value),
		                   .timestamp_ms = timestamp_ms,
		                   .size = key.len + value.len };
	if (key.len > 0)
		memcpy(bytes, key.p, key.len);
	if (value.len > 0)
		memcpy(bytes + key.len, value.p, value.len);
	log->count++;
	log->read = offset + 1;
	memory->newest = log;
	return true;
}

bool tide_memory_add(struct tide_memory *memory, const char *topic, int32_t partition,
                     struct tide_slice key, struct tide_slice value, int64_t timestamp_ms)
{
	if (!topic_make(memory, topic))
		return false;
	struct log *log = log_find(memory, topic, partition);
	return log != NULL && add(memory, log, log->read, key, value, timestamp_ms);
}

bool tide_memory_lacks(const struct tide_memory *memory, const char *topic, int32_t partition,
                       int64_t offset)
{
	const struct log *log = log_find(memory, topic, partition);
	assert(log != NULL);
	return offset >= log->read;
}

bool tide_memory_add_at(struct tide_memory *memory, const char *topic, int32_t partition,
                        int64_t offset, struct tide_slice key, struct tide_slice value,
                        int64_t timestamp_ms)
{
	struct log *log = log_find(memory, topic, partition);
	assert(log != NULL && offset >= log->read);
	return add(memory, log, offset, key, value, timestamp_ms);
}

void tide_memory_end(struct tide_memory *memory, const char *topic, int32_t partition, int64_t read,
                     int64_t end)
{
	struct log *log = log_find(memory, topic, partition);
	assert(log != NULL);
	if (read > log->read)
		log->read = read;
	log->end = end;
}

bool tide_memory_header(struct tide_memory *memory, struct tide_slice name, struct tide_slice value)
{
	assert(memory->newest != NULL);
	struct record *record = &memory->newest->records[memory->newest->count - 1];
	size_t at = (size_t)record->header_count * 2;
	int64_t *lens = realloc(record->header_lens, (at + 2) * sizeof *lens);
	if (lens == NULL)
		return false;
	record->header_lens = lens;
	lens[at] = (int64_t)name.len;
	lens[at + 1] = length(value);
	if (!append(record, name) || !append(record, value))
		return false;
	record->header_count++;
	return true;
}

void tide_memory_offset(struct tide_memory *memory, int64_t offset)
{
	struct log *log = memory->newest;
	assert(log != NULL && log->records[log->count - 1].offset <= offset);
	log->records[log->count - 1].offset = offset;
	log->read = offset + 1;
	if (log->count == 1)
		log->first = offset;
}

/* --- the source ---------------------------------------------------------------- */

static bool wanted(const struct memory_source *source, const char *topic)
{
	if (source->topics[0] == '^') {
		regex_t pattern;
		if (regcomp(&pattern, source->topics, REG_EXTENDED | REG_NOSUB) != 0)
			return false;
		bool ok = regexec(&pattern, topic, 0, NULL, 0) == 0;
		regfree(&pattern);
		return ok;
	}
	size_t len = strlen(topic);
	for (const char *at = source->topics; at != NULL; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, topic, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
	}
	return false;
}

static bool make_topics(const struct memory_source *source)
{
	char *list = strdup(source->topics), *rest = list, *topic;
	bool ok = list != NULL;
	while (ok && source->topics[0] != '^' && (topic = strsep(&rest, ",")) != NULL)
		ok = topic_make(source->memory, topic);
	free(list);
	return ok;
}

static bool handed_out(const struct memory_source *source, const struct log *log)
{
	for (int i = 0; i < source->part_count; i++)
		if (source->parts[i]->priv == log)
			return true;
	return false;
}

static struct tide_source_part *hand_out(struct memory_source *source, struct log *log)
{
	struct tide_source_part **parts =
		realloc(source->parts, ((size_t)source->part_count + 1) * sizeof *parts);
	if (parts != NULL)
		source->parts = parts;
	struct tide_source_part *part = parts != NULL ? calloc(1, sizeof *part) : NULL;
	if (part == NULL)
		return NULL;
	*part = (struct tide_source_part){
		.topic = log->topic, .partition = log->partition, .next = -1, .priv = log
	};
	part->print.offset = -1;
	parts[source->part_count++] = part;
	return part;
}

static int memory_discover(struct tide_source *src, struct tide_source_part ***parts, int *count,
                           struct tide_error *err)
{
	struct memory_source *source = (struct memory_source *)src;
	bool ok = make_topics(source);
	for (int i = 0; ok && i < source->memory->count; i++) {
		struct log *log = source->memory->logs[i];
		if (!wanted(source, log->topic) || handed_out(source, log))
			continue;
		struct tide_source_part **grown =
			realloc(*parts, ((size_t)*count + 1) * sizeof *grown);
		if (grown != NULL)
			*parts = grown;
		struct tide_source_part *part = grown != NULL ? hand_out(source, log) : NULL;
		ok = part != NULL;
		if (ok)
			(*parts)[(*count)++] = part;
	}
	return ok ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory for topics");
}

static int64_t end_of(const struct log *log)
{
	return log->end > log->read ? log->end : log->read;
}

static int memory_ends(struct tide_source *src, struct tide_source_part **parts, int count,
                       struct tide_error *err)
{
	(void)src, (void)err;
	for (int i = 0; i < count; i++)
		parts[i]->end = end_of(parts[i]->priv);
	return TIDE_OK;
}

static int64_t offset_of(const struct log *log, const char *position)
{
	int64_t ms = strtoll(position, NULL, 10);
	int64_t i = 0;
	if (strcmp(position, "latest") == 0)
		return end_of(log);
	if (strcmp(position, "earliest") == 0)
		return log->first;
	while (i < log->count && log->records[i].timestamp_ms < ms)
		i++;
	return i < log->count ? log->records[i].offset : log->read;
}

static int memory_resolve(struct tide_source *src, struct tide_source_part **parts, int count,
                          const char *position, int64_t *offsets, struct tide_error *err)
{
	(void)src, (void)err;
	for (int i = 0; i < count; i++)
		offsets[i] = offset_of(parts[i]->priv, position);
	return TIDE_OK;
}

static int memory_verify(struct tide_source *src, struct tide_source_part **parts, int count,
                         struct tide_loss *losses, struct tide_error *err)
{
	(void)src, (void)parts, (void)err;
	for (int i = 0; i < count; i++)
		losses[i] = (struct tide_loss){ .kind = TIDE_LOSS_NONE };
	return TIDE_OK;
}

static int memory_seek(struct tide_source *src, struct tide_source_part **parts, int count,
                       struct tide_error *err)
{
	(void)src, (void)err;
	for (int i = 0; i < count; i++)
		parts[i]->placed = true;
	return TIDE_OK;
}

static void memory_wait(struct tide_source *src, int timeout_ms)
{
	(void)src, (void)timeout_ms;
}

/* The bytes at *at, which moves behind them. */
static struct tide_slice piece(const char **at, int64_t len)
{
	struct tide_slice slice = { len < 0 ? NULL : *at, len < 0 ? 0 : (size_t)len };
	*at += slice.len;
	return slice;
}

static bool deliver(struct tide_batch *batch, const struct record *record)
{
	const char *at = record->bytes;
	struct tide_slice key = piece(&at, record->key_len);
	struct tide_slice value = piece(&at, record->value_len);
	bool ok = tide_batch_add(batch, key, value, record->offset, record->timestamp_ms) != NULL &&
	          tide_batch_headers(batch, record->header_count);
	for (uint32_t i = 0; ok && i < record->header_count; i++) {
		struct tide_slice name = piece(&at, record->header_lens[2 * i]);
		ok = tide_batch_header_set(batch, i, name,
		                           piece(&at, record->header_lens[2 * i + 1]));
	}
	return ok;
}

/* The number of the first record at or behind an offset. */
static int64_t first_from(const struct log *log, int64_t offset)
{
	int64_t low = 0, high = log->count;
	while (low < high) {
		int64_t middle = low + (high - low) / 2;
		if (log->records[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int memory_fetch(struct tide_source *src, struct tide_source_part *part, int64_t to,
                        int timeout_ms, struct tide_batch *batch, struct tide_error *err)
{
	(void)src, (void)timeout_ms;
	const struct log *log = part->priv;
	int64_t i = first_from(log, part->next);
	for (; i < log->count && log->records[i].offset < to && !tide_batch_full(batch); i++) {
		if (!deliver(batch, &log->records[i]))
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a batch");
		part->next = log->records[i].offset + 1;
	}
	/* Offsets behind the last record hold none. */
	if (i == log->count || log->records[i].offset >= to)
		part->next = to < log->read ? to : log->read;
	return TIDE_OK;
}

static void memory_mirror(struct tide_source *src, struct tide_source_part **parts, int count)
{
	(void)src, (void)parts, (void)count;
}

static int memory_poll(struct tide_source *src, struct tide_error *err)
{
	(void)src, (void)err;
	return TIDE_OK;
}

static void memory_close(struct tide_source *src)
{
	struct memory_source *source = (struct memory_source *)src;
	for (int i = 0; i < source->part_count; i++)
		free(source->parts[i]);
	free(source->parts);
	free(source->topics);
	free(source);
}

int tide_memory_open(struct tide_memory *memory, const struct tide_options *options,
                     struct tide_source **out, struct tide_error *err)
{
	static const struct tide_source_ops ops = {
		.kind = "memory",
		.discover = memory_discover,
		.ends = memory_ends,
		.resolve = memory_resolve,
		.verify = memory_verify,
		.seek = memory_seek,
		.wait = memory_wait,
		.fetch = memory_fetch,
		.mirror = memory_mirror,
		.poll = memory_poll,
		.close = memory_close,
	};
	const char *topics = tide_option_get(options, "topics");
	struct memory_source *source = calloc(1, sizeof *source);
	assert(topics != NULL);
	if (source != NULL)
		source->topics = strdup(topics);
	if (source == NULL || source->topics == NULL) {
		free(source);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a source");
	}
	source->pub.ops = &ops;
	source->memory = memory;
	*out = &source->pub;
	return TIDE_OK;
}
