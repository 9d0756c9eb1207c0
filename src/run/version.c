/* SPDX-License-Identifier: Apache-2.0 */
/* See version.h. */
#include "run/version.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"

enum { TRIAL_EPOCHS = 3, MOMENT_US = 300000 };

void tide_version_init(struct tide_version *version, struct tide_crew *crew,
                       struct tide_commit *commit, int workers, uint64_t hash)
{
	*version = (struct tide_version){
		.crew = crew, .commit = commit, .workers = workers, .hash = hash
	};
}

bool tide_version_on_trial(const struct tide_version *version)
{
	return version->epochs_left > 0;
}

static void forget_before(struct tide_version *version)
{
	for (int i = 0; i <= version->workers; i++) {
		tide_vm_free(version->before[i]);
		version->before[i] = NULL;
	}
	version->epochs_left = 0;
}

void tide_version_fini(struct tide_version *version)
{
	forget_before(version);
	tide_vm_free(version->own);
	version->own = NULL;
}

/* What runs goes to vms, and what is there runs. */
static void swap(struct tide_version *version, struct tide_vm **vms)
{
	for (int w = 0; w < version->workers; w++) {
		struct tide_worker *worker = tide_crew_worker(version->crew, w);
		vms[w] = tide_worker_vm(worker, vms[w]);
	}
}

static void answer(struct tide_version *version, int64_t epoch)
{
	if (!tide_version_on_trial(version) || version->answered)
		return;
	version->answered = true;
	tide_reload_took(version->reload, epoch, version->exchanged_us);
}

void tide_version_exchange(struct tide_version *version, struct tide_candidate *candidate)
{
	forget_before(version); /* A trial that is not over yet has gone well so far. */
	for (int w = 0; w < version->workers; w++)
		version->before[w] = candidate->vms[w];
	swap(version, version->before);
	for (int w = 0; w < version->workers; w++)
		candidate->vms[w] = NULL;
	version->before[version->workers] = version->own;
	version->own = candidate->vms[version->workers];
	candidate->vms[version->workers] = NULL;
	version->first = tide_commit_vm(version->commit, version->own);
	version->hash_before = version->hash;
	version->hash = candidate->plan->hash;
	version->rows_before = version->rows;
	version->failed_before = version->failed;
	version->rows = version->failed = 0;
	version->epochs_left = TRIAL_EPOCHS;
	version->answered = false;
	version->exchanged_us = tide_clock_mono_us();
}

static void tell_back(struct tide_version *version, int status, const char *why)
{
	if (version->answered)
		tide_reload_back(version->reload, why);
	else
		tide_reload_refused(version->reload, status, why);
}

static void go_back(struct tide_version *version, const char *why)
{
	swap(version, version->before);
	tide_commit_vm(version->commit, version->first);
	tide_vm_free(version->own);
	version->own = version->before[version->workers];
	version->before[version->workers] = NULL;
	version->hash = version->hash_before;
	version->rows = version->rows_before;
	version->failed = version->failed_before;
	forget_before(version);
	tell_back(version, TIDE_ERR_DIFFER, why);
}

void tide_version_abandon(struct tide_version *version, struct tide_vm **vms, const char *why)
{
	for (int w = 0; w < version->workers; w++) {
		vms[w] = version->before[w];
		version->before[w] = NULL;
	}
	vms[version->workers] = version->first;
	version->before[version->workers] = NULL;
	tell_back(version, TIDE_ERR_SCRIPT, why);
}

void tide_version_rest(struct tide_version *version, int64_t epoch)
{
	if (tide_clock_mono_us() - version->exchanged_us > MOMENT_US)
		answer(version, epoch);
}

/* More than the version before did, and more than chance would have it. */
static bool fails_more(const struct tide_version *version, uint64_t rows, uint64_t failed)
{
	double rate = version->rows_before > 0
	                      ? (double)version->failed_before / (double)version->rows_before
	                      : 0;
	double expected = rate * (double)rows;
	return failed > 0 && (double)failed > expected + 4 * sqrt(expected);
}

bool tide_version_judge(struct tide_version *version, int64_t epoch, int status,
                        const struct tide_error *err)
{
	uint64_t rows = 0, failed = 0;
	char why[sizeof err->text + 128];
	for (int w = 0; w < version->workers; w++) {
		const struct tide_run_result *totals = &tide_crew_worker(version->crew, w)->totals;
		rows += totals->rows_in;
		failed += totals->rows_failed + totals->rows_malformed;
	}
	if (tide_version_on_trial(version) && status == TIDE_ERR_SCRIPT) {
		snprintf(why, sizeof why, "it fails: %s", err->text);
		go_back(version, why);
		return true;
	}
	if (tide_version_on_trial(version) && fails_more(version, rows, failed)) {
		snprintf(why, sizeof why,
		         "in its first epochs %llu of %llu rows failed or were malformed, and %llu "
		         "of %llu in those before; the log names some that failed",
		         (unsigned long long)failed, (unsigned long long)rows,
		         (unsigned long long)version->failed_before,
		         (unsigned long long)version->rows_before);
		go_back(version, why);
		return true;
	}
	version->rows += rows;
	version->failed += failed;
	if (status == TIDE_OK && tide_version_on_trial(version) && rows > 0) {
		answer(version, epoch);
		if (--version->epochs_left == 0)
			forget_before(version);
	}
	return false;
}
