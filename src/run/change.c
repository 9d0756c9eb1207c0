/* SPDX-License-Identifier: Apache-2.0 */
/* What has changed between two versions of a job.
 *
 * A plan is written down as text, one fact a line; what is not in it is in the
 * functions. Two plans with the same text can use each other's tables and rows,
 * so that only the functions need to be exchanged. */
#include "run/change.h"

#include <string.h>

#include "base/error.h"
#include "run/plan.h"

enum { LINES_SHOWN = 4 };

const char *tide_change_name(enum tide_change change)
{
	static const char *const names[] = { "none", "hot", "warm", "cold" };
	return names[change];
}

/* ---- plans as text ---- */

static void put_options(struct tide_buf *out, const struct tide_options *options)
{
	for (int i = 0; i < options->count; i++)
		tide_buf_printf(out, " %s=%s", options->items[i].key, options->items[i].value);
}

static void put_row(struct tide_buf *out, const struct tide_schema *row)
{
	for (int i = 0; i < row->count; i++)
		tide_buf_printf(out, " %s:%s%s", row->columns[i].name,
		                tide_type_name(row->columns[i].type),
		                row->columns[i].nullable ? "?" : "");
}

/* Where rows come from, and the settings of the whole job: read when a process
 * starts, and not again. */
static void put_start(struct tide_buf *out, const struct tide_plan *plan)
{
	for (int i = 0; i < plan->input_count; i++) {
		tide_buf_printf(out, "source %d: %s", i + 1, plan->inputs[i].kind);
		put_options(out, &plan->inputs[i].options);
		tide_buf_printf(out, "\n");
	}
	tide_buf_printf(out, "job %s", plan->job);
	put_options(out, &plan->settings);
	tide_buf_printf(out, "\n");
	tide_buf_u8(out, 0);
	out->len--;
}

static void put_mark(struct tide_buf *out, const struct tide_plan_mark *mark)
{
	tide_buf_printf(out,
	                "watermark \"%s\": a delay of %lld ms%s, idle after %lld ms, "
	                "%lld ms ahead\n",
	                mark->name, (long long)mark->delay_us / 1000,
	                mark->per_partition ? " per partition" : "",
	                (long long)mark->idle_us / 1000, (long long)mark->ahead_us / 1000);
}

static void put_keyed(struct tide_buf *out, const struct tide_plan_keyed *keyed)
{
	tide_buf_printf(out, "rows of \"%s\":", keyed->name);
	put_row(out, keyed->row);
	tide_buf_printf(out, "\nstate of \"%s\": %s, %d bytes, from %llx, level %d, keys",
	                keyed->name, keyed->layout, keyed->state_size,
	                (unsigned long long)keyed->inputs, keyed->level);
	for (int i = 0; i < keyed->key_count; i++)
		tide_buf_printf(out, " %d", keyed->keys[i]);
	tide_buf_printf(out, ", arguments");
	for (int i = 0; i < keyed->arg_count; i++)
		tide_buf_printf(out, " %d", keyed->args[i]);
	tide_buf_printf(out, "\n");
}

/* All that C has sized or opened by it. */
static void put_shape(struct tide_buf *out, const struct tide_plan *plan)
{
	put_start(out, plan);
	for (int m = 0; m < plan->mark_count; m++)
		put_mark(out, &plan->marks[m]);
	for (int k = 0; k < plan->keyed_count; k++)
		put_keyed(out, &plan->keyed[k]);
	for (int o = 0; o < plan->output_count; o++) {
		const struct tide_plan_output *output = &plan->outputs[o];
		tide_buf_printf(out, "sink \"%s\" of %llx.%d: %s", output->name,
		                (unsigned long long)output->inputs, output->keyed, output->sink);
		put_options(out, &output->options);
		tide_buf_printf(out, ", columns");
		put_row(out, output->row);
		tide_buf_printf(out, "\n");
	}
	tide_plan_fingerprint(plan, out);
}

/* ---- comparing ---- */

/* Is the line at `line` one of those in `text`? */
static bool has_line(const char *text, const char *line, size_t len)
{
	for (const char *at = text; at != NULL && *at != '\0';) {
		size_t some = strcspn(at, "\n");
		if (some == len && memcmp(at, line, len) == 0)
			return true;
		at += some + (at[some] == '\n');
	}
	return false;
}

/* Lines of `from` that `in` has not. */
static void put_missing(struct tide_buf *out, const char *word, const char *from, const char *in)
{
	int shown = 0;
	for (const char *at = from; *at != '\0' && shown < LINES_SHOWN;) {
		size_t len = strcspn(at, "\n");
		if (len > 0 && !has_line(in, at, len)) {
			tide_buf_printf(out, "\n  %s: ", word);
			for (size_t i = 0; i < len; i++)
				tide_buf_u8(out, at[i] == '\t' ? ' ' : (uint8_t)at[i]);
			shown++;
		}
		at += len + (at[len] == '\n');
	}
}

static enum tide_change cold_start(const char *was, const char *now, const char *dir,
                                   struct tide_buf *what)
{
	tide_buf_printf(what, "what it reads, or a setting of the whole job, is another");
	put_missing(what, "was", was, now);
	put_missing(what, "now", now, was);
	tide_buf_printf(what,
	                "\nThese are read when the process starts: stop it and start it again, "
	                "and it goes on from %s. To read from the start instead, give it another "
	                "--checkpoint-dir",
	                dir);
	return TIDE_CHANGE_COLD;
}

static enum tide_change more_than_functions(const struct tide_plan *was,
                                            const struct tide_plan *now, const char *dir,
                                            struct tide_buf *what)
{
	struct tide_buf print = { 0 };
	struct tide_error err = { 0 };
	tide_plan_fingerprint(was, &print);
	int rc = print.failed ? TIDE_ERR_NOMEM : tide_plan_compare(print.p, now, dir, &err);
	tide_buf_fini(&print);
	if (rc == TIDE_OK)
		return TIDE_CHANGE_WARM;
	tide_buf_clear(what);
	tide_buf_printf(what, "%s", err.text);
	return TIDE_CHANGE_COLD;
}

enum tide_change tide_change_of(const struct tide_plan *was, const struct tide_plan *now,
                                const char *dir, struct tide_buf *what)
{
	struct tide_buf a = { 0 }, b = { 0 };
	enum tide_change change = TIDE_CHANGE_HOT;
	if (was->hash == now->hash) {
		tide_buf_printf(what, "nothing changed");
		return TIDE_CHANGE_NONE;
	}
	put_start(&a, was);
	put_start(&b, now);
	if (a.failed || b.failed || strcmp(a.p, b.p) != 0) {
		change = a.failed || b.failed ? TIDE_CHANGE_COLD : cold_start(a.p, b.p, dir, what);
		goto out;
	}
	tide_buf_clear(&a);
	tide_buf_clear(&b);
	put_shape(&a, was);
	put_shape(&b, now);
	if (a.failed || b.failed) {
		change = TIDE_CHANGE_COLD;
	} else if (strcmp(a.p, b.p) == 0) {
		tide_buf_printf(what, "functions changed, and nothing else");
	} else {
		tide_buf_printf(what, "more than functions changed");
		put_missing(what, "was", a.p, b.p);
		put_missing(what, "now", b.p, a.p);
		change = more_than_functions(was, now, dir, what);
	}
out:
	tide_buf_fini(&a);
	tide_buf_fini(&b);
	return change;
}
