/* SPDX-License-Identifier: Apache-2.0 */
/* Recording a job: it runs on its real source beside whoever else does, with a
 * checkpoint and sinks of its own, and what it did is kept. */
#ifndef TIDE_RUN_RECORD_H
#define TIDE_RUN_RECORD_H

#include <stdatomic.h>

#include "decode/redact.h"
#include "run/setup.h"
#include "source/recording.h"

struct tide_record_options {
	const struct tide_setup *setup;         /* of a loaded job */
	int64_t records;                        /* so many, then it is over */
	bool with_state;                        /* begins with what the job's checkpoint holds */
	const struct tide_redaction *redaction; /* NULL: records stay as they are */
	const atomic_int *stop;
};

/* *out is to be ended in any case. A job that fails is no error: its last step
 * says so. */
int tide_record_job(const struct tide_record_options *options, struct tide_recording *out,
                    struct tide_error *err);

/* Run the job at `path` on the recording: rows and watermarks of its steps become
 * what it says. *same: they were that before. */
int tide_record_again(struct tide_recording *recording, const char *path, const char *lua_dir,
                      bool *same, struct tide_error *err);

#endif
