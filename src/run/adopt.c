/* SPDX-License-Identifier: Apache-2.0 */
/* See adopt.h. */
#include "run/adopt.h"

#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "run/commit.h"
#include "run/migrate.h"
#include "run/plan.h"

int tide_adopt(struct tide_checkpoint *cp, const struct tide_plan *plan, struct tide_vm *vm,
               const char *dir, struct tide_meta *meta, struct tide_error *err)
{
	const struct tide_meta *stored = tide_checkpoint_meta(cp);
	struct tide_buf print = { 0 };
	int rc = tide_pass("adopt", err);
	if (rc == TIDE_OK && stored->plan != NULL && stored->plan[0] != '\0')
		rc = tide_plan_compare(stored->plan, plan, dir, err);
	if (rc != TIDE_OK)
		return rc;
	tide_plan_fingerprint(plan, &print);
	if (print.failed || !tide_meta_copy(meta, stored)) {
		tide_buf_fini(&print);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for the checkpoint's record");
	}
	free(meta->plan);
	free(meta->job);
	meta->plan = print.p; /* Ownership moves to the record. */
	meta->job = strdup(plan->job);
	meta->job_hash = plan->hash;
	rc = tide_commit_adopt(meta, plan, err);
	if (rc == TIDE_OK && stored->plan != NULL && stored->epoch >= 0)
		rc = tide_migrate(cp, plan, vm, stored->plan, meta, err);
	return rc;
}
