/* SPDX-License-Identifier: Apache-2.0 */
/* Is a partition still the log that the checkpoint read?
 *
 * Kafka gives no sign when a topic is deleted and made again under its name,
 * so the last record delivered is remembered and looked at again. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mutant.h"
#include "source/kafka_inside.h"

static int bounds(struct tide_kafka *kafka, struct tide_source_part **parts, int count,
                  int64_t position, struct tide_error *err);
static bool judge(const struct tide_source_part *part, struct tide_loss *loss);
static void recreated(const struct tide_source_part *part, struct tide_loss *loss);

int tide_kafka_verify(struct tide_source *src, struct tide_source_part **parts, int count,
                      struct tide_loss *losses, struct tide_error *err)
{
	struct tide_kafka *kafka = (struct tide_kafka *)src;
	assert(parts != NULL && losses != NULL && count >= 0);
	int looked = 0;
	if (count == 0)
		return TIDE_OK;
	/* The loss that each look is about is at the same place in `about`. */
	struct tide_kafka_look *looks = calloc((size_t)count, sizeof *looks);
	struct tide_loss **about = calloc((size_t)count, sizeof(struct tide_loss *));
	int rc = looks != NULL && about != NULL
	                 ? TIDE_OK
	                 : tide_fail(err, TIDE_ERR_NOMEM, "verifying %d partitions", count);
	/* Whatever is said from now on asks for another look. */
	for (int i = 0; i < count; i++)
		atomic_store(&((struct kafka_part *)parts[i])->away, false);
	if (rc == TIDE_OK)
		rc = bounds(kafka, parts, count, RD_KAFKA_OFFSET_END, err);
	if (rc == TIDE_OK)
		rc = bounds(kafka, parts, count, RD_KAFKA_OFFSET_BEGINNING, err);
	for (int i = 0; i < count && rc == TIDE_OK; i++) {
		if (judge(parts[i], &losses[i]))
			continue;
		about[looked] = &losses[i];
		looks[looked++].part = parts[i];
	}
	if (rc == TIDE_OK)
		rc = tide_kafka_look_again(kafka, looks, looked, err);
	for (int i = 0; i < looked && rc == TIDE_OK; i++) {
		if (looks[i].found == TIDE_FOUND_OTHER)
			recreated(looks[i].part, about[i]);
		else if (looks[i].found == TIDE_FOUND_NONE)
			about[i]->kind = TIDE_LOSS_UNVERIFIED;
	}
	free(looks);
	free(about);
	return rc;
}

static void recreated(const struct tide_source_part *part, struct tide_loss *loss)
{
	loss->kind = TIDE_LOSS_RECREATED;
	loss->to = part->start;
	loss->lost = -1;
}

/* What the ends of the log say. False: the record must be looked at. */
static bool judge(const struct tide_source_part *part, struct tide_loss *loss)
{
	*loss = (struct tide_loss){ .kind = TIDE_LOSS_NONE, .from = part->next, .to = part->next };
	if (part->end < part->next) {
		recreated(part, loss);
	} else if (part->start > part->next) {
		loss->kind = TIDE_LOSS_TRIMMED;
		loss->to = part->start;
		loss->lost = part->start - part->next;
	} else if (part->print.offset >= 0 && part->print.offset < part->next &&
	           !tide_mutant(NO_FINGERPRINT)) {
		/* Otherwise there is none, or one from before the partition was put back. */
		if (part->print.offset >= part->start)
			return false;
		loss->kind = TIDE_LOSS_UNVERIFIED;
	}
	return true;
}

/* Where the logs end, or begin. An error may be one of them's, and otherwise all's. */
static rd_kafka_resp_err_t ask(struct tide_kafka *kafka, struct tide_source_part **parts, int count,
                               int64_t position, int *whose)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	for (int i = 0; i < count; i++)
		rd_kafka_topic_partition_list_add(list, parts[i]->topic, parts[i]->partition)
			->offset = position;
	rd_kafka_resp_err_t code = tide_kafka_try_offsets(kafka, list);
	*whose = -1;
	for (int i = 0; i < count && code == 0; i++) {
		code = list->elems[i].err;
		if (code != 0)
			*whose = i;
		else if (position == RD_KAFKA_OFFSET_END)
			parts[i]->end = list->elems[i].offset;
		else
			parts[i]->start = list->elems[i].offset;
	}
	rd_kafka_topic_partition_list_destroy(list);
	return code;
}

static int bounds(struct tide_kafka *kafka, struct tide_source_part **parts, int count,
                  int64_t position, struct tide_error *err)
{
	char what[400], more[40] = "";
	int whose, rc = TIDE_OK;
	rd_kafka_resp_err_t code = ask(kafka, parts, count, position, &whose);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		return TIDE_OK;
	if (code > 0 && whose < 0 && count > 1) {
		/* The broker said no to one of them. Asked alone, it is named. */
		for (int i = 0; i < count && rc == TIDE_OK; i++)
			rc = bounds(kafka, parts + i, 1, position, err);
		return rc;
	}
	if (whose < 0 && count > 1)
		snprintf(more, sizeof more, " and %d more", count - 1);
	const struct tide_source_part *named = parts[whose < 0 ? 0 : whose];
	snprintf(what, sizeof what, "verifying %s-%d%s", named->topic, named->partition, more);
	return tide_client_fail(kafka->control, code, what, err);
}
