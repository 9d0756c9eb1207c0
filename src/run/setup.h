/* SPDX-License-Identifier: Apache-2.0 */
/* From a command line to a checked job and settled settings: what every
 * command that knows a job begins with. */
#ifndef TIDE_RUN_SETUP_H
#define TIDE_RUN_SETUP_H

#include "job/vm.h"
#include "run/cli.h"
#include "run/settings.h"

struct tide_setup {
	char lua_dir[4096], job_path[4096], job[TIDE_NAME_MAX];
	char checkpoint_dir[4096];
	struct tide_options set, rdkafka;
	struct tide_plan *plan; /* NULL without a job */
	struct tide_vm *vm;     /* that loaded it */
	struct tide_settings settings;
};

/* `job` is a path, the name of a bundled job, or NULL: settings alone. Starts
 * the log and says what the settings had to warn about. */
int tide_setup_load(struct tide_setup *setup, struct tide_cli *cli, const char *job,
                    struct tide_error *err);
/* The file of a job that is named so, without looking into it. */
int tide_setup_path(const char *job, char *path, size_t size, struct tide_error *err);
/* The same as far as the job's file says nothing: it is not loaded, and may be
 * broken. */
int tide_setup_find(struct tide_setup *setup, struct tide_cli *cli, const char *job,
                    struct tide_error *err);
void tide_setup_fini(struct tide_setup *setup);

#endif
