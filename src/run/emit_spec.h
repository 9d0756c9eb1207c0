/* SPDX-License-Identifier: Apache-2.0 */
/* A recording as a busted spec: the same records and epochs, and what came of them. */
#ifndef TIDE_RUN_EMIT_SPEC_H
#define TIDE_RUN_EMIT_SPEC_H

#include "base/buf.h"
#include "run/rerun.h"

/* The options are those of a replay; `job` is how the spec will open the job's
 * file, and `name` where the recording came from. */
int tide_emit_spec(const struct tide_rerun_options *options, const char *job, const char *name,
                   struct tide_buf *out, struct tide_error *err);

#endif
