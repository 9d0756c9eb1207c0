/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of the commit protocol that a build can break, one at a time, so that
 * `make mutants` sees whether the tests notice. No other build knows any. */
#ifndef TIDE_BASE_MUTANT_H
#define TIDE_BASE_MUTANT_H

#ifdef TIDE_MUTANT

#ifndef TIDE_FAILPOINTS
#error "a mutant is for tests: it needs TIDE_FAILPOINTS"
#endif

enum {
	TIDE_MUTANT_APPLY_FIRST = 1, /* state is written before the decision, not in it */
	TIDE_MUTANT_PUBLISH_FIRST,   /* rows go out before their epoch is decided */
	TIDE_MUTANT_NO_SYNC,         /* a decision is not synced */
	TIDE_MUTANT_NO_ANCHOR,       /* decisions leave no trace outside RocksDB */
	TIDE_MUTANT_NO_REPLAY,       /* what the outbox holds is not published again */
	TIDE_MUTANT_RELEASE_EARLY,   /* rows leave the outbox before they are out */
	TIDE_MUTANT_NO_MEMORY,       /* sinks are not asked what they have published */
	TIDE_MUTANT_KEEP_PRODUCER,   /* a transaction that may not be over is followed by another */
	TIDE_MUTANT_NO_FINGERPRINT,  /* the last record that was read is not looked at again */
	TIDE_MUTANT_NO_LOCK,         /* two processes may open one checkpoint */
};
#define tide_mutant(rule) (TIDE_MUTANT == TIDE_MUTANT_##rule)

#else
#define tide_mutant(rule) 0
#endif

#endif
