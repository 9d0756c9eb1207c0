/* SPDX-License-Identifier: Apache-2.0 */
/* offsets reset: read again from another place, on purpose. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "checkpoint/checkpoint.h"
#include "run/cli.h"
#include "run/offsets.h"
#include "run/partitions.h"
#include "run/plan.h"
#include "run/setup.h"

/* "7d" is seven days ago; a time is milliseconds; the rest is left as it is. */
static void position_text(const char *to, char *out, size_t size)
{
	int64_t us, span = tide_clock_span_ms(to);
	if (span > 0)
		snprintf(out, size, "%lld", (long long)(tide_clock_us() / 1000 - span));
	else if (tide_clock_parse_us(to, strlen(to), &us) == 0)
		snprintf(out, size, "%lld", (long long)(us / 1000));
	else
		snprintf(out, size, "%s", to);
}

/* Ask the broker where `to` is in each partition of the checkpoint. */
static int resolve(struct tide_setup *setup, const char *to, struct tide_meta *meta,
                   struct tide_error *err)
{
	struct tide_partitions partitions;
	bool found = false;
	char where[64];
	position_text(to, where, sizeof where);
	int rc = tide_partitions_open(&partitions, setup->plan, &setup->settings, err);
	if (rc == TIDE_OK)
		rc = tide_partitions_discover(&partitions, &found, err);
	for (int i = 0; rc == TIDE_OK && i < partitions.count; i++) {
		struct tide_share *share = partitions.shares[i];
		struct tide_position *position =
			tide_meta_position(meta, share->part->topic, share->part->partition);
		if (position != NULL)
			rc = share->source->ops->resolve(share->source, &share->part, 1, where,
			                                 &position->next, err);
	}
	tide_partitions_close(&partitions);
	return rc;
}

/* Shows what will change and waits for a yes, unless --yes was given. */
static int confirm(const struct tide_cli *cli, const struct tide_meta *before,
                   const struct tide_meta *after, bool clear, struct tide_error *err)
{
	char answer[8] = "";
	for (int i = 0; i < after->position_count; i++)
		fprintf(stderr, "  %s-%d: %lld -> %lld\n", after->positions[i].topic,
		        after->positions[i].partition, (long long)before->positions[i].next,
		        (long long)after->positions[i].next);
	fprintf(stderr, "  keyed state: %s\n", clear ? "cleared" : "kept");
	if (tide_cli_own(cli, "yes") != NULL)
		return TIDE_OK;
	if (isatty(STDIN_FILENO) != 1)
		return tide_fail(err, TIDE_ERR_USAGE, "a reset has to be confirmed: add --yes");
	fprintf(stderr, "reset these offsets? [y/N] ");
	if (fgets(answer, sizeof answer, stdin) == NULL || (answer[0] != 'y' && answer[0] != 'Y'))
		return tide_fail(err, TIDE_ERR_USAGE, "nothing was changed");
	return TIDE_OK;
}

static int clear_op(struct tide_state_op op, struct tide_writes *writes, struct tide_error *err)
{
	struct tide_buf from = { 0 }, to = { 0 };
	tide_state_range(&from, &to, op);
	bool ok = !from.failed && !to.failed &&
	          tide_writes_delete_range(writes, (struct tide_slice){ from.p, from.len },
	                                   (struct tide_slice){ to.p, to.len });
	tide_buf_fini(&from);
	tide_buf_fini(&to);
	return ok ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory to clear state");
}

static int clear_state(struct tide_checkpoint *cp, const struct tide_plan *plan,
                       struct tide_meta *meta, struct tide_writes *writes, struct tide_error *err)
{
	int rc = TIDE_OK;
	for (int k = 0; rc == TIDE_OK && k < plan->keyed_count; k++) {
		const struct tide_plan_keyed *keyed = &plan->keyed[k];
		struct tide_state_op op = { 0 };
		struct tide_state_count *count = tide_meta_state(meta, keyed->name);
		if (count != NULL) {
			count->rows = 0;
			count->closed_us = INT64_MIN;
		}
		rc = tide_checkpoint_op(cp, keyed->name, tide_plan_order(keyed), &op, err);
		if (rc == TIDE_OK)
			rc = clear_op(op, writes, err);
		if (rc != TIDE_OK || !tide_plan_indexed(keyed))
			continue;
		rc = tide_plan_index_op(keyed, cp, &op, err);
		if (rc == TIDE_OK)
			rc = clear_op(op, writes, err);
	}
	return rc;
}

/* The reset is an epoch of its own: it is in the history, and can be followed
 * by another. */
static int decide(struct tide_checkpoint *cp, struct tide_setup *setup, struct tide_meta *meta,
                  bool clear, struct tide_error *err)
{
	struct tide_writes *writes = tide_writes_new();
	if (writes == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to reset");
	int rc = clear ? clear_state(cp, setup->plan, meta, writes, err) : TIDE_OK;
	if (clear) /* What will be read again is not late. */
		tide_meta_forget_marks(meta);
	meta->epoch++;
	meta->decided_us = meta->now_us = tide_clock_us();
	for (int i = 0; i < meta->position_count; i++) {
		meta->positions[i].from = meta->positions[i].next;
		meta->positions[i].print_offset = -1;
	}
	if (rc == TIDE_OK)
		rc = tide_pass("reset", err);
	if (rc == TIDE_OK)
		rc = tide_checkpoint_decide(cp, meta, &writes, 1, NULL, 0, err);
	tide_writes_free(writes);
	return rc;
}

static int check_flags(const struct tide_cli *cli, bool *clear, struct tide_error *err)
{
	const char *state = tide_cli_own(cli, "state");
	if (tide_cli_own(cli, "to") == NULL)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "say where to: --to earliest, latest, a time, or "
		                 "offsets like '{\"topic\":{\"0\":100}}'");
	*clear = state != NULL && strcmp(state, "clear") == 0;
	if (state == NULL || (!*clear && strcmp(state, "keep") != 0))
		return tide_fail(
			err, TIDE_ERR_USAGE,
			"say what becomes of the keyed state: --state clear "
			"(count afresh) or --state keep (what is read again counts twice)");
	return TIDE_OK;
}

int tide_cli_offsets_reset(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup = { 0 };
	struct tide_checkpoint *cp = NULL;
	struct tide_checkpoint_options options = { 0 };
	struct tide_meta meta = { 0 };
	const char *to = tide_cli_own(cli, "to");
	bool clear = false;
	int rc = check_flags(cli, &clear, err);
	if (rc == TIDE_OK)
		rc = tide_setup_load(&setup, cli, cli->words[0], err);
	if (rc == TIDE_OK && access(setup.checkpoint_dir, F_OK) != 0)
		rc = tide_fail(err, TIDE_ERR_CHECKPOINT,
		               "there is no checkpoint %s to reset; a new job "
		               "starts where --from says",
		               setup.checkpoint_dir);
	if (rc == TIDE_OK)
		rc = tide_checkpoint_open(setup.checkpoint_dir, &options, &cp, err);
	if (rc == TIDE_OK && !tide_meta_copy(&meta, tide_checkpoint_meta(cp)))
		rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory to reset");
	if (rc == TIDE_OK)
		rc = to[0] == '{' ? tide_offsets_apply(to, &meta, err)
		                  : resolve(&setup, to, &meta, err);
	if (rc == TIDE_OK)
		rc = confirm(cli, tide_checkpoint_meta(cp), &meta, clear, err);
	if (rc == TIDE_OK)
		rc = decide(cp, &setup, &meta, clear, err);
	if (rc == TIDE_OK)
		tide_log(TIDE_INFO, "offsets are reset; the next start reads from there");
	tide_meta_fini(&meta);
	tide_checkpoint_close(cp);
	tide_setup_fini(&setup);
	return rc;
}
