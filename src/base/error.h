/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: a negative status for the program, a sentence for the person. */
#ifndef TIDE_BASE_ERROR_H
#define TIDE_BASE_ERROR_H

enum tide_status {
	TIDE_OK = 0,
	TIDE_ERR_FAILED = -1,      /* the job failed */
	TIDE_ERR_USAGE = -2,       /* usage or configuration */
	TIDE_ERR_SCRIPT = -3,      /* the job's Lua */
	TIDE_ERR_DIFFER = -4,      /* a check or a test found differences */
	TIDE_ERR_CHECKPOINT = -5,  /* incompatible or corrupt checkpoint */
	TIDE_ERR_DATA_LOSS = -6,   /* records are gone that were promised */
	TIDE_ERR_UNAVAILABLE = -7, /* a source or sink cannot be reached */
	TIDE_ERR_NOMEM = -8,
	TIDE_ERR_IO = -9,      /* a local file or directory */
	TIDE_ERR_STOPPED = -10 /* asked to stop; not a failure */
};

struct tide_error {
	int status;
	char text[2048];
};

/* Fill err (which may be NULL) and return status, so that a failure is one
 * line: return tide_fail(err, TIDE_ERR_IO, "%s: %s", path, strerror(errno)); */
int tide_fail(struct tide_error *err, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put `context: ` before the text already there. Returns err->status. */
int tide_fail_within(struct tide_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The exit code that a status becomes in main. */
int tide_exit_code(int status);

#endif
