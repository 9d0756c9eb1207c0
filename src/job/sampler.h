/* SPDX-License-Identifier: Apache-2.0 */
/* Where a job's time goes, by its lines: LuaJIT's profiler, on the VMs of all workers.
 *
 * LuaJIT has one profiler in a process, so they are looked at in turn, and each one's
 * samples count for as much as its processor time. Signals come from the processor time
 * of the thread that runs the VM and go to that thread alone: what other threads do is
 * not counted, and they never touch a VM that is not theirs.
 *
 * A VM has the number of its worker. Threads may call this at the same time, each for
 * its own number. */
#ifndef TIDE_JOB_SAMPLER_H
#define TIDE_JOB_SAMPLER_H

#include <stdbool.h>

#include "base/error.h"

struct lua_State;
struct tide_sampler;

struct tide_sampler_options {
	const char *lua_dir;     /* what lies there is not the job */
	int vms;                 /* so many at once */
	int look_ms;             /* at one of them; 0: a second */
	bool json;               /* the report */
	bool whole;              /* it shows whole files */
	bool adds_up;            /* VMs that follow each other run the same job */
	bool rests;              /* look now and then only: see sampler.c */
	void (*beat)(void *arg); /* called at every turn; or NULL */
	void *beat_arg;
};

/* NULL without memory. */
struct tide_sampler *tide_sampler_new(const struct tide_sampler_options *options);
/* Follows no VM any more. */
void tide_sampler_free(struct tide_sampler *sampler);

/* Follow this VM, which the calling thread runs, instead of the one before that had
 * this number. */
int tide_sampler_follow(struct tide_sampler *sampler, int number, struct lua_State *lua,
                        struct tide_error *err);
/* If it is followed: let go of it, and where it was the last one make the report. The
 * VM does not run now. */
void tide_sampler_leave(struct tide_sampler *sampler, int number, struct lua_State *lua);
/* The same for one that was not looked at, did not return and is never entered again. */
void tide_sampler_lose(struct tide_sampler *sampler, int number, const struct lua_State *lua);

/* Before every call of a VM that is or was followed: does its turn begin or end? */
void tide_sampler_turn(struct tide_sampler *sampler, int number, struct lua_State *lua);
/* One that is looked at has to return: LuaJIT's profiler would outlive it. */
bool tide_sampler_looks(struct tide_sampler *sampler, int number);
/* Around that call: time between is not the job's. */
void tide_sampler_enter(struct tide_sampler *sampler, int number, struct lua_State *lua);
void tide_sampler_exit(struct tide_sampler *sampler, int number, struct lua_State *lua);

/* Of the VMs that were left last; NULL: none ever was. */
const char *tide_sampler_report(const struct tide_sampler *sampler);

#endif
