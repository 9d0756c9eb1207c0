/* SPDX-License-Identifier: Apache-2.0 */
/* How long records take: writes them to a topic at an even rate, each with the
 * time at which it was handed to librdkafka, and reads what comes of them.
 *
 *   latency -b BROKERS [-r RATE] [-s SECONDS] [-w WARM_SECONDS] [-o TOPIC]
 *           [-d DIR] TOPIC [-- COMMAND…]
 *
 * COMMAND is the job; its lines are read from a pipe, or with -o its records
 * from that topic by a read_committed consumer. Without a command, -o TOPIC of
 * the same name measures broker and librdkafka alone. The first WARM_SECONDS are
 * left out. -d: a folder on the disk of the checkpoint, where writes of 4 KiB are
 * synced before and after, for comparison. Prints one JSON object; a record that
 * comes twice or never is counted there. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { VALUE_SIZE = 100, REQUEST_MS = 10000, LAST_MS = 60000, SYNCS = 100, SYNC_SIZE = 4096 };

static struct {
	const char *brokers, *topic, *out, *dir;
	double rate, seconds, warm;
	char **command;
} options = { .brokers = "127.0.0.1:9092", .rate = 10000, .seconds = 10, .warm = 3 };

/* Of each record: when it was sent, how often it came, and how long that took. */
static int64_t *sent_us, *took_us;
static unsigned char *came;
static int64_t records, warm_records;
static atomic_llong arrived;
static atomic_bool over;

static pid_t job = -1;
static int job_out = -1;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("latency: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	if (job > 0)
		kill(job, SIGKILL);
	exit(1);
}

/* --- What comes -------------------------------------------------------------- */

/* "#123." and padding; what else is in a line, such as a heading, has none. */
static void arrive(const char *text, size_t len, int64_t now_us)
{
	const char *at = memchr(text, '#', len);
	if (at == NULL)
		return;
	char *rest;
	long long number = strtoll(at + 1, &rest, 10);
	if (rest == at + 1 || *rest != '.' || number < 0 || number >= records)
		die("what is this? %.*s", (int)len, text);
	if (came[number] < UCHAR_MAX)
		came[number]++;
	if (came[number] > 1)
		return;
	took_us[number] = now_us - sent_us[number];
	atomic_fetch_add(&arrived, 1);
}

static void *read_lines(void *unused)
{
	static char bytes[1 << 20];
	size_t held = 0;
	ssize_t n;
	while ((n = read(job_out, bytes + held, sizeof bytes - held)) > 0 ||
	       (n < 0 && errno == EINTR)) {
		int64_t now_us = tide_clock_mono_us();
		size_t end = held + (n > 0 ? (size_t)n : 0), from = 0;
		char *newline;
		while ((newline = memchr(bytes + from, '\n', end - from)) != NULL) {
			*newline = '\0';
			arrive(bytes + from, (size_t)(newline - bytes) - from, now_us);
			from = (size_t)(newline - bytes) + 1;
		}
		held = end - from;
		memmove(bytes, bytes + from, held);
	}
	return unused;
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *const (*settings)[2])
{
	char why[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	bool bad = rd_kafka_conf_set(conf, "bootstrap.servers", options.brokers, why, sizeof why);
	for (; (*settings)[0] != NULL; settings++)
		bad = bad ||
		      rd_kafka_conf_set(conf, (*settings)[0], (*settings)[1], why, sizeof why);
	rd_kafka_t *rk = bad ? NULL : rd_kafka_new(type, conf, why, sizeof why);
	if (rk == NULL)
		die("%s", why);
	return rk;
}

static rd_kafka_t *open_reader(void)
{
	static const char *const settings[][2] = {
		{ "group.id", "bench-latency" },         { "isolation.level", "read_committed" },
		{ "enable.auto.commit", "false" },       { "auto.offset.reset", "earliest" },
		{ "enable.auto.offset.store", "false" }, { NULL, NULL },
	};
	const rd_kafka_metadata_t *meta;
	rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, settings);
	rd_kafka_poll_set_consumer(rk);
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, options.out, NULL);
	if (rd_kafka_metadata(rk, 0, topic, &meta, REQUEST_MS) != 0)
		die("%s: no metadata", options.out);
	int count = meta->topics[0].partition_cnt;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
	for (int p = 0; p < count; p++)
		rd_kafka_topic_partition_list_add(list, options.out, p)->offset = 0;
	rd_kafka_assign(rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_metadata_destroy(meta);
	rd_kafka_topic_destroy(topic);
	return rk;
}

static void *read_topic(void *reader)
{
	while (!atomic_load(&over)) {
		rd_kafka_message_t *msg = rd_kafka_consumer_poll(reader, 100);
		if (msg == NULL)
			continue;
		if (msg->err != 0)
			die("%s", rd_kafka_message_errstr(msg));
		arrive(msg->payload, msg->len, tide_clock_mono_us());
		rd_kafka_message_destroy(msg);
	}
	return NULL;
}

/* --- What goes --------------------------------------------------------------- */

static void send_one(rd_kafka_t *rk, int64_t number)
{
	char value[VALUE_SIZE + 1];
	int len = snprintf(value, sizeof value, "#%lld.", (long long)number);
	memset(value + len, 'x', (size_t)(VALUE_SIZE - len));
	sent_us[number] = tide_clock_mono_us();
	rd_kafka_resp_err_t code = rd_kafka_producev(
		rk, RD_KAFKA_V_TOPIC(options.topic), RD_KAFKA_V_VALUE(value, VALUE_SIZE),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_BLOCK), RD_KAFKA_V_END);
	if (code != 0)
		die("%s", rd_kafka_err2str(code));
}

/* Processor time of the job so far, in seconds. */
static double job_cpu(void)
{
	char path[64], text[1024];
	unsigned long user = 0, sys = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)job);
	FILE *file = job > 0 ? fopen(path, "r") : NULL;
	size_t len = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
	text[len] = '\0';
	char *name_end = strrchr(text, ')');
	if (name_end == NULL ||
	    sscanf(name_end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
	           &sys) != 2)
		user = sys = 0;
	if (file != NULL)
		fclose(file);
	return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

/* What the job needs of one core when it is warm, in percent. */
static double send_all(rd_kafka_t *rk)
{
	int64_t begun_us = tide_clock_mono_us(), warm_us = begun_us;
	double cpu = 0;
	for (int64_t i = 0; i < records; i++) {
		int64_t due_us = begun_us + (int64_t)((double)i * 1e6 / options.rate), now_us;
		while ((now_us = tide_clock_mono_us()) < due_us) {
			rd_kafka_poll(rk, 0);
			usleep((useconds_t)(due_us - now_us < 1000 ? due_us - now_us : 1000));
		}
		if (i == warm_records) {
			warm_us = now_us;
			cpu = job_cpu();
		}
		send_one(rk, i);
	}
	double spent = job_cpu() - cpu;
	return spent * 1e8 / (double)(tide_clock_mono_us() - warm_us);
}

/* --- The disk ---------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static double percentile_ms(const int64_t *sorted, int64_t count, double percent)
{
	int64_t at = (int64_t)((double)count * percent / 100);
	return count == 0 ? -1 : (double)sorted[at < count ? at : count - 1] / 1e3;
}

static void sync_often(int64_t *us)
{
	char path[4096], block[SYNC_SIZE] = "tidemark";
	snprintf(path, sizeof path, "%s/synced", options.dir);
	int file = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666);
	for (int i = 0; i < SYNCS; i++) {
		int64_t begun_us = tide_clock_mono_us();
		if (file < 0 || write(file, block, sizeof block) != SYNC_SIZE ||
		    fdatasync(file) != 0)
			die("%s: %s", path, strerror(errno));
		us[i] = tide_clock_mono_us() - begun_us;
	}
	close(file);
	unlink(path);
}

/* --- The whole --------------------------------------------------------------- */

static void start_job(void)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) != 0 || (job = fork()) < 0)
		die("%s: %s", options.command[0], strerror(errno));
	if (job == 0) {
		dup2(fds[1], 1);
		execvp(options.command[0], options.command);
		die("%s: %s", options.command[0], strerror(errno));
	}
	close(fds[1]);
	job_out = fds[0];
}

/* By itself, and it stays to be waited for. */
static bool job_ended(void)
{
	siginfo_t info = { 0 };
	return job > 0 && waitid(P_PID, (id_t)job, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == job;
}

static void wait_for_all(rd_kafka_t *rk)
{
	int64_t until_us = tide_clock_mono_us() + (int64_t)LAST_MS * 1000;
	if (rd_kafka_flush(rk, REQUEST_MS) != 0)
		die("not all could be written");
	while (atomic_load(&arrived) < records && tide_clock_mono_us() < until_us && !job_ended())
		usleep(1000);
}

static int end_job(void)
{
	int status = 0;
	if (job < 0)
		return 0;
	kill(job, SIGTERM);
	if (waitpid(job, &status, 0) != job)
		die("waiting: %s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void print(double cpu, const int64_t *syncs, int64_t sync_count, int status)
{
	int64_t count = 0, twice = 0, never = 0;
	for (int64_t i = 0; i < records; i++) {
		twice += came[i] > 1;
		never += came[i] == 0;
		if (i >= warm_records && came[i] > 0)
			took_us[count++] = took_us[i];
	}
	qsort(took_us, (size_t)count, sizeof *took_us, by_size);
	printf("{\"rate\":%.0f,\"records\":%lld,\"exit\":%d,\"twice\":%lld,\"never\":%lld,"
	       "\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"p999_ms\":%.2f,\"max_ms\":%.2f,"
	       "\"cpu_percent\":%.2f,\"sync_p50_ms\":%.3f,\"sync_p99_ms\":%.3f}\n",
	       options.rate, (long long)count, status, (long long)twice, (long long)never,
	       percentile_ms(took_us, count, 50), percentile_ms(took_us, count, 99),
	       percentile_ms(took_us, count, 99.9), percentile_ms(took_us, count, 100), cpu,
	       percentile_ms(syncs, sync_count, 50), percentile_ms(syncs, sync_count, 99));
}

static void parse(int argc, char **argv)
{
	int opt;
	while ((opt = getopt(argc, argv, "+b:r:s:w:o:d:")) != -1) {
		double number = optarg != NULL ? strtod(optarg, NULL) : 0;
		switch (opt) {
		case 'b': options.brokers = optarg; break;
		case 'r': options.rate = number; break;
		case 's': options.seconds = number; break;
		case 'w': options.warm = number; break;
		case 'o': options.out = optarg; break;
		case 'd': options.dir = optarg; break;
		default: die("see the top of its source");
		}
	}
	if (optind >= argc || options.rate <= 0 || options.seconds <= 0)
		die("which topic, how many a second and how long?");
	options.topic = argv[optind++];
	if (optind < argc && strcmp(argv[optind], "--") == 0)
		optind++;
	options.command = optind < argc ? argv + optind : NULL;
	if (options.command == NULL && options.out == NULL)
		die("neither a command nor a topic to read from");
	warm_records = (int64_t)(options.warm * options.rate);
	records = warm_records + (int64_t)(options.seconds * options.rate);
}

int main(int argc, char **argv)
{
	static const char *const settings[][2] = { { "linger.ms", "1" }, { NULL, NULL } };
	static int64_t syncs[2 * SYNCS];
	pthread_t reader;
	parse(argc, argv);
	sent_us = calloc((size_t)records, sizeof *sent_us);
	took_us = calloc((size_t)records, sizeof *took_us);
	came = calloc((size_t)records, 1);
	if (sent_us == NULL || took_us == NULL || came == NULL)
		die("no memory");
	if (options.dir != NULL)
		sync_often(syncs);
	rd_kafka_t *consumer = options.out != NULL ? open_reader() : NULL;
	if (options.command != NULL)
		start_job();
	if (pthread_create(&reader, NULL, consumer != NULL ? read_topic : read_lines, consumer) !=
	    0)
		die("no thread");
	rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, settings);
	double cpu = send_all(rk);
	wait_for_all(rk);
	int status = end_job();
	atomic_store(&over, true);
	pthread_join(reader, NULL);
	if (options.dir != NULL)
		sync_often(syncs + SYNCS);
	qsort(syncs, 2 * SYNCS, sizeof *syncs, by_size);
	print(cpu, syncs, options.dir != NULL ? 2 * SYNCS : 0, status);
	rd_kafka_destroy(rk);
	if (consumer != NULL)
		rd_kafka_destroy_flags(consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return 0;
}
