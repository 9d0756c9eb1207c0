/* SPDX-License-Identifier: Apache-2.0 */
/* Where a job's time goes, by its lines: LuaJIT's profiler, on one VM.
 *
 * LuaJIT has one profiler in a process, so one VM is followed at a time. Its
 * signals come from the processor time of the thread that runs the VM and go to
 * that thread alone: what other threads do is not counted, and they never touch
 * a VM that is not theirs. */
#ifndef TIDE_JOB_SAMPLER_H
#define TIDE_JOB_SAMPLER_H

#include <stdbool.h>

#include "base/error.h"

struct lua_State;
struct tide_sampler;

struct tide_sampler_options {
	const char *lua_dir;     /* what lies there is not the job */
	bool json;               /* the report */
	bool whole;              /* it shows whole files */
	bool adds_up;            /* VMs that follow each other run the same job */
	bool rests;              /* look for a second now and then only: see sampler.c */
	void (*beat)(void *arg); /* called at every enter; or NULL */
	void *beat_arg;
};

/* NULL without memory. */
struct tide_sampler *tide_sampler_new(const struct tide_sampler_options *options);
/* Follows no VM any more. */
void tide_sampler_free(struct tide_sampler *sampler);

/* Follow this VM, which the calling thread runs, instead of the one before. */
int tide_sampler_follow(struct tide_sampler *sampler, struct lua_State *lua,
                        struct tide_error *err);
/* If it is this VM that is followed: make the report and let go of it. The VM
 * does not run now. */
void tide_sampler_leave(struct tide_sampler *sampler, struct lua_State *lua);
/* Around every call of a VM that is or was followed: time between is not the job's. */
void tide_sampler_enter(struct tide_sampler *sampler, struct lua_State *lua);
void tide_sampler_exit(void);

/* Of the VM that was left last; NULL: none ever was. */
const char *tide_sampler_report(const struct tide_sampler *sampler);

#endif
