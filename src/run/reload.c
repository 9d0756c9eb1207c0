/* SPDX-License-Identifier: Apache-2.0 */
/* See reload.h. */
#include "run/reload.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/watch.h"
#include "checkpoint/kept.h"
#include "run/control.h"
#include "run/evidence.h"
#include "run/jobfiles.h"
#include "run/shadow.h"

enum { LOOK_MS = 50, LINE_MAX = 256, TRIAL_EPOCHS = 10 };

/* One that has taken over. */
struct taken {
	struct tide_plan *plan;       /* NULL: the first, which is somebody else's */
	struct tide_recording *files; /* their texts; NULL: they could not be kept */
};

static const char anything[] = "100%"; /* may differ */

struct tide_reload {
	struct tide_reload_options options;
	struct tide_watch *watch; /* NULL: told by SIGHUP and `tidemark reload` alone */
	int control, hangups;
	FILE *asker; /* who waits for the answer; or NULL */
	struct tide_control_request request;
	bool on_terminal;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop;
	struct tide_candidate *waiting;
	bool given;          /* it is in the loop's hands */
	struct taken *taken; /* all of them, for nobody knows who still looks at one */
	int taken_count;
	const struct tide_plan *plan, *before; /* of what runs, and what ran before it */
	/* The verdict on the last candidate. */
	bool decided, took;
	int status; /* where it was refused, and why */
	char why[2048];
	int64_t epoch, since_us, began_us;
};

static void files_free(struct tide_recording *files)
{
	if (files != NULL)
		tide_recording_fini(files);
	free(files);
}

static void candidate_free(struct tide_candidate *candidate)
{
	if (candidate == NULL)
		return;
	for (int i = 0; i < candidate->vm_count; i++)
		tide_vm_free(candidate->vms[i]);
	tide_plan_free(candidate->plan);
	files_free(candidate->files);
	free(candidate->vms);
	free(candidate);
}

/* ---- loading ---- */

static int load_one(const struct tide_reload *reload, struct tide_plan *plan, struct tide_vm **vm,
                    struct tide_error *err)
{
	const struct tide_settings *settings = reload->options.settings;
	struct tide_vm_options options = {
		.lua_dir = settings->lua_dir,
		.memory_max = (size_t)settings->script_bytes,
		.jit_off = settings->jit_off,
		.set = settings->set,
	};
	int rc = tide_vm_new(&options, vm, err);
	return rc == TIDE_OK ? tide_vm_load(*vm, settings->job_path, plan, err) : rc;
}

/* On made-up records, in a VM of its own: a function without end or measure
 * shows there, and no other mistake is of interest. */
static int try_it(const struct tide_reload *reload, struct tide_error *err)
{
	struct tide_plan *plan = tide_plan_new();
	struct tide_vm *vm = NULL;
	int rc = plan == NULL ? tide_fail(err, TIDE_ERR_NOMEM, "no memory for a plan")
	                      : load_one(reload, plan, &vm, err);
	if (rc == TIDE_OK)
		rc = tide_vm_lint(vm, plan, true, err);
	tide_vm_free(vm);
	tide_plan_free(plan);
	return rc;
}

static int keep_files(const struct tide_plan *plan, struct tide_recording **out,
                      struct tide_error *err)
{
	*out = calloc(1, sizeof **out);
	return *out != NULL ? tide_jobfiles_keep(plan, *out, err)
	                    : tide_fail(err, TIDE_ERR_NOMEM, "no memory for a job's files");
}

/* A version that was saved between two of the loads is told by its plan. */
static int load_all(const struct tide_reload *reload, struct tide_candidate *candidate,
                    struct tide_error *err)
{
	int rc = TIDE_OK;
	candidate->vm_count = reload->options.settings->workers + 1;
	candidate->vms = calloc((size_t)candidate->vm_count, sizeof(struct tide_vm *));
	if (candidate->vms == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a version");
	for (int i = 0; rc == TIDE_OK && i < candidate->vm_count; i++) {
		struct tide_plan *again = tide_plan_new();
		rc = again == NULL ? tide_fail(err, TIDE_ERR_NOMEM, "no memory for a plan")
		                   : load_one(reload, again, &candidate->vms[i], err);
		if (rc == TIDE_OK && again->hash != candidate->plan->hash)
			rc = tide_fail(err, TIDE_ERR_SCRIPT,
			               "the job was saved again while it was loaded");
		tide_plan_free(again);
	}
	return rc;
}

/* A reason to refuse is in err. */
static int load(struct tide_reload *reload, struct tide_candidate *candidate, struct tide_buf *what,
                struct tide_error *err)
{
	struct tide_vm *vm = NULL;
	candidate->plan = tide_plan_new();
	if (candidate->plan == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for a plan");
	int rc = load_one(reload, candidate->plan, &vm, err);
	tide_vm_free(vm);
	if (reload->watch != NULL && candidate->plan->file_count > 0)
		tide_watch_set(reload->watch, (const char *const *)candidate->plan->files,
		               candidate->plan->file_count, NULL);
	if (rc != TIDE_OK)
		return rc;
	candidate->change = tide_change_of(reload->plan, candidate->plan,
	                                   reload->options.settings->checkpoint_dir, what);
	if (what->failed)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to compare two versions");
	tide_buf_u8(what, 0);
	if (candidate->change == TIDE_CHANGE_NONE)
		return TIDE_OK;
	if (candidate->change == TIDE_CHANGE_COLD)
		return tide_fail(err, TIDE_ERR_CHECKPOINT,
		                 "%s\nTo try it beside this one: tidemark "
		                 "run %s --checkpoint-dir %s-new --from earliest",
		                 what->p, reload->options.settings->job_path,
		                 reload->options.settings->checkpoint_dir);
	rc = try_it(reload, err);
	if (rc == TIDE_OK)
		rc = keep_files(candidate->plan, &candidate->files, err);
	return rc == TIDE_OK ? load_all(reload, candidate, err) : rc;
}

/* ---- answers ---- */

static void answer(struct tide_reload *reload, enum tide_change change, int rc, const char *text)
{
	if (reload->asker == NULL)
		return;
	fprintf(reload->asker, "done %s %d ", tide_change_name(change), rc);
	for (const char *p = text; *p != '\0'; p++) /* One line. */
		fputc(*p == '\n' ? '\v' : *p, reload->asker);
	fputc('\n', reload->asker);
	fclose(reload->asker);
	reload->asker = NULL;
}

/* With the line of the job, as check and dev show it. */
static const char *shown(const struct tide_reload *reload, const char *why, struct tide_error *out)
{
	snprintf(out->text, sizeof out->text, "%s", why);
	tide_evidence_add(reload->options.plan, (struct tide_slice){ NULL, 0 }, out);
	return out->text;
}

static void refuse(struct tide_reload *reload, enum tide_change change, int rc, const char *why)
{
	struct tide_error whole;
	why = shown(reload, why, &whole);
	tide_log(TIDE_WARN,
	         "the new version of the job does not take over (%s), and the old one "
	         "goes on: %s",
	         tide_change_name(change), why);
	tide_board_notice(reload->options.board, why);
	answer(reload, change, rc, why);
}

static void tell_taken(struct tide_reload *reload, enum tide_change change, const char *what)
{
	char text[2400];
	snprintf(text, sizeof text, "version %08x of the job runs from epoch %lld on (%s: %s)",
	         (unsigned)(reload->plan->hash >> 32), (long long)reload->epoch,
	         tide_change_name(change), what);
	tide_log(TIDE_INFO, "%s; %.0f ms after it was noticed", text,
	         (double)(reload->since_us - reload->began_us) / 1e3);
	tide_board_notice(reload->options.board, "");
	answer(reload, change, TIDE_OK, text);
}

/* Hand it to the loop, and wait for what becomes of it. */
static void offer(struct tide_reload *reload, struct tide_candidate *candidate, const char *what)
{
	enum tide_change change = candidate->change;
	pthread_mutex_lock(&reload->lock);
	reload->waiting = candidate;
	reload->given = reload->decided = false;
	while (!reload->decided && !reload->stop)
		pthread_cond_wait(&reload->changed, &reload->lock);
	bool decided = reload->decided, took = reload->took;
	pthread_mutex_unlock(&reload->lock);
	if (!decided)
		answer(reload, change, TIDE_ERR_STOPPED, "the job stops");
	else if (took)
		tell_taken(reload, change, what);
	else
		refuse(reload, change, reload->status, reload->why);
}

/* ---- beside the one that runs ---- */

static void pass_on(void *arg, bool result, const char *text)
{
	struct tide_reload *reload = arg;
	if (reload->asker == NULL) {
		tide_log(TIDE_INFO, "%s", text);
		return;
	}
	fprintf(reload->asker, "%s%s\n", result ? "= " : "", text);
	fflush(reload->asker);
}

static bool nobody_waits(void *arg)
{
	struct tide_reload *reload = arg;
	pthread_mutex_lock(&reload->lock);
	bool stop = reload->stop;
	pthread_mutex_unlock(&reload->lock);
	if (stop || reload->asker == NULL)
		return stop;
	struct pollfd asker = { .fd = fileno(reload->asker), .events = POLLRDHUP };
	return poll(&asker, 1, 0) != 0;
}

/* What runs, and its files. */
static struct taken running(struct tide_reload *reload)
{
	pthread_mutex_lock(&reload->lock);
	struct taken found = reload->taken[0];
	for (int i = 1; i < reload->taken_count; i++)
		if (reload->taken[i].plan == reload->plan)
			found = reload->taken[i];
	pthread_mutex_unlock(&reload->lock);
	return found;
}

static struct tide_shadow beside(struct tide_reload *reload, const struct taken *old,
                                 const struct tide_candidate *candidate)
{
	return (struct tide_shadow){
		.settings = reload->options.settings,
		.plan = old->plan != NULL ? old->plan : reload->options.plan,
		.old_files = old->files,
		.new_files = candidate->files,
		.board = reload->options.board,
		.past = reload->options.past,
		.epochs = reload->request.epochs,
		.line = pass_on,
		.stopped = nobody_waits,
		.arg = reload,
	};
}

static int compare(struct tide_reload *reload, const struct tide_candidate *candidate,
                   const char *max_diff, struct tide_error *err)
{
	struct taken old = running(reload);
	struct tide_shadow shadow = beside(reload, &old, candidate);
	shadow.max_diff = max_diff;
	if (old.files == NULL)
		return tide_fail(err, TIDE_ERR_IO,
		                 "the files of the version that runs could not be kept");
	int rc = tide_shadow_compare(&shadow, err);
	bool lenient = reload->asker == NULL && reload->options.max_diff == NULL;
	if (rc == TIDE_ERR_DIFFER && shadow.ran == 0 && lenient) {
		tide_log(TIDE_INFO, "%s", err->text);
		rc = TIDE_OK;
	}
	if (rc == TIDE_OK && running(reload).plan != old.plan)
		return tide_fail(err, TIDE_ERR_DIFFER,
		                 "the version that it was compared with runs no more");
	if (rc == TIDE_OK && nobody_waits(reload))
		return tide_fail(err, TIDE_ERR_STOPPED, "whoever asked for it is gone");
	return rc;
}

/* True: it may take over. Otherwise that is answered, and somebody who only looks is
 * told alone. */
static bool compared(struct tide_reload *reload, const struct tide_candidate *candidate)
{
	bool looks = reload->request.max_diff[0] == '\0';
	struct tide_error err = { 0 };
	char text[2400];
	int rc = compare(reload, candidate, looks ? NULL : reload->request.max_diff, &err);
	if (rc == TIDE_OK && !looks)
		return true;
	snprintf(text, sizeof text, "%s%s", rc == TIDE_OK ? "nothing differs" : err.text,
	         looks ? "; the old version goes on, as --max-diff was not given" : "");
	if (looks)
		answer(reload, candidate->change, rc, text);
	else
		refuse(reload, candidate->change, rc, text);
	return false;
}

/* What changes the states cannot be taken back: it is tried before, and not, as functions
 * alone are, in its first epochs. True: it may take over. Otherwise that is answered. */
static bool tried(struct tide_reload *reload, const struct tide_candidate *candidate)
{
	struct taken old = running(reload);
	struct tide_shadow shadow = beside(reload, &old, candidate);
	struct tide_error err = { 0 };
	char how[sizeof err.text];
	shadow.epochs = TRIAL_EPOCHS;
	int rc = old.files != NULL ? tide_shadow_try(&shadow, how, sizeof how, &err)
	                           : tide_fail(&err, TIDE_ERR_IO,
	                                       "the files of the version that runs could not be "
	                                       "kept, so that no other can be tried beside it");
	if (rc != TIDE_OK) {
		tide_evidence_add(candidate->plan, (struct tide_slice){ NULL, 0 }, &err);
		refuse(reload, candidate->change, rc, err.text);
		return false;
	}
	tide_log(TIDE_INFO,
	         shadow.records > 0 ? "the new version was tried on %s"
	                            : "the new version could not be tried before it takes "
	                              "over: %s",
	         how);
	return true;
}

static void consider(struct tide_reload *reload)
{
	struct tide_error err = { 0 };
	struct tide_buf what = { 0 };
	struct tide_candidate *candidate = calloc(1, sizeof *candidate);
	reload->began_us = tide_clock_mono_us();
	int rc = candidate == NULL ? tide_fail(&err, TIDE_ERR_NOMEM, "no memory for a version")
	                           : load(reload, candidate, &what, &err);
	if (rc != TIDE_OK) {
		refuse(reload, candidate != NULL ? candidate->change : TIDE_CHANGE_NONE, rc,
		       err.text);
	} else if (candidate->change == TIDE_CHANGE_NONE) {
		tide_board_notice(reload->options.board, "");
		answer(reload, TIDE_CHANGE_NONE, TIDE_OK, "this version runs already");
	} else if ((reload->request.epochs == 0 || compared(reload, candidate)) &&
	           (candidate->change != TIDE_CHANGE_WARM || tried(reload, candidate))) {
		offer(reload, candidate, what.p);
		candidate = NULL; /* It has changed hands. */
	}
	candidate_free(candidate);
	tide_buf_fini(&what);
}

/* ---- the thread ---- */

/* A terminal that hangs up sends the same signal as somebody who means a reload. */
static bool terminal_is_gone(const struct tide_reload *reload)
{
	int fd = reload->on_terminal ? open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC) : 0;
	if (fd > 0)
		close(fd);
	return fd < 0;
}

/* A copy of the checkpoint, which others than `tidemark reload` ask for. */
static void keep_copy(struct tide_reload *reload)
{
	struct tide_kept kept;
	struct tide_error err = { 0 };
	char text[160];
	int rc = tide_past_keep(reload->options.past, reload->options.settings->checkpoint_dir,
	                        TIDE_KEPT_MAX, &kept, &err);
	if (rc == TIDE_OK)
		tide_kept_say(&kept, text, sizeof text);
	answer(reload, TIDE_CHANGE_NONE, rc, rc == TIDE_OK ? text : err.text);
}

static bool asked(struct tide_reload *reload)
{
	char line[LINE_MAX];
	/* What nobody asks for is compared as the run was told to. */
	reload->request = (struct tide_control_request){ .epochs = reload->options.shadow_epochs };
	snprintf(reload->request.max_diff, sizeof reload->request.max_diff, "%s",
	         reload->options.max_diff != NULL ? reload->options.max_diff : anything);
	int hangups = reload->options.hangups != NULL ? atomic_load(reload->options.hangups) : 0;
	if (hangups != reload->hangups) {
		reload->hangups = hangups;
		if (!terminal_is_gone(reload))
			return true;
		raise(SIGTERM);
	}
	if (reload->control >= 0)
		reload->asker = tide_control_accept(reload->control, line, sizeof line);
	if (reload->asker != NULL && strcmp(line, "copy") == 0) {
		keep_copy(reload);
		return false;
	}
	if (reload->asker != NULL) {
		reload->request = (struct tide_control_request){ 0 };
		bool known = tide_control_parse(line, &reload->request);
		if (!known)
			answer(reload, TIDE_CHANGE_NONE, TIDE_ERR_USAGE,
			       "the job, which may be of another version, does not know this");
		return known;
	}
	if (reload->watch != NULL)
		return tide_watch_wait(reload->watch, LOOK_MS);
	nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000L }, NULL);
	return false;
}

static void *reload_main(void *arg)
{
	struct tide_reload *reload = arg;
	bool stop = false;
	while (!stop) {
		if (asked(reload))
			consider(reload);
		pthread_mutex_lock(&reload->lock);
		stop = reload->stop;
		pthread_mutex_unlock(&reload->lock);
	}
	return NULL;
}

int tide_reload_start(const struct tide_reload_options *options, struct tide_reload **out,
                      struct tide_error *err)
{
	struct tide_reload *reload = calloc(1, sizeof *reload);
	if (reload == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for reloading");
	reload->options = *options;
	reload->plan = options->plan;
	reload->taken = calloc(1, sizeof *reload->taken);
	reload->taken_count = 1;
	if (reload->taken == NULL) {
		free(reload);
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory for reloading");
	}
	reload->on_terminal = !terminal_is_gone(&(struct tide_reload){ .on_terminal = true });
	reload->hangups = options->hangups != NULL ? atomic_load(options->hangups) : 0;
	pthread_mutex_init(&reload->lock, NULL);
	pthread_cond_init(&reload->changed, NULL);
	struct tide_error ignored;
	if (tide_control_listen(options->settings->checkpoint_dir, &reload->control, &ignored) !=
	    TIDE_OK)
		tide_log(TIDE_WARN, "`tidemark reload` will not find this job: %s", ignored.text);
	int rc = TIDE_OK;
	if (keep_files(options->plan, &reload->taken[0].files, &ignored) != TIDE_OK) {
		tide_log(TIDE_WARN, "`tidemark reload --shadow` will not do here: %s",
		         ignored.text);
		files_free(reload->taken[0].files);
		reload->taken[0].files = NULL;
	}
	if (options->watch)
		rc = tide_watch_new((const char *const *)options->plan->files,
		                    options->plan->file_count, &reload->watch, err);
	if (rc == TIDE_OK && pthread_create(&reload->thread, NULL, reload_main, reload) != 0)
		rc = tide_fail(err, TIDE_ERR_FAILED, "cannot start the thread that reloads");
	else if (rc == TIDE_OK)
		reload->running = true;
	if (rc != TIDE_OK) {
		tide_reload_stop(reload);
		return rc;
	}
	*out = reload;
	return TIDE_OK;
}

void tide_reload_stop(struct tide_reload *reload)
{
	if (reload == NULL)
		return;
	pthread_mutex_lock(&reload->lock);
	reload->stop = true;
	pthread_cond_broadcast(&reload->changed);
	pthread_mutex_unlock(&reload->lock);
	if (reload->running)
		pthread_join(reload->thread, NULL);
	tide_control_close(reload->options.settings->checkpoint_dir, reload->control);
	tide_watch_free(reload->watch);
	candidate_free(reload->waiting);
	for (int i = 0; i < reload->taken_count; i++) {
		tide_plan_free(reload->taken[i].plan);
		files_free(reload->taken[i].files);
	}
	free(reload->taken);
	pthread_mutex_destroy(&reload->lock);
	pthread_cond_destroy(&reload->changed);
	free(reload);
}

/* ---- the loop's side ---- */

struct tide_candidate *tide_reload_take(struct tide_reload *reload)
{
	if (reload == NULL)
		return NULL;
	pthread_mutex_lock(&reload->lock);
	struct tide_candidate *candidate = reload->given ? NULL : reload->waiting;
	if (candidate != NULL)
		reload->given = true;
	pthread_mutex_unlock(&reload->lock);
	return candidate;
}

static void decide(struct tide_reload *reload, bool took)
{
	candidate_free(reload->waiting);
	reload->waiting = NULL;
	reload->decided = true;
	reload->took = took;
	pthread_cond_broadcast(&reload->changed);
}

void tide_reload_took(struct tide_reload *reload, int64_t epoch, int64_t since_us)
{
	pthread_mutex_lock(&reload->lock);
	struct taken *grown =
		realloc(reload->taken, sizeof *grown * (size_t)(reload->taken_count + 1));
	if (grown != NULL) {
		struct tide_candidate *candidate = reload->waiting;
		reload->taken = grown;
		reload->taken[reload->taken_count++] =
			(struct taken){ candidate->plan, candidate->files };
		reload->before = reload->plan;
		reload->plan = candidate->plan;
		candidate->plan = NULL;
		candidate->files = NULL;
	}
	reload->epoch = epoch;
	reload->since_us = since_us;
	decide(reload, true);
	pthread_mutex_unlock(&reload->lock);
}

void tide_reload_refused(struct tide_reload *reload, int status, const char *why)
{
	pthread_mutex_lock(&reload->lock);
	reload->status = status;
	snprintf(reload->why, sizeof reload->why, "%s", why);
	decide(reload, false);
	pthread_mutex_unlock(&reload->lock);
}

void tide_reload_back(struct tide_reload *reload, const char *why)
{
	struct tide_error whole;
	why = shown(reload, why, &whole);
	pthread_mutex_lock(&reload->lock);
	reload->plan = reload->before;
	pthread_mutex_unlock(&reload->lock);
	tide_log(TIDE_WARN,
	         "the version before runs again, and what the new one did in this epoch "
	         "is undone: %s",
	         why);
	tide_board_notice(reload->options.board, why);
}
