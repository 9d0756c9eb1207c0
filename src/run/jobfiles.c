/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a job, kept in a recording and made of it again. */
#include "run/jobfiles.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const size_t text_max = 16 << 20;

int tide_jobfiles_keep(const struct tide_plan *plan, struct tide_recording *recording,
                       struct tide_error *err)
{
	const char *slash = strrchr(plan->path, '/');
	size_t folder = slash != NULL ? (size_t)(slash - plan->path) + 1 : 0;
	int rc = TIDE_OK;
	for (int i = 0; rc == TIDE_OK && i < plan->file_count; i++) {
		char *text = NULL;
		size_t len = 0;
		const char *name = plan->files[i];
		if (strncmp(name, plan->path, folder) == 0)
			name += folder;
		rc = tide_file_read(plan->files[i], text_max, &text, &len, err);
		if (rc == TIDE_OK && tide_recording_file(recording, name, text) == NULL)
			rc = tide_fail(err, TIDE_ERR_NOMEM, "no memory for a job's files");
		free(text);
	}
	return rc;
}

static int write_file(const char *path, const char *text, struct tide_error *err)
{
	FILE *file = fopen(path, "wb");
	if (file == NULL)
		return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
	size_t written = fwrite(text, 1, strlen(text), file);
	if (fclose(file) != 0 || written != strlen(text))
		return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno));
	return TIDE_OK;
}

/* A file from elsewhere does not say where we write. */
static bool stays_inside(const char *name)
{
	return name[0] != '/' && name[0] != '\0' && strstr(name, "..") == NULL &&
	       name[strlen(name) - 1] != '/';
}

int tide_jobfiles_write(const struct tide_recording *recording, const char *dir, char *job,
                        size_t size, struct tide_error *err)
{
	int rc = TIDE_OK;
	if (recording->file_count == 0)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "the recording holds no job; name one with --job");
	for (int i = 0; rc == TIDE_OK && i < recording->file_count; i++) {
		char path[8300];
		const char *name = recording->files[i].name;
		if (!stays_inside(name))
			return tide_fail(err, TIDE_ERR_USAGE,
			                 "the recording holds a file \"%s\", which no job can have",
			                 name);
		snprintf(path, sizeof path, "%.4200s/%.4000s", dir, name);
		for (char *at = path + strlen(dir) + 1; (at = strchr(at, '/')) != NULL; at++) {
			*at = '\0';
			mkdir(path, 0777);
			*at = '/';
		}
		rc = write_file(path, recording->files[i].text, err);
		if (i == 0)
			snprintf(job, size, "%s", path);
	}
	return rc;
}
