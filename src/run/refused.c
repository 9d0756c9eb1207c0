/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that a sink will not take, before their epoch is decided. */
#include "run/refused.h"

#include <stdio.h>

#include "base/log.h"
#include "record/batch.h"
#include "run/letter.h"

enum { LOGGED_MAX = 5 /* of an epoch; the sink gets all of them */ };

struct sifting {
	const struct tide_rows *rows;
	struct tide_rows *kept, *letters;
	struct tide_ring *ring;
	const char *place;
	uint32_t next; /* rows before it are kept, or letters */
	int logged;
};

static bool keep_to(struct sifting *sifting, uint32_t end)
{
	uint32_t from = sifting->next;
	sifting->next = end;
	return end <= from ||
	       tide_rows_extend_range(sifting->kept, sifting->rows, from, end - from);
}

/* A letter is of a record, and this one is what the row would have become. */
static bool refuse(void *arg, const struct tide_refused *refused)
{
	struct sifting *sifting = arg;
	char topic[256];
	if (!keep_to(sifting, refused->row))
		return false;
	sifting->next = refused->row + 1;
	snprintf(topic, sizeof topic, "%.*s", (int)refused->topic.len,
	         refused->topic.p != NULL ? refused->topic.p : "");
	if (sifting->logged++ < LOGGED_MAX)
		tide_log(TIDE_WARN, "a row for topic %s is set aside: %s", topic, refused->reason);
	struct tide_batch *batch = tide_ring_next(sifting->ring, topic, -1);
	bool ok = batch != NULL &&
	          tide_batch_add(batch, refused->key, refused->value, -1,
	                         refused->timestamp_ms > 0 ? refused->timestamp_ms : -1) != NULL &&
	          tide_batch_headers(batch, (uint32_t)refused->header_count);
	for (int i = 0; ok && i < refused->header_count; i++)
		ok = tide_batch_header_set(batch, (uint32_t)i, refused->header_names[i],
		                           refused->header_values[i]);
	return ok && tide_letter_add(sifting->letters, batch, 0, refused->reason, sifting->place);
}

int tide_refused_sift(struct tide_sink *sink, struct tide_rows **rows, struct tide_rows **letters,
                      const struct tide_schema *letter, const char *place, struct tide_error *err)
{
	struct sifting sifting = { .rows = *rows, .place = place };
	struct tide_refuse how = { refuse, &sifting };
	sifting.kept = tide_rows_new(tide_rows_schema(*rows));
	sifting.ring = tide_ring_new();
	if (*letters == NULL)
		*letters = tide_rows_new(letter);
	sifting.letters = *letters;
	int rc = sifting.kept == NULL || sifting.ring == NULL || *letters == NULL
	                 ? tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows")
	                 : sink->ops->check(sink, *rows, &how, err);
	/* All was taken, mostly. */
	if (rc == TIDE_OK && sifting.next > 0) {
		if (keep_to(&sifting, tide_rows_count(*rows))) {
			tide_rows_free(*rows);
			*rows = sifting.kept;
			sifting.kept = NULL;
		} else {
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows");
		}
	}
	tide_rows_free(sifting.kept);
	tide_ring_free(sifting.ring);
	return rc;
}
