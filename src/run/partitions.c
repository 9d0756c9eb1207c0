/* SPDX-License-Identifier: Apache-2.0 */
/* The partitions of a run: which there are, and where each begins. */
#include "run/partitions.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "source/kafka.h"
#include "source/memory.h"

/* Lines of where partitions begin: a topic may have thousands. */
enum { SHOWN_NEW = 8, SHOWN_KNOWN = 32 };

/* The options of an input, with what the command line overrides. */
static int open_source(struct tide_partitions *partitions, int input, struct tide_error *err)
{
	const struct tide_settings *settings = partitions->settings;
	const struct tide_plan_input *plan = &partitions->plan->inputs[input];
	struct tide_options options = { 0 };
	bool ok = tide_option_set(&options, "brokers", settings->brokers_default);
	int rc;
	for (int i = 0; ok && i < plan->options.count; i++)
		ok = tide_option_set(&options, plan->options.items[i].key,
		                     plan->options.items[i].value);
	const char *over[][2] = {
		{ "brokers", settings->brokers },
		{ "topics", settings->topic },
		{ "group", settings->group },
		{ "profile", settings->profile },
		{ "preflight", settings->preflight ? "true" : "false" },
	};
	for (size_t i = 0; ok && i < sizeof over / sizeof over[0]; i++)
		if (over[i][1] != NULL)
			ok = tide_option_set(&options, over[i][0], over[i][1]);
	for (int i = 0; ok && settings->rdkafka != NULL && i < settings->rdkafka->count; i++)
		ok = tide_option_set(&options, settings->rdkafka->items[i].key,
		                     settings->rdkafka->items[i].value);
	const struct tide_harness *harness = settings->harness;
	if (ok && harness != NULL && harness->memory != NULL)
		rc = tide_memory_open(harness->memory, &options, &partitions->sources[input], err);
	else if (ok)
		rc = tide_kafka_open(&options, &partitions->sources[input], err);
	else
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the source");
	if (rc == TIDE_OK && harness != NULL && harness->wrap != NULL)
		rc = harness->wrap(harness->arg, &partitions->sources[input], err);
	tide_options_fini(&options);
	return rc;
}

/* One topic in place of several would be read several times. */
static int check_topic(const struct tide_plan *plan, const char *topic, struct tide_error *err)
{
	for (int i = 1; topic != NULL && i < plan->input_count; i++) {
		const char *first = tide_option_get(&plan->inputs[0].options, "topics");
		const char *other = tide_option_get(&plan->inputs[i].options, "topics");
		if (strcmp(first, other) != 0)
			return tide_fail(err, TIDE_ERR_USAGE,
			                 "--topic %s (or its variable) is one topic, and this job "
			                 "reads several (%s, %s): leave it out; a job can take the "
			                 "names of its topics from tide.setting and --set",
			                 topic, first, other);
	}
	return TIDE_OK;
}

int tide_partitions_open(struct tide_partitions *partitions, const struct tide_plan *plan,
                         const struct tide_settings *settings, struct tide_error *err)
{
	size_t count = (size_t)plan->input_count + 1;
	*partitions = (struct tide_partitions){ .plan = plan, .settings = settings };
	partitions->sources = calloc(count, sizeof *partitions->sources);
	partitions->parts = calloc(count, sizeof *partitions->parts);
	partitions->part_counts = calloc(count, sizeof *partitions->part_counts);
	if (partitions->sources == NULL || partitions->parts == NULL ||
	    partitions->part_counts == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for sources");
	int rc = check_topic(plan, settings->topic, err);
	for (int i = 0; rc == TIDE_OK && i < plan->input_count; i++)
		rc = open_source(partitions, i, err);
	return rc;
}

static void share_free(struct tide_share *share, int output_count, int keyed_count)
{
	for (int o = 0; share->rows != NULL && o < output_count; o++)
		tide_rows_free(share->rows[o]);
	free(share->rows);
	for (int k = 0; share->claims != NULL && k < keyed_count; k++)
		tide_claims_free(share->claims[k]);
	free(share->claims);
	free(share->max_us);
	free(share);
}

void tide_partitions_close(struct tide_partitions *partitions)
{
	if (partitions->plan == NULL)
		return;
	for (int i = 0; i < partitions->count; i++)
		share_free(partitions->shares[i], partitions->plan->output_count,
		           partitions->plan->keyed_count);
	for (int i = 0; partitions->sources != NULL && i < partitions->plan->input_count; i++)
		if (partitions->sources[i] != NULL)
			partitions->sources[i]->ops->close(partitions->sources[i]);
	for (int i = 0; partitions->parts != NULL && i < partitions->plan->input_count; i++)
		free(partitions->parts[i]);
	free(partitions->shares);
	free(partitions->sources);
	free(partitions->parts);
	free(partitions->part_counts);
	*partitions = (struct tide_partitions){ 0 };
}

static int by_input_topic_partition(const void *a, const void *b)
{
	const struct tide_share *x = *(struct tide_share *const *)a;
	const struct tide_share *y = *(struct tide_share *const *)b;
	if (x->input != y->input)
		return x->input < y->input ? -1 : 1;
	int order = strcmp(x->part->topic, y->part->topic);
	if (order != 0)
		return order;
	return x->part->partition < y->part->partition ? -1
	                                               : x->part->partition > y->part->partition;
}

static int add_share(struct tide_partitions *partitions, int input, struct tide_source_part *part,
                     struct tide_error *err)
{
	struct tide_share *share = calloc(1, sizeof *share);
	struct tide_share **shares =
		realloc(partitions->shares, sizeof *shares * ((size_t)partitions->count + 1));
	if (shares != NULL)
		partitions->shares = shares;
	if (share != NULL) {
		share->rows =
			calloc((size_t)partitions->plan->output_count + 1, sizeof *share->rows);
		share->claims =
			calloc((size_t)partitions->plan->keyed_count + 1, sizeof *share->claims);
		share->max_us =
			calloc((size_t)partitions->plan->mark_count + 1, sizeof *share->max_us);
	}
	if (share == NULL || shares == NULL || share->rows == NULL || share->max_us == NULL ||
	    share->claims == NULL) {
		if (share != NULL)
			share_free(share, 0, 0);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for partition %s-%d", part->topic,
		                 part->partition);
	}
	share->source = partitions->sources[input];
	share->part = part;
	share->input = input;
	for (int m = 0; m < partitions->plan->mark_count; m++)
		share->max_us[m] = INT64_MIN;
	shares[partitions->count++] = share;
	return TIDE_OK;
}

int tide_partitions_discover(struct tide_partitions *partitions, bool *found,
                             struct tide_error *err)
{
	*found = false;
	for (int i = 0; i < partitions->plan->input_count; i++) {
		struct tide_source *source = partitions->sources[i];
		int before = partitions->part_counts[i];
		int rc = source->ops->discover(source, &partitions->parts[i],
		                               &partitions->part_counts[i], err);
		for (int p = before; rc == TIDE_OK && p < partitions->part_counts[i]; p++) {
			rc = add_share(partitions, i, partitions->parts[i][p], err);
			*found = true;
		}
		if (rc != TIDE_OK)
			return rc;
	}
	if (*found)
		qsort(partitions->shares, (size_t)partitions->count, sizeof *partitions->shares,
		      by_input_topic_partition);
	return TIDE_OK;
}

/* The partition's past is not what was promised: fail, or go on where the
 * log goes on, and say exactly what is missing. */
static int accept_loss(struct tide_partitions *partitions, struct tide_source_part *part,
                       const struct tide_loss *loss, struct tide_error *err)
{
	char text[2048];
	if (loss->kind == TIDE_LOSS_NONE)
		return TIDE_OK;
	tide_loss_text(part, loss, partitions->settings->fail_on_data_loss,
	               partitions->settings->checkpoint_dir, text, sizeof text);
	if (loss->kind == TIDE_LOSS_UNVERIFIED) {
		tide_log(TIDE_WARN, "%s", text);
		return TIDE_OK;
	}
	if (partitions->settings->fail_on_data_loss)
		return tide_fail(err, TIDE_ERR_DATA_LOSS, "%s", text);
	tide_log(TIDE_WARN, "%s", text);
	tide_log(TIDE_WARN,
	         "going on from offset %lld of %s-%d because fail-on-data-loss is false; "
	         "lost_records=%lld",
	         (long long)loss->to, part->topic, part->partition, (long long)loss->lost);
	if (loss->lost > 0)
		partitions->lost += (uint64_t)loss->lost;
	part->next = loss->to;
	part->print = (struct tide_fingerprint){ .offset = -1 };
	return TIDE_OK;
}

static const struct tide_position *position_of(const struct tide_meta *meta,
                                               const struct tide_source_part *part)
{
	for (int i = 0; i < meta->position_count; i++)
		if (meta->positions[i].partition == part->partition &&
		    strcmp(meta->positions[i].topic, part->topic) == 0)
			return &meta->positions[i];
	return NULL;
}

/* What is said of many partitions: the first ones, and then how many more. */
struct said {
	const char *verb, *why;
	int most, count;
	int64_t least, greatest; /* of those that were not shown */
};

static void say(struct said *said, const struct tide_source_part *part)
{
	if (said->count++ < said->most) {
		tide_log(TIDE_INFO, "%s-%d %s at offset %lld (%s)", part->topic, part->partition,
		         said->verb, (long long)part->next, said->why);
		return;
	}
	if (said->count == said->most + 1 || part->next < said->least)
		said->least = part->next;
	if (said->count == said->most + 1 || part->next > said->greatest)
		said->greatest = part->next;
}

static void say_rest(const struct said *said)
{
	int more = said->count - said->most;
	if (more > 0 && said->least == said->greatest)
		tide_log(TIDE_INFO, "and %d more partition%s, at offset %lld (%s)", more,
		         more == 1 ? "" : "s", (long long)said->least, said->why);
	else if (more > 0)
		tide_log(TIDE_INFO, "and %d more partitions, at offsets %lld to %lld (%s)", more,
		         (long long)said->least, (long long)said->greatest, said->why);
}

static int place_new(struct tide_partitions *partitions, int input, struct tide_source_part **parts,
                     int count, bool from_start, struct tide_error *err)
{
	const char *start = partitions->settings->from;
	if (start == NULL)
		start = tide_option_get(&partitions->plan->inputs[input].options, "start");
	if (start == NULL || from_start)
		start = "earliest";
	struct said said = { .verb = "starts", .why = start, .most = SHOWN_NEW };
	int64_t *offsets = malloc(((size_t)count + 1) * sizeof *offsets);
	if (offsets == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to place partitions");
	struct tide_source *source = partitions->sources[input];
	int rc = source->ops->resolve(source, parts, count, start, offsets, err);
	for (int i = 0; rc == TIDE_OK && i < count; i++) {
		parts[i]->print = (struct tide_fingerprint){ .offset = -1 };
		parts[i]->next = offsets[i];
		say(&said, parts[i]);
	}
	say_rest(&said);
	free(offsets);
	return rc;
}

/* Where the checkpoint says, or it was before it got lost. */
static void place_known(struct tide_share *share, const struct tide_position *position,
                        struct said *said)
{
	struct tide_source_part *part = share->part;
	if (share->lost)
		return;
	part->next = position->next;
	part->print =
		(struct tide_fingerprint){ position->print_offset, position->print_timestamp_ms,
		                           position->print_hash };
	say(said, part);
}

/* Are they still the logs that they were? All are asked at once, and judged in turn. */
static int verify_known(struct tide_partitions *partitions, struct tide_source *source,
                        struct tide_share **known, int count, struct tide_error *err)
{
	struct tide_source_part **parts = malloc(((size_t)count + 1) * sizeof *parts);
	struct tide_loss *losses = calloc((size_t)count + 1, sizeof *losses);
	int rc = parts != NULL && losses != NULL
	                 ? TIDE_OK
	                 : tide_fail(err, TIDE_ERR_NOMEM, "no memory to place partitions");
	for (int i = 0; rc == TIDE_OK && i < count; i++)
		parts[i] = known[i]->part;
	if (rc == TIDE_OK && count > 0)
		rc = source->ops->verify(source, parts, count, losses, err);
	for (int i = 0; i < count; i++) {
		if (rc == TIDE_OK) {
			rc = accept_loss(partitions, parts[i], &losses[i], err);
			known[i]->lost = false;
		} else if (rc == TIDE_ERR_UNAVAILABLE) {
			/* Who could not be asked is asked again. */
			known[i]->lost = true;
		}
	}
	free(parts);
	free(losses);
	return rc;
}

/* The parts of an input that have no place. `placed` has room for them, and again for
 * those among them that are new; `known` for the others. */
static int place_input(struct tide_partitions *partitions, int input, const struct tide_meta *meta,
                       bool running, struct tide_source_part **placed, struct tide_share **known,
                       struct tide_error *err)
{
	struct tide_source *source = partitions->sources[input];
	struct tide_source_part **new = placed + partitions->count;
	struct said said = { .verb = "goes on", .why = "checkpoint", .most = SHOWN_KNOWN };
	int count = 0, new_count = 0, known_count = 0, rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < partitions->count; i++) {
		struct tide_share *share = partitions->shares[i];
		if (share->input != input || (share->part->placed && !share->lost))
			continue;
		placed[count++] = share->part;
		const struct tide_position *position = position_of(meta, share->part);
		rc = tide_pass("place", err);
		if (rc == TIDE_OK && position == NULL && !share->lost) {
			new[new_count++] = share->part;
		} else if (rc == TIDE_OK) {
			place_known(share, position, &said);
			known[known_count++] = share;
		}
	}
	say_rest(&said);
	if (rc == TIDE_OK)
		rc = verify_known(partitions, source, known, known_count, err);
	/* What appeared since the job began is read whole: nobody has seen it. */
	if (rc == TIDE_OK && new_count > 0)
		rc = place_new(partitions, input, new, new_count,
		               running || meta->position_count > 0, err);
	if (rc == TIDE_OK && count > 0)
		rc = source->ops->seek(source, placed, count, err);
	for (int i = 0; rc == TIDE_OK && i < count; i++)
		placed[i]->placed = true;
	return rc;
}

int tide_partitions_place(struct tide_partitions *partitions, const struct tide_meta *meta,
                          bool running, struct tide_error *err)
{
	size_t count = (size_t)partitions->count;
	struct tide_source_part **placed = malloc(sizeof *placed * (count * 2 + 1));
	struct tide_share **known = malloc(sizeof *known * (count + 1));
	int rc = placed != NULL && known != NULL
	                 ? TIDE_OK
	                 : tide_fail(err, TIDE_ERR_NOMEM, "no memory to place partitions");
	for (int input = 0; rc == TIDE_OK && input < partitions->plan->input_count; input++)
		rc = place_input(partitions, input, meta, running, placed, known, err);
	free(placed);
	free(known);
	return rc;
}

int tide_partitions_drop(struct tide_partitions *partitions, const struct tide_meta *meta,
                         struct tide_error *err)
{
	const struct tide_plan *plan = partitions->plan;
	for (int i = 0; i < partitions->count; i++) {
		struct tide_share *share = partitions->shares[i];
		for (int o = 0; o < plan->output_count; o++)
			if (share->rows[o] != NULL)
				tide_rows_clear(share->rows[o]);
		for (int m = 0; m < plan->mark_count; m++)
			share->max_us[m] = INT64_MIN;
		share->part->placed = false;
		share->lost = false;
	}
	return tide_partitions_place(partitions, meta, true, err);
}

int tide_partitions_ends(struct tide_partitions *partitions, struct tide_error *err)
{
	for (int i = 0; i < partitions->plan->input_count; i++) {
		struct tide_source *source = partitions->sources[i];
		int rc = source->ops->ends(source, partitions->parts[i], partitions->part_counts[i],
		                           err);
		if (rc != TIDE_OK)
			return rc;
	}
	return TIDE_OK;
}

static int64_t backlog_of(const struct tide_share *share)
{
	int64_t end = share->part->end < share->bound ? share->part->end : share->bound;
	return end > share->part->next ? end - share->part->next : 0;
}

int64_t tide_partitions_ranges(struct tide_partitions *partitions, const struct tide_events *events,
                               const struct tide_fit *fit, struct tide_rate *rate)
{
	int count = partitions->count;
	int64_t *backlog = calloc((size_t)count * 2 + 1, sizeof *backlog);
	int64_t *take = backlog == NULL ? NULL : backlog + count, total = 0;
	for (int i = 0; take != NULL && i < count; i++)
		total += backlog[i] = backlog_of(partitions->shares[i]);
	int64_t all = total;
	if (total > partitions->settings->batch_records_max)
		total = partitions->settings->batch_records_max;
	const struct tide_harness *harness = partitions->settings->harness;
	if (harness == NULL)
		total = tide_fit_allow(fit, total);
	total = tide_rate_allow(rate, total, tide_clock_mono_us());
	if (take != NULL && total > 0 && total < all)
		tide_events_level(events, partitions->shares, count, total, backlog);
	if (take != NULL && total > 0)
		tide_epoch_split(backlog, count, total, take);
	for (int i = 0; take != NULL && i < count; i++) {
		struct tide_share *share = partitions->shares[i];
		share->from = share->part->next;
		share->to = share->from + (total > 0 ? take[i] : 0);
	}
	free(backlog);
	if (harness != NULL && harness->ranges != NULL)
		total = harness->ranges(harness->arg, partitions->shares, count, total);
	return total;
}

void tide_partitions_rest(struct tide_partitions *partitions)
{
	for (int i = 0; i < partitions->count; i++) {
		struct tide_share *share = partitions->shares[i];
		share->from = share->to = share->part->next;
	}
}

void tide_partitions_doubt(struct tide_partitions *partitions)
{
	for (int i = 0; i < partitions->count; i++)
		if (partitions->shares[i]->part->placed)
			partitions->shares[i]->part->doubtful = true;
}

bool tide_partitions_behind(const struct tide_partitions *partitions)
{
	for (int i = 0; i < partitions->count; i++)
		if (backlog_of(partitions->shares[i]) > 0)
			return true;
	return false;
}

bool tide_partitions_moved(const struct tide_partitions *partitions)
{
	for (int i = 0; i < partitions->count; i++)
		if (partitions->shares[i]->part->next > partitions->shares[i]->from)
			return true;
	return false;
}

static int by_topic_and_partition(const void *a, const void *b)
{
	const struct tide_position *x = a, *y = b;
	int order = strcmp(x->topic, y->topic);
	return order != 0 ? order : (x->partition > y->partition) - (x->partition < y->partition);
}

/* Both are sorted, and mostly the same. */
static struct tide_position *noted(struct tide_meta *meta, int i,
                                   const struct tide_source_part *part)
{
	struct tide_position *at = i < meta->position_count ? &meta->positions[i] : NULL;
	if (at != NULL && at->partition == part->partition && strcmp(at->topic, part->topic) == 0)
		return at;
	at = tide_meta_position(meta, part->topic, part->partition);
	return at != NULL ? at : tide_meta_position_add(meta, part->topic, part->partition);
}

int tide_partitions_note(struct tide_partitions *partitions, struct tide_meta *meta,
                         struct tide_error *err)
{
	for (int i = 0; i < partitions->count; i++) {
		const struct tide_share *share = partitions->shares[i];
		const struct tide_source_part *part = share->part;
		struct tide_position *at = noted(meta, i, part);
		if (at == NULL)
			return tide_fail(err, TIDE_ERR_NOMEM, "no memory for positions");
		at->from = share->from;
		at->next = part->next;
		at->print_offset = part->print.offset;
		at->print_timestamp_ms = part->print.timestamp_ms;
		at->print_hash = part->print.hash;
	}
	qsort(meta->positions, (size_t)meta->position_count, sizeof *meta->positions,
	      by_topic_and_partition);
	meta->rows_lost += partitions->lost;
	partitions->lost = 0;
	return TIDE_OK;
}

void tide_partitions_mirror(struct tide_partitions *partitions)
{
	(void)tide_failpoint("mirror");
	for (int i = 0; i < partitions->plan->input_count; i++) {
		struct tide_source *source = partitions->sources[i];
		source->ops->mirror(source, partitions->parts[i], partitions->part_counts[i]);
	}
}
