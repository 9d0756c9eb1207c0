/* SPDX-License-Identifier: Apache-2.0 */
/* Places where a test build can be made to fail; nothing in a release.
 *
 * TIDEMARK_FAILPOINT="decide=kill@3,publish=delay:50" acts on the third hit
 * of `decide` and on every hit of `publish`. Actions: kill (SIGKILL itself),
 * exit, io and enospc (the caller sees an I/O error, or a full disk), delay:MS,
 * stop (SIGSTOP). `tidemark --failpoints` lists the places.
 * TIDEMARK_FAILPOINT_TRACE=FILE keeps the name last reached in FILE, then at
 * byte 64 every name reached so far, a line each, and "decide=kill" for one that
 * acted: so a test which kills from outside can tell where, and one which has
 * the process kill itself, that it did. */
#ifndef TIDE_BASE_FAILPOINT_H
#define TIDE_BASE_FAILPOINT_H

#include <stdbool.h>

#include "base/error.h"

/* A place, as failpoint_list.c has them. */
struct tide_failpoint_note {
	const char *name, *room;
	const char *what; /* happens there: "before …" */
	bool fails;       /* io and enospc make sense: the caller looks at the result */
};

#ifdef TIDE_FAILPOINTS
/* 0, or an errno that the caller shall act as if it had met; errno is it, too. */
int tide_failpoint(const char *name);
/* The same as a status. */
int tide_pass(const char *name, struct tide_error *err);
/* The i-th place, or NULL behind the last. */
const struct tide_failpoint_note *tide_failpoint_at(int i);
#else
#define tide_failpoint(name) 0
#define tide_pass(name, err) TIDE_OK
#endif

#endif
