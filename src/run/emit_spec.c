/* SPDX-License-Identifier: Apache-2.0 */
/* A recording as a busted spec. */
#include "run/emit_spec.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/replay.h"

/* The spec is written while its rows are made: as a spec would make them. */
struct writing {
	const struct tide_recording *recording;
	struct tide_buf *out;
	const struct tide_replayed *replayed;
};

/* ---- Lua ---- */

static void put_text(struct tide_buf *out, const char *p, size_t len)
{
	tide_buf_put(out, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)p[i];
		if (c == '"' || c == '\\')
			tide_buf_printf(out, "\\%c", c);
		else if (c == '\n')
			tide_buf_printf(out, "\\n");
		else if (c < 0x20 || c >= 0x7f)
			tide_buf_printf(out, "\\%03u", c);
		else
			tide_buf_put(out, p + i, 1);
	}
	tide_buf_put(out, "\"", 1);
}

static void put_str(struct tide_buf *out, const char *text)
{
	put_text(out, text, strlen(text));
}

/* Milliseconds, exact to the microsecond. */
static void put_ms(struct tide_buf *out, int64_t us)
{
	if (us % 1000 == 0)
		tide_buf_printf(out, "%" PRId64, us / 1000);
	else
		tide_buf_printf(out, "%.3f", (double)us / 1000);
}

static void put_double(struct tide_buf *out, double number)
{
	if (isnan(number))
		tide_buf_printf(out, "0 / 0");
	else if (isinf(number))
		tide_buf_printf(out, number > 0 ? "math.huge" : "-math.huge");
	else
		tide_buf_printf(out, "%.17g", number);
}

static void put_cell(struct tide_buf *out, struct tide_cell cell, enum tide_type type)
{
	switch (type) {
	case TIDE_INT: tide_buf_printf(out, "%" PRId64, cell.i); break;
	case TIDE_DOUBLE: put_double(out, cell.d); break;
	case TIDE_BOOL: tide_buf_printf(out, cell.i != 0 ? "true" : "false"); break;
	case TIDE_TIMESTAMP: put_ms(out, cell.i); break;
	case TIDE_STRING:
	case TIDE_BYTES: put_text(out, cell.p, (size_t)cell.len); break;
	}
}

static void put_row(struct tide_buf *out, const struct tide_rows *rows, uint32_t row)
{
	const struct tide_schema *schema = tide_rows_schema(rows);
	const char *comma = "";
	tide_buf_printf(out, "         {");
	for (int c = 0; c < schema->count; c++) {
		struct tide_cell cell = tide_rows_cell(rows, row, c);
		if (cell.len < 0)
			continue;
		tide_buf_printf(out, "%s [", comma);
		put_str(out, schema->columns[c].name);
		tide_buf_printf(out, "] = ");
		put_cell(out, cell, schema->columns[c].type);
		comma = ",";
	}
	tide_buf_printf(out, " },\n");
}

/* ---- records ---- */

static void put_record(struct tide_buf *out, const char *topic,
                       const struct tide_recorded_part *part, struct tide_recorded *rec)
{
	struct tide_slice name, value;
	tide_buf_printf(out, "      job:feed(");
	put_str(out, topic);
	tide_buf_printf(out, ", { partition = %d, timestamp = %" PRId64, part->partition,
	                rec->timestamp_ms);
	if (rec->key.p != NULL) {
		tide_buf_printf(out, ",\n         key = ");
		put_text(out, rec->key.p, rec->key.len);
	}
	if (rec->value.p != NULL) {
		tide_buf_printf(out, ",\n         value = ");
		put_text(out, rec->value.p, rec->value.len);
	}
	if (rec->header_count > 0)
		tide_buf_printf(out, ",\n         headers = {");
	while (tide_recorded_header(rec, &name, &value)) {
		tide_buf_printf(out, " { ");
		put_text(out, name.p, name.len);
		if (value.p != NULL) {
			tide_buf_printf(out, ", ");
			put_text(out, value.p, value.len);
		}
		tide_buf_printf(out, " },");
	}
	tide_buf_printf(out,
	                rec->headers.end != NULL && rec->header_count > 0 ? " } })\n" : " })\n");
}

static void put_records(struct writing *writing, const struct tide_recorded_step *step)
{
	for (int i = 0; i < step->range_count; i++) {
		const struct tide_buf *records = &step->ranges[i].records;
		const struct tide_recorded_part *part = &writing->recording->parts[i];
		struct tide_reader in = tide_reader_of(records->p, records->len);
		struct tide_recorded rec;
		bool again = false; /* Another input has read it before. */
		for (int j = 0; j < i; j++)
			again = again ||
			        (writing->recording->parts[j].partition == part->partition &&
			         strcmp(writing->recording->parts[j].topic, part->topic) == 0);
		while (!again && tide_recorded_next(&in, &rec))
			put_record(writing->out, writing->replayed->topics[i], part, &rec);
	}
}

/* ---- steps ---- */

static int put_step(void *arg, const struct tide_rerun *rerun,
                    const struct tide_recorded_step *step, struct tide_error *err)
{
	struct writing *writing = arg;
	struct tide_buf *out = writing->out;
	const struct tide_plan *plan = tide_rerun_plan(rerun);
	(void)err;
	if (step != NULL) {
		tide_buf_printf(out, "      job:at(");
		put_ms(out, step->now_us);
		tide_buf_printf(out, ")\n");
		put_records(writing, step);
	}
	tide_buf_printf(out, "      job:epoch()\n");
	for (int o = 0; o < plan->output_count; o++) {
		const struct tide_rows *rows = tide_rerun_rows(rerun, o);
		uint32_t count = rows != NULL ? tide_rows_count(rows) : 0;
		/* Dead letters name the path of the job, which is another one there. */
		if (plan->outputs[o].inputs == 0 && plan->outputs[o].keyed < 0) {
			tide_buf_printf(out, "      assert.equal(%u, #job:rows(", count);
			put_str(out, plan->outputs[o].name);
			tide_buf_printf(out, "))\n");
			continue;
		}
		tide_buf_printf(out, "      job:expect({%s", count > 0 ? "\n" : "");
		for (uint32_t r = 0; r < count; r++)
			put_row(out, rows, r);
		tide_buf_printf(out, "%s}, ", count > 0 ? "      " : "");
		put_str(out, plan->outputs[o].name);
		tide_buf_printf(out, ")\n");
	}
	return TIDE_OK;
}

static void put_failure(struct writing *writing, const struct tide_recorded_step *step)
{
	tide_buf_printf(writing->out, "      job:at(");
	put_ms(writing->out, step->now_us);
	tide_buf_printf(writing->out, ")\n");
	put_records(writing, step);
	tide_buf_printf(writing->out,
	                "      assert.has_error(function() job:epoch() end) -- as it failed\n");
}

static void put_head(const struct writing *writing, const char *job, const char *name)
{
	const struct tide_recording *recording = writing->recording;
	struct tide_buf *out = writing->out;
	int32_t partitions = 1;
	for (int i = 0; i < recording->part_count; i++)
		if (recording->parts[i].partition >= partitions)
			partitions = recording->parts[i].partition + 1;
	tide_buf_printf(out, "-- Written by `tidemark replay --emit-spec` from a recording.\n"
	                     "local testing = require \"tidemark.testing\"\n\n"
	                     "describe(");
	put_str(out, job);
	tide_buf_printf(out, ", function()\n   it(\"makes of a recording what it made then: ");
	struct tide_buf quoted = { 0 };
	put_str(&quoted, name);
	if (quoted.len > 1)
		tide_buf_put(out, quoted.p + 1, quoted.len - 1);
	tide_buf_fini(&quoted);
	tide_buf_printf(out, ", function()\n      local job = testing.open(");
	put_str(out, job);
	tide_buf_printf(out,
	                ", {\n         partitions = %d, from = \"earliest\", now = ", partitions);
	put_ms(out, recording->step_count > 0 ? recording->steps[0].now_us : 0);
	tide_buf_printf(out, ",\n");
	if (recording->set.count > 0)
		tide_buf_printf(out, "         set = {");
	for (int i = 0; i < recording->set.count; i++) {
		tide_buf_printf(out, " [");
		put_str(out, recording->set.items[i].key);
		tide_buf_printf(out, "] = ");
		put_str(out, recording->set.items[i].value);
		tide_buf_printf(out, ",");
	}
	tide_buf_printf(out, recording->set.count > 0 ? " },\n      })\n" : "      })\n");
	tide_buf_printf(out, "      finally(function() job:close() end)\n");
}

int tide_emit_spec(const struct tide_rerun_options *options, const char *job, const char *name,
                   struct tide_buf *out, struct tide_error *err)
{
	struct tide_replayed replayed;
	struct writing writing = { options->recording, out, &replayed };
	struct tide_rerun_options plain = *options;
	if (options->recording->meta.len > 0)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "a recording that begins with a state makes no spec, because a "
		                 "spec begins with nothing: record without --with-state");
	const char *topic = tide_option_get(&options->recording->info, "topic");
	if (topic != NULL && strpbrk(topic, ",^") != NULL)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "this was recorded with --topic %s, and a spec can feed only what "
		                 "the job itself names: record with one topic",
		                 topic);
	plain.plain = true;
	put_head(&writing, job, name);
	int rc = tide_replay(&plain, put_step, &writing, &replayed, err);
	if (rc == TIDE_OK && replayed.failed_step >= 0)
		put_failure(&writing, &options->recording->steps[replayed.failed_step]);
	tide_buf_printf(out, "   end)\nend)\n");
	tide_replayed_fini(&replayed);
	if (rc == TIDE_OK && out->failed)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for a spec");
	return rc;
}
