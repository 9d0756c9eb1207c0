/* SPDX-License-Identifier: Apache-2.0 */
/* Flipped bits and cut files, many of them: each is refused, repaired or harmless;
 * none is silently wrong.
 *
 *   damage FIRST COUNT SEED   COUNT damages drawn by SEED: every file in turn, a
 *                             flip or a cut, more of them near the ends of files
 *   damage --all K M          the Kth of M parts of all damages: every bit of every
 *                             file (of those above 64 KiB one in 997), every length
 *
 * Runs on all processors. The last line says what came of it. */
#include "checkpoint_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { FILES_MAX = 64, EPOCHS = 5, WORKERS_MAX = 16, EVERY_BIT_MAX = 64 << 10, SPARSE = 997 };
enum outcome { REFUSED, HARMLESS, WRONG, OUTCOMES };

struct victim {
	char name[96]; /* below the checkpoint */
	off_t size;
};

struct strike {
	int file;
	bool cut;
	uint64_t at; /* a bit, or the length that is left */
};

static struct victim victims[FILES_MAX];
static int victim_count;
static char whole[128], hurt[128];

/* ---- a checkpoint, and what its files are ---- */

/* In a child, whose end leaves the newest writes in the log of writes and not in
 * a file of its own; a clean close before it leaves some of both. */
static int child_build(const char *dir)
{
	struct tide_checkpoint *cp = open_ok(dir, false);
	for (int e = 0; e < EPOCHS; e++) {
		if (decide_next(cp) != TIDE_OK)
			return 1;
		if (e == EPOCHS / 2) {
			tide_checkpoint_close(cp);
			cp = open_ok(dir, false);
		}
	}
	_exit(0);
}

static int note_victim(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)at;
	if (type == FTW_F && st->st_size > 0 && victim_count < FILES_MAX) {
		struct victim *victim = &victims[victim_count++];
		snprintf(victim->name, sizeof victim->name, "%s", path + strlen(whole) + 1);
		victim->size = st->st_size;
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct victim *)a)->name, ((const struct victim *)b)->name);
}

static void look_at_whole(void)
{
	snprintf(whole, sizeof whole, "%s/whole", root);
	nftw(whole, note_victim, 16, FTW_PHYS);
	qsort(victims, (size_t)victim_count, sizeof *victims, by_name);
}

/* ---- one damage ---- */

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		exit(2);
	}
}

static void copy_bytes(const char *from, const char *to)
{
	static char bytes[4 << 20];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0644);
	must(in >= 0 && out >= 0, to);
	ssize_t n;
	while ((n = read(in, bytes, sizeof bytes)) > 0)
		must(write(out, bytes, (size_t)n) == n, to);
	close(in);
	close(out);
}

/* Files that are written once and never again need no bytes of their own. */
static bool is_written_again(const char *name)
{
	return strcmp(name, "anchor") == 0 || strcmp(name, "lock") == 0 ||
	       strstr(name, "LOCK") != NULL || strstr(name, "LOG") != NULL;
}

static void make_hurt(int damaged)
{
	static const char *const folders[] = { "", "/db", "/segments", "/db.ingest" };
	char from[256], to[256];
	remove_tree(hurt);
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		snprintf(to, sizeof to, "%s%s", hurt, folders[i]);
		must(mkdir(to, 0755) == 0, to);
	}
	for (int i = 0; i < victim_count; i++) {
		snprintf(from, sizeof from, "%.100s/%.90s", whole, victims[i].name);
		snprintf(to, sizeof to, "%.100s/%.90s", hurt, victims[i].name);
		if (i == damaged || is_written_again(victims[i].name))
			copy_bytes(from, to);
		else
			must(link(from, to) == 0, to);
	}
}

static void strike_file(const struct strike *strike)
{
	char path[256], byte;
	snprintf(path, sizeof path, "%.100s/%.90s", hurt, victims[strike->file].name);
	if (strike->cut) {
		must(truncate(path, (off_t)strike->at) == 0, path);
		return;
	}
	int fd = open(path, O_RDWR);
	off_t at = (off_t)(strike->at / 8);
	must(fd >= 0 && pread(fd, &byte, 1, at) == 1, path);
	byte = (char)(byte ^ (1 << strike->at % 8));
	must(pwrite(fd, &byte, 1, at) == 1, path);
	close(fd);
}

/* Opens, reads all, and decides one more epoch on top. */
static enum outcome judge(const char **why)
{
	struct tide_checkpoint *cp = NULL;
	struct tide_checkpoint_options options = { 0 };
	int rc = tide_checkpoint_open(hurt, &options, &cp, &err);
	if (rc != TIDE_OK) {
		*why = strstr(err.text, hurt) == NULL ? "the error names no place" : NULL;
		return *why != NULL ? WRONG : REFUSED;
	}
	*why = difference(cp, &rc);
	if (rc == TIDE_OK && *why == NULL && tide_checkpoint_meta(cp)->epoch != EPOCHS - 1)
		*why = "epoch";
	if (rc == TIDE_OK && *why == NULL && decide_next(cp) == TIDE_OK) {
		*why = difference(cp, &rc);
		if (rc == TIDE_OK && *why == NULL && tide_checkpoint_meta(cp)->epoch != EPOCHS)
			*why = "next epoch";
	}
	tide_checkpoint_close(cp);
	if (rc != TIDE_OK)
		return REFUSED;
	return *why != NULL ? WRONG : HARMLESS;
}

/* ---- which damages ---- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The nth damage of a seed, whoever makes it. */
static struct strike drawn(uint64_t seed, uint64_t n)
{
	uint64_t chance = mix(seed * UINT64_C(0x9e3779b97f4a7c15) + n);
	struct strike strike = { .file = (int)(n % (uint64_t)victim_count),
		                 .cut = n / (uint64_t)victim_count % 4 == 0 };
	uint64_t size = (uint64_t)victims[strike.file].size, at = mix(chance) % size;
	/* Most of a file's meaning is near its ends. */
	if (chance % 2 == 0 && size > 512)
		at = chance % 4 == 0 ? at % 256 : size - 1 - at % 256;
	strike.at = strike.cut ? at : at * 8 + (chance >> 32) % 8;
	return strike;
}

static uint64_t step_of(const struct victim *victim)
{
	return victim->size > EVERY_BIT_MAX ? SPARSE : 1;
}

/* The nth of all damages; false behind the last. */
static bool enumerated(uint64_t n, struct strike *strike)
{
	for (int i = 0; i < victim_count; i++) {
		uint64_t step = step_of(&victims[i]), size = (uint64_t)victims[i].size;
		uint64_t bits = (size * 8 + step - 1) / step, cuts = (size + step - 1) / step;
		if (n < bits + cuts) {
			*strike = n < bits ? (struct strike){ i, false, n * step }
			                   : (struct strike){ i, true, (n - bits) * step };
			return true;
		}
		n -= bits + cuts;
	}
	return false;
}

static uint64_t count_all(void)
{
	struct strike strike;
	uint64_t low = 0, high = UINT64_C(1) << 40;
	while (low < high) {
		uint64_t middle = (low + high) / 2;
		if (enumerated(middle, &strike))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- workers ---- */

struct job {
	bool all;
	uint64_t first, count, seed;
};

/* What a worker has done, seen by it and by the child that does it. */
struct done {
	uint64_t next, counts[OUTCOMES];
};

static int work_on(const struct job *job, int workers, struct done *done)
{
	for (; done->next < job->count; done->next += (uint64_t)workers) {
		struct strike strike;
		const char *why = NULL;
		if (!job->all)
			strike = drawn(job->seed, job->first + done->next);
		else if (!enumerated(job->first + done->next, &strike))
			break;
		make_hurt(strike.file);
		strike_file(&strike);
		enum outcome outcome = judge(&why);
		done->counts[outcome]++;
		if (outcome == WRONG)
			printf("WRONG: %s after %s %llu of %s\n", why,
			       strike.cut ? "a cut to byte" : "a flip of bit",
			       (unsigned long long)strike.at, victims[strike.file].name);
	}
	return fflush(stdout) != 0;
}

/* Debian's RocksDB keeps its assertions: one of them ends the process where a bit of a
 * block's shape is another. That refuses the checkpoint, too, and a new child goes on;
 * it is rare, and more of it is an assertion of ours. */
static int work(const struct job *job, int worker, int workers)
{
	struct done *done =
		mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t ended = 0;
	int status = 0;
	must(done != MAP_FAILED, "mmap");
	snprintf(hurt, sizeof hurt, "%s/hurt%d", root, worker);
	done->next = (uint64_t)worker;
	do {
		fflush(stdout);
		pid_t child = fork();
		must(child >= 0, "fork");
		if (child == 0)
			_exit(work_on(job, workers, done));
		must(waitpid(child, &status, 0) == child, "waitpid");
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
			printf("ended by RocksDB's assertion: damage %llu\n",
			       (unsigned long long)(job->first + done->next));
			ended++;
			done->counts[REFUSED]++;
			done->next += (uint64_t)workers;
		}
	} while (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	printf("counts %llu %llu %llu\n", (unsigned long long)done->counts[REFUSED],
	       (unsigned long long)done->counts[HARMLESS], (unsigned long long)done->counts[WRONG]);
	return fflush(stdout) != 0 || status != 0 || ended > 1 + job->count / 5000;
}

static int run(const struct job *job, char **argv)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int workers = processors > WORKERS_MAX ? WORKERS_MAX : (int)processors;
	FILE *from[WORKERS_MAX];
	unsigned long long sums[3] = { 0 };
	int bad = 0;
	for (int w = 0; w < workers; w++) {
		char line[512];
		snprintf(line, sizeof line, "exec '%s' --work %s %d %d %d %llu %llu %llu", argv[0],
		         root, w, workers, job->all, (unsigned long long)job->first,
		         (unsigned long long)job->count, (unsigned long long)job->seed);
		from[w] = popen(line, "r");
		must(from[w] != NULL, "popen");
	}
	for (int w = 0; w < workers; w++) {
		char line[512];
		unsigned long long part[3] = { 0 };
		bool told = false;
		while (fgets(line, sizeof line, from[w]) != NULL)
			if (sscanf(line, "counts %llu %llu %llu", &part[0], &part[1], &part[2]) ==
			    3)
				told = true;
			else
				fputs(line, stdout);
		bad += pclose(from[w]) != 0 || !told;
		for (int i = 0; i < 3; i++)
			sums[i] += part[i];
	}
	printf("%llu damages to %d files: %llu refused, %llu harmless or repaired, "
	       "%llu silently wrong\n",
	       sums[0] + sums[1] + sums[2], victim_count, sums[0], sums[1], sums[2]);
	return bad > 0 || sums[2] > 0;
}

int main(int argc, char **argv)
{
	struct job job = { 0 };
	if (argc == 3 && strcmp(argv[1], "build") == 0)
		return child_build(argv[2]);
	if (argc == 9 && strcmp(argv[1], "--work") == 0) {
		snprintf(root, sizeof root, "%s", argv[2]);
		look_at_whole();
		job = (struct job){ argv[5][0] == '1', strtoull(argv[6], NULL, 10),
			            strtoull(argv[7], NULL, 10), strtoull(argv[8], NULL, 10) };
		return work(&job, atoi(argv[3]), atoi(argv[4]));
	}
	if (argc != 4) {
		fprintf(stderr, "usage: damage FIRST COUNT SEED | damage --all K M\n");
		return 2;
	}
	/* In memory: what counts here is what is read, not when it is on a disk. */
	snprintf(root, sizeof root, "%s/damage.XXXXXX",
	         access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	must(mkdtemp(root) != NULL, root);
	snprintf(whole, sizeof whole, "%s/whole", root);
	must(child_end(child_start("build", whole)) == 0, "building a checkpoint");
	look_at_whole();
	if (strcmp(argv[1], "--all") == 0) {
		uint64_t all = count_all(), k = strtoull(argv[2], NULL, 10),
			 m = strtoull(argv[3], NULL, 10);
		job = (struct job){ true, all * (k - 1) / m, 0, 0 };
		job.count = all * k / m - job.first;
	} else {
		job = (struct job){ false, strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10),
			            strtoull(argv[3], NULL, 10) };
	}
	int rc = run(&job, argv);
	remove_tree(root);
	return rc;
}
