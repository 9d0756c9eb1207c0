/* SPDX-License-Identifier: Apache-2.0 */
/* See sampler.h. The report is made by lua/tidemark/profile.lua. */
#include "job/sampler.h"

#include <assert.h>
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* Compiled code that can be interrupted at each line is up to a tenth slower, and
 * changing over means compiling anew. So a job that runs for long is looked at for
 * a second, and then goes on as if nobody did. */
enum { LOOK_US = 1000000, REST_US = 19000000 };

enum {
	PERIOD_NS = 1000000,
	FRAMES_MAX = 32, /* from the running function outwards, until one is of the job */
	PLACES = 4096    /* that are told apart; a power of two */
};

/* What LuaJIT was doing, by the letters it gives. */
static const char states[] = "NICG";
enum { STATES = sizeof states - 1 };

struct place {
	char *source; /* as Lua names chunks; NULL: free */
	int line;
	uint64_t samples[STATES];
};

struct tide_sampler {
	struct tide_sampler_options options;
	lua_State *lua; /* NULL: none */
	pid_t thread;   /* that runs it */
	timer_t timer;
	bool looking;
	int64_t until_us; /* it looks, or rests */
	struct place places[PLACES];
	uint64_t elsewhere; /* in no code of the job's or made for it */
	uint64_t compiling;
	char *report;
};

/* LuaJIT's own state is of the process, and so is this. Only the thread that is
 * sampled writes it, and that signal's handler on it. */
static void (*luajit_handler)(int);
static volatile sig_atomic_t is_inside;
static volatile uint64_t outside;

static void on_signal(int number)
{
	if (is_inside)
		luajit_handler(number);
	else
		outside = outside + 1;
}

struct tide_sampler *tide_sampler_new(const struct tide_sampler_options *options)
{
	struct tide_sampler *sampler = calloc(1, sizeof *sampler);
	if (sampler != NULL)
		sampler->options = *options;
	return sampler;
}

static void forget(struct tide_sampler *sampler)
{
	for (int i = 0; i < PLACES; i++)
		free(sampler->places[i].source);
	memset(sampler->places, 0, sizeof sampler->places);
	sampler->elsewhere = sampler->compiling = outside = 0;
}

void tide_sampler_free(struct tide_sampler *sampler)
{
	if (sampler == NULL)
		return;
	assert(sampler->lua == NULL);
	forget(sampler);
	free(sampler->report);
	free(sampler);
}

static struct place *place_of(struct tide_sampler *sampler, const char *source, int line)
{
	uint32_t hash = (uint32_t)line * 2654435761U;
	for (const char *p = source; *p != '\0'; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619U;
	for (uint32_t i = 0; i < PLACES / 2; i++) {
		struct place *place = &sampler->places[(hash + i) & (PLACES - 1)];
		if (place->source == NULL) {
			place->source = strdup(source);
			place->line = line;
			return place->source != NULL ? place : NULL;
		}
		if (place->line == line && strcmp(place->source, source) == 0)
			return place;
	}
	return NULL;
}

/* Code of the job, or made for one of its steps. */
static bool is_jobs(const struct tide_sampler *sampler, const char *source)
{
	const char *dir = sampler->options.lua_dir;
	size_t len = strlen(dir);
	if (strncmp(source, "=tidemark ", 10) == 0)
		return true;
	return source[0] == '@' && !(strncmp(source + 1, dir, len) == 0 && source[1 + len] == '/');
}

/* LuaJIT calls this where Lua code can be interrupted. */
static void on_sample(void *arg, lua_State *lua, int samples, int state)
{
	struct tide_sampler *sampler = arg;
	const char *known = strchr(states, state);
	if (known == NULL || *known == '\0') {
		sampler->compiling += (uint64_t)samples;
		return;
	}
	for (int level = 0; level < FRAMES_MAX; level++) {
		lua_Debug info;
		if (!lua_getstack(lua, level, &info) || !lua_getinfo(lua, "Sl", &info))
			break;
		if (info.currentline <= 0 || !is_jobs(sampler, info.source))
			continue;
		struct place *place = place_of(sampler, info.source, info.currentline);
		if (place == NULL)
			break;
		place->samples[known - states] += (uint64_t)samples;
		return;
	}
	sampler->elsewhere += (uint64_t)samples;
}

static void push_module(lua_State *lua, const char *function)
{
	lua_getglobal(lua, "require");
	lua_pushliteral(lua, "tidemark.profile");
	lua_call(lua, 1, 1);
	lua_getfield(lua, -1, function);
}

/* Runs protected. */
static int begin(lua_State *lua)
{
	push_module(lua, "begin");
	lua_call(lua, 0, 0);
	return 0;
}

static void push_count(lua_State *lua, const char *name, uint64_t count)
{
	lua_pushnumber(lua, (lua_Number)count);
	lua_setfield(lua, -2, name);
}

/* Runs protected. */
static int finish(lua_State *lua)
{
	struct tide_sampler *sampler = lua_touserdata(lua, 1);
	int count = 0;
	push_module(lua, "finish");
	lua_newtable(lua);
	push_count(lua, "outside", outside);
	push_count(lua, "elsewhere", sampler->elsewhere);
	push_count(lua, "compiling", sampler->compiling);
	for (int i = 0; i < PLACES; i++) {
		const struct place *place = &sampler->places[i];
		if (place->source == NULL)
			continue;
		lua_newtable(lua);
		lua_pushstring(lua, place->source);
		lua_setfield(lua, -2, "source");
		lua_pushinteger(lua, place->line);
		lua_setfield(lua, -2, "line");
		for (int s = 0; s < STATES; s++)
			push_count(lua, (const char[]){ states[s], '\0' }, place->samples[s]);
		lua_rawseti(lua, -2, ++count);
	}
	lua_pushboolean(lua, sampler->options.json);
	lua_pushboolean(lua, sampler->options.whole);
	lua_call(lua, 3, 1);
	const char *text = luaL_checkstring(lua, -1);
	free(sampler->report);
	sampler->report = strdup(text);
	return 0;
}

/* A timer that counts what this thread uses of a processor, instead of the one
 * that LuaJIT has just started for the whole process. */
static bool start_timer(struct tide_sampler *sampler)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF };
	struct itimerspec every = { { 0, PERIOD_NS }, { 0, PERIOD_NS } };
	struct sigaction action;
	setitimer(ITIMER_PROF, &(struct itimerval){ 0 }, NULL);
	sigaction(SIGPROF, NULL, &action);
	luajit_handler = action.sa_handler;
	action.sa_handler = on_signal;
	sigaction(SIGPROF, &action, NULL);
	event.sigev_notify_thread_id = sampler->thread;
	return timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &sampler->timer) == 0 &&
	       timer_settime(sampler->timer, 0, &every, NULL) == 0;
}

static bool look(struct tide_sampler *sampler)
{
	/* What LuaJIT puts back when it stops: a signal that is late must not end us. */
	signal(SIGPROF, SIG_IGN);
	/* By lines, and with a period that never comes to its end. */
	luaJIT_profile_start(sampler->lua, "li1000000", on_sample, sampler);
	sampler->until_us = tide_clock_mono_us() + LOOK_US;
	sampler->looking = start_timer(sampler);
	if (!sampler->looking)
		luaJIT_profile_stop(sampler->lua);
	return sampler->looking;
}

static void rest(struct tide_sampler *sampler)
{
	if (sampler->looking) {
		timer_delete(sampler->timer);
		luaJIT_profile_stop(sampler->lua);
	}
	sampler->looking = false;
	sampler->until_us = tide_clock_mono_us() + REST_US;
}

void tide_sampler_enter(struct tide_sampler *sampler, lua_State *lua)
{
	if (sampler->options.beat != NULL)
		sampler->options.beat(sampler->options.beat_arg);
	if (sampler->options.rests && sampler->lua == lua &&
	    tide_clock_mono_us() > sampler->until_us) {
		if (sampler->looking || !look(sampler))
			rest(sampler);
	}
	is_inside = 1;
}

void tide_sampler_exit(void)
{
	is_inside = 0;
}

int tide_sampler_follow(struct tide_sampler *sampler, lua_State *lua, struct tide_error *err)
{
	pid_t thread = (pid_t)syscall(SYS_gettid);
	if (sampler->lua == lua && sampler->thread == thread)
		return TIDE_OK;
	if (sampler->lua != NULL)
		tide_sampler_leave(sampler, sampler->lua);
	if (!sampler->options.adds_up)
		forget(sampler);
	if (lua_cpcall(lua, begin, NULL) != 0) {
		int rc = tide_fail(err, TIDE_ERR_SCRIPT, "the profiler does not start: %s",
		                   lua_tostring(lua, -1));
		lua_settop(lua, 0);
		return rc;
	}
	sampler->lua = lua;
	sampler->thread = thread;
	if (look(sampler))
		return TIDE_OK;
	sampler->lua = NULL;
	return tide_fail(err, TIDE_ERR_FAILED, "the profiler does not start: no timer for it");
}

void tide_sampler_leave(struct tide_sampler *sampler, lua_State *lua)
{
	if (sampler == NULL || sampler->lua != lua)
		return;
	rest(sampler);
	sampler->lua = NULL;
	if (lua_cpcall(lua, finish, sampler) != 0) {
		const char *text = lua_tostring(lua, -1);
		free(sampler->report);
		sampler->report = strdup(text != NULL ? text : "the profiler has no report");
	}
	lua_settop(lua, 0);
}

const char *tide_sampler_report(const struct tide_sampler *sampler)
{
	return sampler->report;
}
