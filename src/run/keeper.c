/* SPDX-License-Identifier: Apache-2.0 */
/* Sinks that keep what they get, for jobs that are run to be looked at. */
#include "run/keeper.h"

#include <stdlib.h>
#include <string.h>

struct keeping {
	struct tide_sink pub;
	struct tide_kept *kept;
};

static struct tide_kept *find(const struct tide_keeper *keeper, const char *name)
{
	for (int i = 0; i < keeper->count; i++)
		if (strcmp(keeper->kept[i].name, name) == 0)
			return (struct tide_kept *)(uintptr_t)&keeper->kept[i];
	return NULL;
}

/* The job has been changed since. */
static bool other_columns(const struct tide_rows *rows, const struct tide_schema *schema)
{
	const struct tide_schema *old = tide_rows_schema(rows);
	bool other = old->count != schema->count;
	for (int c = 0; !other && c < old->count; c++)
		other = old->columns[c].type != schema->columns[c].type ||
		        old->columns[c].nullable != schema->columns[c].nullable;
	return other;
}

/* What an output keeps, made when it is asked for first. */
static struct tide_kept *obtain(struct tide_keeper *keeper, const char *name)
{
	struct tide_kept *kept = find(keeper, name);
	if (kept != NULL || keeper->count == TIDE_OUTPUTS_MAX)
		return kept;
	char *copy = strdup(name);
	if (copy == NULL)
		return NULL;
	kept = &keeper->kept[keeper->count++];
	*kept = (struct tide_kept){ .name = copy, .epoch = -1 };
	return kept;
}

static int keeping_open(struct tide_sink **out, const struct tide_sink_options *options,
                        struct tide_error *err)
{
	struct keeping *keeping = calloc(1, sizeof *keeping);
	struct tide_kept *kept = obtain(options->arg, options->output->name);
	if (kept != NULL &&
	    (kept->rows == NULL || other_columns(kept->rows, options->output->row))) {
		tide_rows_free(kept->rows);
		kept->rows = tide_rows_new(options->output->row);
	}
	if (keeping == NULL || kept == NULL || kept->rows == NULL) {
		free(keeping);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a sink");
	}
	keeping->pub.ops = &tide_keeper_ops;
	keeping->pub.exactly_once = true;
	keeping->kept = kept;
	*out = &keeping->pub;
	return TIDE_OK;
}

static int keeping_last(struct tide_sink *sink, int64_t *epoch, struct tide_error *err)
{
	(void)err;
	*epoch = ((struct keeping *)sink)->kept->epoch;
	return TIDE_OK;
}

static int keeping_publish(struct tide_sink *sink, int64_t epoch, const struct tide_rows *rows,
                           struct tide_error *err)
{
	struct tide_kept *kept = ((struct keeping *)sink)->kept;
	if (!tide_rows_extend(kept->rows, rows))
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for rows");
	kept->epoch = epoch;
	return TIDE_OK;
}

static void keeping_close(struct tide_sink *sink)
{
	free(sink);
}

const struct tide_sink_ops tide_keeper_ops = {
	.kind = "test",
	.modes = TIDE_MODE_APPEND | TIDE_MODE_UPDATE | TIDE_MODE_COMPLETE,
	.open = keeping_open,
	.last_epoch = keeping_last,
	.publish = keeping_publish,
	.close = keeping_close,
};

void tide_keeper_fini(struct tide_keeper *keeper)
{
	for (int i = 0; i < keeper->count; i++) {
		free(keeper->kept[i].name);
		tide_rows_free(keeper->kept[i].rows);
	}
	*keeper = (struct tide_keeper){ 0 };
}

void tide_keeper_clear(struct tide_keeper *keeper)
{
	for (int i = 0; i < keeper->count; i++)
		tide_rows_clear(keeper->kept[i].rows);
}

struct tide_rows *tide_keeper_rows(const struct tide_keeper *keeper, const char *name)
{
	const struct tide_kept *kept = find(keeper, name);
	return kept != NULL ? kept->rows : NULL;
}
