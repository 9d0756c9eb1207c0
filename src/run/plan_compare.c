/* SPDX-License-Identifier: Apache-2.0 */
/* The plan's fingerprint, and what may change under a checkpoint.
 *
 * One fact a line, in four fields between tabs: "state" or "sink", its name,
 * which fact, and what it is. A change of what the state means is refused with
 * what it was and is; aggregates and columns may be added, and where the job has
 * a higher version of a state and a function for it, aggregates may be others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/plan.h"

/* ---- writing ---- */

static void fact(struct tide_buf *out, const char *kind, const char *name, const char *which)
{
	tide_buf_printf(out, "%s\t", kind);
	for (const char *p = name; *p != '\0'; p++)
		tide_buf_u8(out, (uint8_t)(*p == '\t' || *p == '\n' ? ' ' : *p));
	tide_buf_printf(out, "\t%s\t", which);
}

/* A part of a layout's text, "name=what{columns, 16 bytes}", and what is behind it. */
static const char *aggregate_next(const char *text, struct tide_slice *name, struct tide_slice *all)
{
	const char *end = strstr(text, "}; ");
	size_t len = end != NULL ? (size_t)(end - text) + 1 : strlen(text);
	*all = (struct tide_slice){ text, len };
	*name = (struct tide_slice){ text, strcspn(text, "=") };
	return end != NULL ? end + 3 : NULL;
}

/* A layout begins with the key, in types that the key's own line has too. */
static const char *aggregates_of(const struct tide_plan_keyed *keyed)
{
	const char *at = strstr(keyed->layout, "; ");
	return at != NULL ? at + 2 : NULL;
}

static void keyed_time(const struct tide_plan *plan, const struct tide_plan_keyed *keyed,
                       struct tide_buf *out)
{
	static const char *const lates[] = { "kept", "dropped when their windows have closed",
		                             "dropped when the watermark has passed them" };
	if (keyed->mark < 0)
		return;
	fact(out, "state", keyed->name, "watermark");
	tide_buf_printf(out, "%s\n", plan->marks[keyed->mark].name);
	if (!tide_plan_dedups(keyed)) {
		fact(out, "state", keyed->name, "late rows");
		tide_buf_printf(out, "%s\n", lates[keyed->late]);
	}
	if (keyed->size_us == 0)
		return;
	fact(out, "state", keyed->name, "window");
	tide_buf_printf(out, "%s%lld ms", keyed->session ? "sessions with a gap of " : "",
	                (long long)keyed->size_us / 1000);
	if (keyed->slide_us != keyed->size_us)
		tide_buf_printf(out, " every %lld ms", (long long)keyed->slide_us / 1000);
	if (keyed->offset_us != 0)
		tide_buf_printf(out, " from %lld ms on", (long long)keyed->offset_us / 1000);
	tide_buf_printf(out, "\n");
}

/* The key's column names are in it: a renamed key is another key as far as
 * anyone can tell. */
static void keyed_facts(const struct tide_plan *plan, const struct tide_plan_keyed *keyed,
                        struct tide_buf *out)
{
	int first = keyed->size_us > 0;
	fact(out, "state", keyed->name, "key");
	for (int i = first; i < keyed->key_count; i++)
		tide_buf_printf(out, "%s%s:%s", i > first ? " " : "",
		                keyed->row->columns[keyed->keys[i]].name,
		                tide_type_name(tide_plan_key_type(keyed, i)));
	tide_buf_printf(out, "\n");
	keyed_time(plan, keyed, out);
	if (tide_plan_dedups(keyed)) {
		fact(out, "state", keyed->name, "choice");
		tide_buf_printf(out, "%s\n", keyed->layout);
		fact(out, "state", keyed->name, "within");
		tide_buf_printf(out, "%lld ms\n", (long long)keyed->within_us / 1000);
	}
	if (keyed->version > 1) { /* Older checkpoints know of none. */
		fact(out, "state", keyed->name, "version");
		tide_buf_printf(out, "%d\n", keyed->version);
	}
	for (const char *at = aggregates_of(keyed); at != NULL;) {
		struct tide_slice name, all;
		char which[256];
		at = aggregate_next(at, &name, &all);
		snprintf(which, sizeof which, "aggregate %.*s", (int)name.len, name.p);
		fact(out, "state", keyed->name, which);
		tide_buf_put(out, all.p, all.len);
		tide_buf_printf(out, "\n");
	}
}

static void output_facts(const struct tide_plan_output *output, struct tide_buf *out)
{
	const char *mode = tide_option_get(&output->options, "mode");
	fact(out, "sink", output->name, "mode");
	tide_buf_printf(out, "%s\n", mode ? mode : "append");
	fact(out, "sink", output->name, "columns");
	for (int i = 0; i < output->row->count; i++)
		tide_buf_printf(out, "%s%s:%s", i > 0 ? " " : "", output->row->columns[i].name,
		                tide_type_name(output->row->columns[i].type));
	tide_buf_printf(out, "\n");
}

void tide_plan_fingerprint(const struct tide_plan *plan, struct tide_buf *out)
{
	for (int k = 0; k < plan->keyed_count; k++)
		keyed_facts(plan, &plan->keyed[k], out);
	for (int o = 0; o < plan->output_count; o++)
		output_facts(&plan->outputs[o], out);
	tide_buf_u8(out, 0); /* so that it reads as a string */
	out->len--;
}

/* ---- reading ---- */

struct line {
	struct tide_slice kind, name, which, what;
};

/* The line at `text`; what is behind it, or NULL at the end. A line of another
 * version has no fields: all of it is its kind. */
static const char *line_read(const char *text, struct line *line)
{
	struct tide_slice *fields[] = { &line->kind, &line->name, &line->which, &line->what };
	if (text == NULL || *text == '\0')
		return NULL;
	*line = (struct line){ { "", 0 }, { "", 0 }, { "", 0 }, { "", 0 } };
	for (int i = 0; i < 4; i++) {
		size_t len = strcspn(text, i < 3 ? "\t\n" : "\n");
		*fields[i] = (struct tide_slice){ text, len };
		text += len;
		if (*text != '\t' || i == 3)
			break;
		text++;
	}
	return *text == '\n' ? text + 1 : text;
}

static bool same(struct tide_slice a, struct tide_slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static bool is(struct tide_slice a, const char *text)
{
	return a.len == strlen(text) && memcmp(a.p, text, a.len) == 0;
}

/* The fact of that subject, or with `which` NULL any one of it. */
static bool find(const char *text, const struct line *like, bool whole, struct line *found)
{
	while ((text = line_read(text, found)) != NULL)
		if (same(found->kind, like->kind) && same(found->name, like->name) &&
		    (!whole || same(found->which, like->which)))
			return true;
	return false;
}

/* Every word of the old list is in the new one, in the old order. */
static bool only_added(struct tide_slice was, struct tide_slice now)
{
	const char *at = now.p, *end = now.p + now.len, *word = was.p, *was_end = was.p + was.len;
	while (word < was_end) {
		size_t len = strcspn(word, " \n");
		bool found = false;
		while (!found && at < end) {
			size_t next = strcspn(at, " \n");
			found = next == len && memcmp(at, word, len) == 0;
			at += next + 1;
		}
		if (!found)
			return false;
		word += len + 1;
	}
	return true;
}

/* ---- comparing ---- */

static const char ways_out[] =
	"Nothing was changed. Give the job its old shape back, or give the new one a checkpoint of "
	"its own (--checkpoint-dir, or remove the directory to start from the configured offsets).";

static int refuse(const char *dir, const struct line *was, struct tide_slice now,
                  struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "%s was made by another version of this job. Changed: the %.*s of %.*s "
	                 "\"%.*s\"\n  was: %.*s\n  now: %.*s\n%s",
	                 dir, (int)was->which.len, was->which.p, (int)was->kind.len, was->kind.p,
	                 (int)was->name.len, was->name.p, (int)was->what.len, was->what.p,
	                 (int)now.len, now.p, ways_out);
}

/* It need not come to that: the states can be taken over. */
static int refuse_state(const char *dir, const struct line *was, struct tide_slice now,
                        const struct tide_plan_keyed *keyed, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "%s was made by another version of this job. Changed: the %.*s of state "
	                 "\"%s\"\n  was: %.*s\n  now: %.*s\nTo take the states over, say how: "
	                 ":aggregate({ … }, { version = %d, migrate = function(old) return { … } "
	                 "end }).\n%s",
	                 dir, (int)was->which.len, was->which.p, keyed->name, (int)was->what.len,
	                 was->what.p, (int)now.len, now.p, keyed->version + 1, ways_out);
}

/* It may come from the watermark's delay, which may change: then only saying the
 * old one keeps the keys that are held. */
static int refuse_within(const char *dir, const struct line *was, struct tide_slice now,
                         struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "%s was made by another version of this job. Changed: the within of state "
	                 "\"%.*s\" (where :dedup gives none, it is the watermark's delay)\n"
	                 "  was: %.*s\n  now: %.*s\nTo go on with the old one, say it: :dedup { …, "
	                 "within = \"%lldms\" }.\n%s",
	                 dir, (int)was->name.len, was->name.p, (int)was->what.len, was->what.p,
	                 (int)now.len, now.p, strtoll(was->what.p, NULL, 10), ways_out);
}

static int refuse_gone(const char *dir, const struct line *was, struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "%s was made by another version of this job. It has state \"%.*s\", and "
	                 "the job has no grouping of that name. Where the name is made from "
	                 "aggregates and columns and some came or went, say what it was: "
	                 ":group_by(\"…\", { name = \"%.*s\" }).\n%s",
	                 dir, (int)was->name.len, was->name.p, (int)was->name.len, was->name.p,
	                 ways_out);
}

static bool of_aggregate(const struct line *line)
{
	return line->which.len > 10 && memcmp(line->which.p, "aggregate ", 10) == 0;
}

static const struct tide_plan_keyed *keyed_of(const struct tide_plan *plan, const struct line *line)
{
	for (int k = 0; is(line->kind, "state") && k < plan->keyed_count; k++)
		if (is(line->name, plan->keyed[k].name))
			return &plan->keyed[k];
	return NULL;
}

/* The version of a state; 0: it is not there. */
static int version_of(const char *stored, const char *name)
{
	struct line line;
	int version = 0;
	while ((stored = line_read(stored, &line)) != NULL) {
		if (!is(line.kind, "state") || !is(line.name, name))
			continue;
		if (is(line.which, "version"))
			return atoi(line.what.p);
		version = 1;
	}
	return version;
}

bool tide_plan_migrates(const char *stored, const struct tide_plan_keyed *keyed)
{
	int was = version_of(stored, keyed->name);
	return was > 0 && keyed->version > was && keyed->migrates;
}

static int compare_version(const char *stored, const struct tide_plan_keyed *keyed, const char *dir,
                           struct tide_error *err)
{
	int was = version_of(stored, keyed->name);
	if (was == 0 || keyed->version == was || tide_plan_migrates(stored, keyed))
		return TIDE_OK;
	if (keyed->version < was)
		return tide_fail(
			err, TIDE_ERR_CHECKPOINT,
			"%s has version %d of state \"%s\", and this job is of version %d: "
			"states were taken over by a newer one, and there is no way "
			"back.\n%s",
			dir, was, keyed->name, keyed->version, ways_out);
	return tide_fail(err, TIDE_ERR_CHECKPOINT,
	                 "%s has version %d of state \"%s\", and version %d has no function that "
	                 "takes it over: :aggregate({ … }, { version = %d, migrate = "
	                 "function(old) return { … } end }).\n%s",
	                 dir, was, keyed->name, keyed->version, keyed->version, ways_out);
}

static int compare_state(const char *now, const struct line *was,
                         const struct tide_plan_keyed *keyed, bool migrates, const char *dir,
                         struct tide_error *err)
{
	static const struct tide_slice nothing = { "(there is none)", 15 };
	struct line found;
	bool there = find(now, was, true, &found);
	if (is(was->which, "version") || (there && same(found.what, was->what)) ||
	    (migrates && of_aggregate(was)))
		return TIDE_OK;
	if (of_aggregate(was))
		return refuse_state(dir, was, there ? found.what : nothing, keyed, err);
	if (is(was->which, "within") && there)
		return refuse_within(dir, was, found.what, err);
	return refuse(dir, was, there ? found.what : nothing, err);
}

/* The sink's rows are made from states that are taken over: they may be others. */
static bool rows_change(const char *stored, const struct tide_plan *plan, const struct line *sink)
{
	for (int o = 0; o < plan->output_count; o++) {
		const struct tide_plan_output *output = &plan->outputs[o];
		if (is(sink->name, output->name))
			return output->keyed >= 0 &&
			       tide_plan_migrates(stored, &plan->keyed[output->keyed]);
	}
	return false;
}

static int compare_line(const char *now, const struct line *was, bool changes, const char *dir,
                        struct tide_error *err)
{
	struct line found;
	if (!is(was->kind, "state") && !is(was->kind, "sink"))
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "%s was made by an older version of tidemark, whose record of the "
		                 "job this one cannot read.\n%s",
		                 dir, ways_out);
	/* Whether a sink may go is for its rows to say. */
	if (is(was->kind, "state"))
		return refuse_gone(dir, was, err);
	if (!find(now, was, true, &found) || same(found.what, was->what) ||
	    (is(was->which, "columns") && (changes || only_added(was->what, found.what))))
		return TIDE_OK;
	return refuse(dir, was, found.what, err);
}

/* What a state that was there has and had not. */
static int compare_new(const char *stored, const struct line *now, const char *dir,
                       struct tide_error *err)
{
	struct line found;
	if (!is(now->kind, "state") || !find(stored, now, false, &found) ||
	    find(stored, now, true, &found) || of_aggregate(now) || is(now->which, "version") ||
	    is(now->which, "within")) /* Older checkpoints know of neither. */
		return TIDE_OK;
	struct line was = *now;
	was.what = (struct tide_slice){ "(there was none)", 16 };
	return refuse(dir, &was, now->what, err);
}

int tide_plan_compare(const char *stored, const struct tide_plan *plan, const char *dir,
                      struct tide_error *err)
{
	struct tide_buf now = { 0 };
	struct line line;
	int rc = TIDE_OK;
	tide_plan_fingerprint(plan, &now);
	if (now.failed)
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for the plan");
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++)
		rc = compare_version(stored, &plan->keyed[k], dir, err);
	for (const char *at = stored; rc == TIDE_OK && (at = line_read(at, &line)) != NULL;) {
		const struct tide_plan_keyed *keyed = keyed_of(plan, &line);
		rc = keyed == NULL ? compare_line(now.p, &line, rows_change(stored, plan, &line),
		                                  dir, err)
		                   : compare_state(now.p, &line, keyed,
		                                   tide_plan_migrates(stored, keyed), dir, err);
	}
	for (const char *at = now.p; rc == TIDE_OK && (at = line_read(at, &line)) != NULL;)
		rc = compare_new(stored, &line, dir, err);
	tide_buf_fini(&now);
	return rc;
}

/* ---- moving ---- */

/* Of "name=what{columns, 16 bytes}": 16. What is stored may be damaged. */
static size_t state_bytes(struct tide_slice aggregate)
{
	enum { DIGITS_MAX = 9 };
	static const char tail[] = " bytes}";
	size_t at = aggregate.len, bytes = 0, unit = 1;
	if (at < sizeof tail - 1 ||
	    memcmp(aggregate.p + at - (sizeof tail - 1), tail, sizeof tail - 1) != 0)
		return 0;
	at -= sizeof tail - 1;
	for (int i = 0; i < DIGITS_MAX && at > 0; i++, unit *= 10) {
		char digit = aggregate.p[at - 1];
		if (digit < '0' || digit > '9')
			break;
		bytes += (size_t)(digit - '0') * unit;
		at--;
	}
	return at >= 2 && memcmp(aggregate.p + at - 2, ", ", 2) == 0 ? bytes : 0;
}

size_t tide_plan_stored_layout(const char *stored, const struct tide_plan_keyed *keyed,
                               struct tide_buf *out)
{
	struct line line;
	size_t size = 0;
	for (const char *at = stored; (at = line_read(at, &line)) != NULL;) {
		if (!is(line.kind, "state") || !is(line.name, keyed->name) || !of_aggregate(&line))
			continue;
		tide_buf_put(out, line.what.p, line.what.len);
		tide_buf_u8(out, '\n');
		size += state_bytes(line.what);
	}
	tide_buf_u8(out, 0);
	return size;
}

/* Where an aggregate's state lies in the plan; false when it is not there. */
static bool place_of(const struct tide_plan_keyed *keyed, const struct line *was, size_t *at)
{
	*at = 0;
	for (const char *text = aggregates_of(keyed); text != NULL;) {
		struct tide_slice name, all;
		text = aggregate_next(text, &name, &all);
		if (same(all, was->what))
			return true;
		*at += state_bytes(all);
	}
	return false;
}

int tide_plan_moves(const char *stored, const struct tide_plan_keyed *keyed,
                    struct tide_plan_move *moves, size_t *old_size)
{
	struct line line;
	int count = 0;
	*old_size = 0;
	for (const char *at = stored; (at = line_read(at, &line)) != NULL;) {
		size_t to;
		if (!is(line.kind, "state") || !is(line.name, keyed->name) || !of_aggregate(&line))
			continue;
		size_t size = state_bytes(line.what);
		if (count < TIDE_PLAN_MOVES_MAX && place_of(keyed, &line, &to))
			moves[count++] = (struct tide_plan_move){ *old_size, to, size };
		*old_size += size;
	}
	bool stay = *old_size == (size_t)keyed->state_size;
	for (int i = 0; stay && i < count; i++)
		stay = moves[i].from == moves[i].to;
	return stay ? 0 : count;
}
