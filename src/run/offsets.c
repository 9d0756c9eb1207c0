/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets as text: {"topic":{"0":100,"1":150}}, as Spark writes them. */
#include "run/offsets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void tide_offsets_write(const struct tide_meta *meta, struct tide_buf *out)
{
	const char *topic = NULL;
	tide_buf_printf(out, "{");
	for (int i = 0; i < meta->position_count; i++) {
		const struct tide_position *at = &meta->positions[i];
		bool same = topic != NULL && strcmp(topic, at->topic) == 0;
		if (!same) {
			tide_buf_printf(out, topic ? "}," : "");
			tide_buf_json(out, at->topic, strlen(at->topic));
			tide_buf_printf(out, ":{");
		}
		tide_buf_printf(out, "%s\"%d\":%lld", same ? "," : "", at->partition,
		                (long long)at->next);
		topic = at->topic;
	}
	tide_buf_printf(out, topic ? "}}" : "}");
}

static void skip_space(const char **at)
{
	*at += strspn(*at, " \t\r\n");
}

static bool take(const char **at, char wanted)
{
	skip_space(at);
	if (**at != wanted)
		return false;
	(*at)++;
	return true;
}

/* A quoted name without escapes: topics and partition numbers need none. */
static bool take_name(const char **at, char *out, size_t size)
{
	if (!take(at, '"'))
		return false;
	size_t len = strcspn(*at, "\"\\");
	if ((*at)[len] != '"' || len >= size)
		return false;
	memcpy(out, *at, len);
	out[len] = '\0';
	*at += len + 1;
	return take(at, ':');
}

static bool take_number(const char **at, int64_t *out)
{
	char *end;
	skip_space(at);
	errno = 0;
	*out = strtoll(*at, &end, 10);
	if (end == *at || errno != 0 || *out < 0)
		return false;
	*at = end;
	return true;
}

static int apply_one(struct tide_meta *meta, const char *topic, const char *partition,
                     int64_t offset, struct tide_error *err)
{
	char *end;
	long number = strtol(partition, &end, 10);
	struct tide_position *position =
		*end == '\0' ? tide_meta_position(meta, topic, (int32_t)number) : NULL;
	if (position == NULL)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "the checkpoint knows no partition \"%s\" of "
		                 "topic \"%s\"",
		                 partition, topic);
	position->next = offset;
	return TIDE_OK;
}

int tide_offsets_apply(const char *text, struct tide_meta *meta, struct tide_error *err)
{
	const char *at = text;
	char topic[256], partition[16];
	int64_t offset;
	int rc = TIDE_OK;
	bool ok = take(&at, '{');
	do {
		ok = ok && take_name(&at, topic, sizeof topic) && take(&at, '{');
		do {
			ok = ok && take_name(&at, partition, sizeof partition) &&
			     take_number(&at, &offset);
			if (ok)
				rc = apply_one(meta, topic, partition, offset, err);
		} while (ok && rc == TIDE_OK && take(&at, ','));
		ok = ok && (rc != TIDE_OK || take(&at, '}'));
	} while (ok && rc == TIDE_OK && take(&at, ','));
	if (rc != TIDE_OK)
		return rc;
	ok = ok && take(&at, '}');
	skip_space(&at);
	if (!ok || *at != '\0')
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "offsets look like {\"topic\":{\"0\":100}}; this "
		                 "stops making sense at character %ld: %s",
		                 (long)(at - text) + 1, text);
	return TIDE_OK;
}
