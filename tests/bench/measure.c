/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a command and says what it took, as one JSON object on stdout.
 *
 *   measure [-o FILE] [-f] COMMAND…
 *
 * -o: the command's stdout goes to FILE (else it is dropped). -f: the command
 * is ended with SIGTERM once it has printed its first bytes. Its stderr stays. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
	exit(1);
}

static pid_t start(char **command, int out)
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		dup2(out, 1);
		execvp(command[0], command);
		die(command[0]);
	}
	close(out);
	return pid;
}

/* Until the command closes its stdout. */
static double copy_output(int in, int file, pid_t pid, bool only_first)
{
	char bytes[65536];
	double first = 0;
	ssize_t n;
	while ((n = read(in, bytes, sizeof bytes)) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0 && first == 0) {
			first = now();
			if (only_first)
				kill(pid, SIGTERM);
		}
		if (n > 0 && file >= 0 && write(file, bytes, (size_t)n) != n)
			die("writing");
	}
	return first;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	int opt, file = -1, status, fds[2];
	bool only_first = false;
	while ((opt = getopt(argc, argv, "+o:f")) != -1) {
		if (opt == 'f')
			only_first = true;
		else if (opt == 'o' &&
		         (file = open(optarg, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666)) < 0)
			die(optarg);
	}
	if (optind == argc || pipe2(fds, O_CLOEXEC) != 0)
		die("usage: measure [-o FILE] [-f] COMMAND…");
	double began = now();
	pid_t pid = start(argv + optind, fds[1]);
	double first = copy_output(fds[0], file, pid, only_first);
	struct rusage used;
	if (wait4(pid, &status, 0, &used) != pid)
		die("wait");
	printf("{\"exit\":%d,\"wall_s\":%.4f,\"cpu_s\":%.3f,\"rss_mb\":%.1f,\"first_s\":%.4f}\n",
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), now() - began,
	       seconds(used.ru_utime) + seconds(used.ru_stime), (double)used.ru_maxrss / 1024,
	       first > 0 ? first - began : -1.0);
	return 0;
}
