/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a job, kept in a recording: the job first, then what it requires. */
#ifndef TIDE_RUN_JOBFILES_H
#define TIDE_RUN_JOBFILES_H

#include "source/recording.h"

/* As they are now, named as seen from the job's folder. */
int tide_jobfiles_keep(const struct tide_plan *plan, struct tide_recording *recording,
                       struct tide_error *err);
/* Into `dir`, which is there; `job` becomes the path of the first. */
int tide_jobfiles_write(const struct tide_recording *recording, const char *dir, char *job,
                        size_t size, struct tide_error *err);

#endif
