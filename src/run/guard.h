/* SPDX-License-Identifier: Apache-2.0 */
/* A child that does what may never end, watched by its parent. */
#ifndef TIDE_RUN_GUARD_H
#define TIDE_RUN_GUARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct tide_guard {
	pid_t child;       /* 0: this is the child */
	int fd;            /* of the pipe between them */
	uint64_t number;   /* of the newest beat that the parent has heard */
	bool patient;      /* the parent waits for the first beat however long it takes */
	char folder[4096]; /* where both put what is scratch: the parent removes it */
};

/* Before anything is opened that a fork would break. Goes on in two processes;
 * guard->child tells them apart. */
int tide_guard_fork(struct tide_guard *guard, struct tide_error *err);
/* In the child, now and then: it is getting somewhere. */
void tide_guard_beat(struct tide_guard *guard, uint64_t number);
/* In the parent: what the child ended with, without words, as it has said them. It
 * is killed when it does not beat for so long: *hung. */
int tide_guard_wait(struct tide_guard *guard, int64_t limit_ms, bool *hung, struct tide_error *err);

#endif
