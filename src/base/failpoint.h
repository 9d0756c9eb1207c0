/* SPDX-License-Identifier: Apache-2.0 */
/* Places where a test build can be made to fail; nothing in a release.
 *
 * TIDEMARK_FAILPOINT="decide=kill@3,publish=delay:50" acts on the third hit
 * of `decide` and on every hit of `publish`. Actions: kill (SIGKILL itself),
 * exit, io (the caller sees an I/O error), delay:MS, stop (SIGSTOP).
 * TIDEMARK_FAILPOINT_TRACE=FILE keeps the name last reached in FILE, then at
 * byte 64 every name reached so far, a line each, so that a test which kills
 * from outside can tell where. */
#ifndef TIDE_BASE_FAILPOINT_H
#define TIDE_BASE_FAILPOINT_H

#ifdef TIDE_FAILPOINTS
/* 0, or an errno that the caller shall act as if it had met. */
int tide_failpoint(const char *name);
#else
#define tide_failpoint(name) 0
#endif

#endif
