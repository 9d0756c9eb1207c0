/* SPDX-License-Identifier: Apache-2.0 */
/* See sampler.h. The report is made by lua/tidemark/profile.lua. */
#include "job/sampler.h"

#include <assert.h>
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
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
 * changing over means compiling anew. So one VM is looked at for a second; in a job
 * that runs for long the next look is so late that nobody is looked at for 19 of 20. */
enum { LOOK_MS = 1000, LOOKS_IN = 20 };

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

/* One worker's VM, whichever it is by now. What it counts only its thread writes. */
struct seat {
	struct tide_sampler *sampler;
	lua_State *lua;             /* NULL: none */
	pid_t thread;               /* that runs it */
	bool lost;                  /* it did not return, and is gone */
	volatile sig_atomic_t deep; /* calls that it is in */
	int64_t due_us;             /* may be looked at */
	int64_t spent_us;           /* of the thread's processor time while it was followed */
	int64_t clock_us;           /* that time when it was read last */
	struct place *places;
	volatile uint64_t outside;
	uint64_t elsewhere; /* in no code of the job's or made for it */
	uint64_t compiling;
	char *stops; /* what lua/tidemark/profile.lua says of its traces */
};

struct tide_sampler {
	struct tide_sampler_options options;
	pthread_mutex_t lock;
	struct seat *seats;
	int followed;         /* seats with a VM */
	struct seat *looking; /* at this one; NULL: at none */
	int64_t until_us;
	timer_t timer;
	char *report;
};

/* LuaJIT's own state is of the process, and so is this: whose signals those are. */
static void (*luajit_handler)(int);
static struct seat *_Atomic looked_at;

static bool is_mine(const struct seat *seat)
{
	return (pid_t)syscall(SYS_gettid) == seat->thread;
}

/* A signal may come when its timer is gone and another VM has its turn: that is
 * another thread's, and nothing of it may be touched here. */
static void on_signal(int number)
{
	int before = errno;
	struct seat *seat = atomic_load(&looked_at);
	if (seat != NULL && is_mine(seat)) {
		if (seat->deep > 0)
			luajit_handler(number);
		else
			seat->outside = seat->outside + 1;
	}
	errno = before;
}

struct tide_sampler *tide_sampler_new(const struct tide_sampler_options *options)
{
	struct tide_sampler *sampler = calloc(1, sizeof *sampler);
	assert(options->vms > 0);
	if (sampler == NULL)
		return NULL;
	sampler->options = *options;
	pthread_mutex_init(&sampler->lock, NULL);
	sampler->seats = calloc((size_t)options->vms, sizeof *sampler->seats);
	for (int i = 0; sampler->seats != NULL && i < options->vms; i++) {
		struct seat *seat = &sampler->seats[i];
		seat->sampler = sampler;
		seat->places = calloc(PLACES, sizeof *seat->places);
		if (seat->places == NULL) {
			tide_sampler_free(sampler);
			return NULL;
		}
	}
	if (sampler->seats == NULL) {
		tide_sampler_free(sampler);
		return NULL;
	}
	return sampler;
}

static void forget(struct seat *seat)
{
	for (int i = 0; seat->places != NULL && i < PLACES; i++) {
		free(seat->places[i].source);
		seat->places[i] = (struct place){ 0 };
	}
	seat->elsewhere = seat->compiling = seat->outside = 0;
	seat->spent_us = 0;
	free(seat->stops);
	seat->stops = NULL;
}

void tide_sampler_free(struct tide_sampler *sampler)
{
	if (sampler == NULL)
		return;
	assert(sampler->followed == 0);
	for (int i = 0; sampler->seats != NULL && i < sampler->options.vms; i++) {
		forget(&sampler->seats[i]);
		free(sampler->seats[i].places);
	}
	free(sampler->seats);
	free(sampler->report);
	pthread_mutex_destroy(&sampler->lock);
	free(sampler);
}

static struct place *place_of(struct seat *seat, const char *source, int line)
{
	uint32_t hash = (uint32_t)line * 2654435761U;
	for (const char *p = source; *p != '\0'; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619U;
	for (uint32_t i = 0; i < PLACES / 2; i++) {
		struct place *place = &seat->places[(hash + i) & (PLACES - 1)];
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

/* LuaJIT calls this where Lua code can be interrupted: now and then once more when
 * that is over, and another VM's turn. */
static void on_sample(void *arg, lua_State *lua, int samples, int state)
{
	struct seat *seat = arg;
	if (!is_mine(seat))
		return;
	const char *known = strchr(states, state);
	if (known == NULL || *known == '\0') {
		seat->compiling += (uint64_t)samples;
		return;
	}
	for (int level = 0; level < FRAMES_MAX; level++) {
		lua_Debug info;
		if (!lua_getstack(lua, level, &info) || !lua_getinfo(lua, "Sl", &info))
			break;
		if (info.currentline <= 0 || !is_jobs(seat->sampler, info.source))
			continue;
		struct place *place = place_of(seat, info.source, info.currentline);
		if (place == NULL)
			break;
		place->samples[known - states] += (uint64_t)samples;
		return;
	}
	seat->elsewhere += (uint64_t)samples;
}

/* --- the report --------------------------------------------------------------------- */

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

/* Runs protected. */
static int gather(lua_State *lua)
{
	struct seat *seat = lua_touserdata(lua, 1);
	push_module(lua, "stops");
	lua_call(lua, 0, 1);
	free(seat->stops);
	seat->stops = strdup(luaL_checkstring(lua, -1));
	return 0;
}

static uint64_t samples_of(const struct seat *seat)
{
	uint64_t sum = seat->outside + seat->elsewhere + seat->compiling;
	for (int i = 0; i < PLACES; i++)
		for (int s = 0; s < STATES; s++)
			sum += seat->places[i].samples[s];
	return sum;
}

/* They were looked at for different times: each one's samples stand for its part of
 * the processor time, and together they are as many as there were. */
static void weigh(const struct tide_sampler *sampler, double *weights)
{
	double samples = 0, spent_us = 0;
	for (int i = 0; i < sampler->options.vms; i++) {
		uint64_t own = samples_of(&sampler->seats[i]);
		samples += (double)own;
		spent_us += own > 0 ? (double)sampler->seats[i].spent_us : 0;
	}
	for (int i = 0; i < sampler->options.vms; i++) {
		uint64_t own = samples_of(&sampler->seats[i]);
		weights[i] = own == (uint64_t)samples || spent_us <= 0
		                     ? 1
		                     : samples * (double)sampler->seats[i].spent_us / spent_us /
		                               (double)(own > 0 ? own : 1);
	}
}

static void push_count(lua_State *lua, const char *name, double count)
{
	lua_pushnumber(lua, count);
	lua_setfield(lua, -2, name);
}

/* Adds what a seat has counted to the list on top. */
static void push_places(lua_State *lua, const struct seat *seat, double weight, int *count)
{
	for (int i = 0; i < PLACES; i++) {
		const struct place *place = &seat->places[i];
		if (place->source == NULL)
			continue;
		lua_newtable(lua);
		lua_pushstring(lua, place->source);
		lua_setfield(lua, -2, "source");
		lua_pushinteger(lua, place->line);
		lua_setfield(lua, -2, "line");
		for (int s = 0; s < STATES; s++)
			push_count(lua, (const char[]){ states[s], '\0' },
			           weight * (double)place->samples[s]);
		lua_rawseti(lua, -2, ++*count);
	}
}

/* Of each worker: how often it was looked at, and its processor time. */
static void push_workers(lua_State *lua, const struct tide_sampler *sampler)
{
	lua_newtable(lua);
	for (int i = 0; i < sampler->options.vms; i++) {
		const struct seat *seat = &sampler->seats[i];
		lua_newtable(lua);
		push_count(lua, "worker", i);
		push_count(lua, "samples", (double)samples_of(seat));
		push_count(lua, "spent_ms", (double)(seat->spent_us / 1000));
		if (seat->stops != NULL) {
			lua_pushstring(lua, seat->stops);
			lua_setfield(lua, -2, "stops");
		}
		lua_rawseti(lua, -2, i + 1);
	}
	lua_setfield(lua, -2, "workers");
}

struct finish {
	struct tide_sampler *sampler;
	double *weights;
};

/* Runs protected. */
static int finish(lua_State *lua)
{
	const struct finish *made = lua_touserdata(lua, 1);
	struct tide_sampler *sampler = made->sampler;
	double outside = 0, elsewhere = 0, compiling = 0;
	int count = 0;
	push_module(lua, "finish");
	lua_newtable(lua);
	for (int i = 0; i < sampler->options.vms; i++) {
		const struct seat *seat = &sampler->seats[i];
		outside += made->weights[i] * (double)seat->outside;
		elsewhere += made->weights[i] * (double)seat->elsewhere;
		compiling += made->weights[i] * (double)seat->compiling;
		push_places(lua, seat, made->weights[i], &count);
	}
	push_count(lua, "outside", outside);
	push_count(lua, "elsewhere", elsewhere);
	push_count(lua, "compiling", compiling);
	push_workers(lua, sampler);
	lua_pushboolean(lua, sampler->options.json);
	lua_pushboolean(lua, sampler->options.whole);
	lua_call(lua, 3, 1);
	const char *text = luaL_checkstring(lua, -1);
	free(sampler->report);
	sampler->report = strdup(text);
	return 0;
}

static void report(struct tide_sampler *sampler, lua_State *lua)
{
	double *weights = calloc((size_t)sampler->options.vms, sizeof *weights);
	struct finish made = { sampler, weights };
	if (weights != NULL)
		weigh(sampler, weights);
	if (weights == NULL || lua_cpcall(lua, finish, &made) != 0) {
		const char *text = weights != NULL ? lua_tostring(lua, -1) : NULL;
		free(sampler->report);
		sampler->report = strdup(text != NULL ? text : "the profiler has no report");
	}
	free(weights);
	lua_settop(lua, 0);
}

/* --- whose turn it is --------------------------------------------------------------- */

/* A timer that counts what this thread uses of a processor, instead of the one
 * that LuaJIT has just started for the whole process. */
static bool start_timer(struct tide_sampler *sampler, pid_t thread)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF };
	struct itimerspec every = { { 0, PERIOD_NS }, { 0, PERIOD_NS } };
	struct sigaction action;
	setitimer(ITIMER_PROF, &(struct itimerval){ 0 }, NULL);
	sigaction(SIGPROF, NULL, &action);
	luajit_handler = action.sa_handler;
	action.sa_handler = on_signal;
	sigaction(SIGPROF, &action, NULL);
	event.sigev_notify_thread_id = thread;
	if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &sampler->timer) != 0)
		return false;
	if (timer_settime(sampler->timer, 0, &every, NULL) == 0)
		return true;
	timer_delete(sampler->timer);
	return false;
}

static int64_t look_us(const struct tide_sampler *sampler)
{
	int ms = sampler->options.look_ms > 0 ? sampler->options.look_ms : LOOK_MS;
	return (int64_t)ms * 1000;
}

/* On the thread that runs it. */
static bool look(struct seat *seat)
{
	struct tide_sampler *sampler = seat->sampler;
	/* What LuaJIT puts back when it stops: a signal that is late must not end us. */
	signal(SIGPROF, SIG_IGN);
	/* By lines, and with a period that never comes to its end. */
	luaJIT_profile_start(seat->lua, "li1000000", on_sample, seat);
	atomic_store(&looked_at, seat);
	sampler->until_us = tide_clock_mono_us() + look_us(sampler);
	if (start_timer(sampler, seat->thread)) {
		sampler->looking = seat;
		return true;
	}
	atomic_store(&looked_at, NULL);
	luaJIT_profile_stop(seat->lua);
	return false;
}

/* Others are looked at before it is again, and then nobody for long if that is asked
 * for: with more VMs each is looked at more rarely. */
static void rest(struct seat *seat)
{
	struct tide_sampler *sampler = seat->sampler;
	int64_t looks = sampler->options.rests ? (int64_t)LOOKS_IN * sampler->options.vms
	                                       : sampler->followed;
	if (sampler->looking == seat) {
		timer_delete(sampler->timer);
		atomic_store(&looked_at, NULL);
		luaJIT_profile_stop(seat->lua);
		sampler->looking = NULL;
	}
	seat->due_us = tide_clock_mono_us() + (looks - 1) * look_us(sampler);
}

/* The processor time since the last look at that clock is the seat's. */
static void spend(struct seat *seat, bool ours)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	int64_t now_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	if (ours)
		seat->spent_us += now_us - seat->clock_us;
	seat->clock_us = now_us;
}

void tide_sampler_turn(struct tide_sampler *sampler, int number, lua_State *lua)
{
	struct seat *seat = &sampler->seats[number];
	if (sampler->options.beat != NULL)
		sampler->options.beat(sampler->options.beat_arg);
	if (seat->lua != lua || seat->deep > 0)
		return;
	int64_t now_us = tide_clock_mono_us();
	spend(seat, true);
	pthread_mutex_lock(&sampler->lock);
	bool changes = sampler->options.rests || sampler->followed > 1;
	if (sampler->looking == seat && changes && now_us > sampler->until_us)
		rest(seat);
	else if (sampler->looking == NULL && now_us >= seat->due_us && !look(seat))
		rest(seat);
	pthread_mutex_unlock(&sampler->lock);
}

bool tide_sampler_looks(struct tide_sampler *sampler, int number)
{
	pthread_mutex_lock(&sampler->lock);
	bool looks = sampler->looking == &sampler->seats[number];
	pthread_mutex_unlock(&sampler->lock);
	return looks;
}

void tide_sampler_enter(struct tide_sampler *sampler, int number, lua_State *lua)
{
	struct seat *seat = &sampler->seats[number];
	if (seat->lua == lua)
		seat->deep = seat->deep + 1;
}

void tide_sampler_exit(struct tide_sampler *sampler, int number, lua_State *lua)
{
	struct seat *seat = &sampler->seats[number];
	if (seat->lua == lua)
		seat->deep = seat->deep - 1;
}

int tide_sampler_follow(struct tide_sampler *sampler, int number, lua_State *lua,
                        struct tide_error *err)
{
	assert(number >= 0 && number < sampler->options.vms);
	struct seat *seat = &sampler->seats[number];
	pid_t thread = (pid_t)syscall(SYS_gettid);
	if (seat->lua == lua && seat->thread == thread)
		return TIDE_OK;
	bool again = seat->lua == lua || seat->lost;
	if (seat->lua != NULL)
		tide_sampler_leave(sampler, number, seat->lua);
	if (!sampler->options.adds_up && !again)
		forget(seat);
	if (lua_cpcall(lua, begin, NULL) != 0) {
		int rc = tide_fail(err, TIDE_ERR_SCRIPT, "the profiler does not start: %s",
		                   lua_tostring(lua, -1));
		lua_settop(lua, 0);
		return rc;
	}
	seat->thread = thread;
	seat->due_us = 0;
	seat->deep = 0;
	seat->lost = false;
	spend(seat, false);
	pthread_mutex_lock(&sampler->lock);
	seat->lua = lua;
	sampler->followed++;
	bool looks = sampler->looking != NULL || look(seat);
	if (!looks) {
		seat->lua = NULL;
		sampler->followed--;
	}
	pthread_mutex_unlock(&sampler->lock);
	return looks ? TIDE_OK
	             : tide_fail(err, TIDE_ERR_FAILED,
	                         "the profiler does not start: no timer for it");
}

void tide_sampler_lose(struct tide_sampler *sampler, int number, const lua_State *lua)
{
	struct seat *seat = &sampler->seats[number];
	if (seat->lua != lua)
		return;
	pthread_mutex_lock(&sampler->lock);
	assert(sampler->looking != seat);
	seat->lua = NULL;
	seat->deep = 0;
	seat->lost = true;
	sampler->followed--;
	pthread_mutex_unlock(&sampler->lock);
}

void tide_sampler_leave(struct tide_sampler *sampler, int number, lua_State *lua)
{
	struct seat *seat = &sampler->seats[number];
	if (seat->lua != lua)
		return;
	pthread_mutex_lock(&sampler->lock);
	rest(seat);
	seat->lua = NULL;
	if (lua_cpcall(lua, gather, seat) != 0)
		lua_settop(lua, 0);
	if (--sampler->followed == 0)
		report(sampler, lua);
	pthread_mutex_unlock(&sampler->lock);
}

const char *tide_sampler_report(const struct tide_sampler *sampler)
{
	return sampler->report;
}
