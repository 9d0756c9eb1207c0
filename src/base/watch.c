/* SPDX-License-Identifier: Apache-2.0 */
/* See watch.h. Folders are watched, never files: a file that is replaced takes
 * its watch with it. Each path is walked as the kernel would, and in every
 * folder where that meets a symbolic link, and in the last one, one name is of
 * interest. An event on such a name, or a file that is another than it was,
 * makes the watch busy; it says so once that is over. */
#include "base/watch.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
	LINKS_MAX = 40,
	QUIET_US = 15 * 1000,    /* after a file was closed or renamed */
	WRITING_US = 250 * 1000, /* while somebody has it open and may write on */
	GONE_US = 500 * 1000,    /* while it is not there */
	LOOK_US = 500 * 1000     /* between looks without an event */
};

static const uint32_t interest = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_CREATE | IN_DELETE |
                                 IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
                                 IN_ONLYDIR;

/* Which file a path led to, and what it was like. */
struct stamp {
	bool there;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec modified;
};

struct file {
	char *path;
	struct stamp stamp;
	bool known; /* has been watched before */
};

/* A name that means something in a folder. */
struct spot {
	int wd;
	bool file; /* the file itself, and no link or folder on the way to it */
	char name[NAME_MAX + 1];
};

struct tide_watch {
	int fd;
	struct file *files;
	int file_count;
	struct spot *spots;
	int spot_count;
	bool busy;
	bool hit;        /* a file was written: it need not look different */
	bool lost;       /* folders are no longer what they were */
	int64_t busy_us; /* when the newest event came */
	int64_t quiet_us;
	int64_t looked_us;
	struct timespec since; /* files that are new to us and younger were saved */
};

/* --- what a file is like ----------------------------------------------------------- */

static bool stamp_take(const char *path, struct stamp *stamp, struct timespec *changed)
{
	struct stat info;
	*stamp = (struct stamp){ 0 };
	if (stat(path, &info) != 0)
		return false;
	*stamp = (struct stamp){ true, info.st_dev, info.st_ino, info.st_size, info.st_mtim };
	if (changed != NULL)
		*changed = info.st_ctim;
	return true;
}

static bool stamp_same(const struct stamp *a, const struct stamp *b)
{
	return a->there == b->there && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->modified.tv_sec == b->modified.tv_sec &&
	       a->modified.tv_nsec == b->modified.tv_nsec;
}

static bool not_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec >= b->tv_nsec);
}

/* The clock that files' times come from. */
static struct timespec file_time(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return now;
}

/* --- where its path leads ------------------------------------------------------------ */

static int spot_add(struct tide_watch *watch, const char *folder, const char *name, bool file)
{
	int wd = inotify_add_watch(watch->fd, folder, interest);
	if (wd < 0) /* gone, closed to us, or one too many for this user: we look */
		return 0;
	for (int i = 0; i < watch->spot_count; i++) {
		struct spot *spot = &watch->spots[i];
		if (spot->wd == wd && strcmp(spot->name, name) == 0) {
			spot->file = spot->file || file;
			return 0;
		}
	}
	struct spot *spots = realloc(watch->spots, ((size_t)watch->spot_count + 1) * sizeof *spots);
	if (spots == NULL)
		return -1;
	watch->spots = spots;
	struct spot *spot = &spots[watch->spot_count++];
	spot->wd = wd;
	spot->file = file;
	strncpy(spot->name, name, NAME_MAX);
	spot->name[NAME_MAX] = '\0';
	return 0;
}

/* The folder and the name at the front of *rest, which moves behind it. */
static void next_name(const char **rest, char name[NAME_MAX + 1])
{
	size_t len = strcspn(*rest, "/");
	size_t kept = len <= NAME_MAX ? len : NAME_MAX;
	memcpy(name, *rest, kept);
	name[kept] = '\0';
	*rest += len;
	*rest += strspn(*rest, "/");
}

static bool join(char folder[PATH_MAX], const char *name)
{
	size_t len = strlen(folder), more = strlen(name);
	if (len + more + 2 > PATH_MAX)
		return false;
	if (len > 0 && folder[len - 1] != '/')
		folder[len++] = '/';
	memcpy(folder + len, name, more + 1);
	return true;
}

/* A link's text takes the place of the name that was it. */
static bool follow(const char *link, const char *rest, char path[PATH_MAX], bool *absolute)
{
	char text[PATH_MAX];
	ssize_t len = readlink(link, text, sizeof text - 1);
	if (len <= 0 || (size_t)len + strlen(rest) + 2 > PATH_MAX)
		return false;
	text[len] = '\0';
	if (*rest != '\0') {
		text[len++] = '/';
		memcpy(text + len, rest, strlen(rest) + 1);
	}
	*absolute = text[0] == '/';
	memcpy(path, text, strlen(text) + 1);
	return true;
}

/* Notes every folder where `given` meets a link, and that of the file itself, or
 * of the first name that is not there. */
static int walk(struct tide_watch *watch, const char *given)
{
	char path[PATH_MAX], folder[PATH_MAX], name[NAME_MAX + 1];
	if (strlen(given) >= sizeof path)
		return 0;
	memcpy(path, given, strlen(given) + 1);
	strcpy(folder, path[0] == '/' ? "/" : ".");
	const char *rest = path + strspn(path, "/");
	for (int links = 0; *rest != '\0';) {
		char here[PATH_MAX];
		struct stat info;
		bool absolute = false;
		next_name(&rest, name);
		memcpy(here, folder, sizeof here);
		if (!join(here, name))
			return 0;
		bool there = lstat(here, &info) == 0;
		bool link = there && S_ISLNK(info.st_mode);
		bool last = *rest == '\0' && !link;
		if ((!there || link || last) && spot_add(watch, folder, name, last) != 0)
			return -1;
		if (!there)
			return 0;
		if (!link) {
			memcpy(folder, here, sizeof folder);
			continue;
		}
		if (++links > LINKS_MAX || !follow(here, rest, path, &absolute))
			return 0;
		if (absolute)
			strcpy(folder, "/");
		rest = path + strspn(path, "/");
	}
	return 0;
}

static bool watched(const struct spot *spots, int count, int wd)
{
	for (int i = 0; i < count; i++)
		if (spots[i].wd == wd)
			return true;
	return false;
}

/* Walks all paths anew. Folders that are still of interest keep their watch:
 * the kernel gives the same number for the same folder. */
static int rewalk(struct tide_watch *watch)
{
	struct spot *old = watch->spots;
	int old_count = watch->spot_count, rc = 0;
	watch->spots = NULL;
	watch->spot_count = 0;
	watch->lost = false;
	for (int i = 0; rc == 0 && i < watch->file_count; i++)
		rc = walk(watch, watch->files[i].path);
	for (int i = 0; i < old_count; i++)
		if (!watched(watch->spots, watch->spot_count, old[i].wd))
			inotify_rm_watch(watch->fd, old[i].wd); /* a second time: an error */
	free(old);
	return rc;
}

/* --- events ---------------------------------------------------------------------- */

static void stir(struct tide_watch *watch, int64_t quiet_us)
{
	watch->busy = true;
	watch->busy_us = tide_clock_mono_us();
	watch->quiet_us = quiet_us;
}

static const struct spot *spot_of(const struct tide_watch *watch, const struct inotify_event *event)
{
	for (int i = 0; event->len > 0 && i < watch->spot_count; i++)
		if (watch->spots[i].wd == event->wd &&
		    strcmp(watch->spots[i].name, event->name) == 0)
			return &watch->spots[i];
	return NULL;
}

static void take_file(struct tide_watch *watch, uint32_t mask)
{
	if (mask & (IN_MODIFY | IN_CREATE | IN_MOVED_TO)) {
		watch->hit = true;
		/* What was moved here is whole; what was made or written may go on. */
		stir(watch, mask & IN_MOVED_TO ? QUIET_US : WRITING_US);
	} else if (watch->busy && (mask & IN_CLOSE_WRITE)) {
		stir(watch, QUIET_US);
	} else { /* touched, gone, closed unwritten: is it another? */
		watch->looked_us = 0;
	}
}

static void take(struct tide_watch *watch, const struct inotify_event *event)
{
	bool overflow = (event->mask & IN_Q_OVERFLOW) != 0;
	/* Events of watches that were removed may still be on their way. */
	if (!overflow && !watched(watch->spots, watch->spot_count, event->wd))
		return;
	const struct spot *spot = spot_of(watch, event);
	if (spot == NULL && (overflow || event->len == 0)) {
		if (overflow || (event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)))
			watch->lost = true;
		return;
	}
	if (spot == NULL)
		return;
	if (event->mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
		watch->lost = true;
	if (spot->file)
		take_file(watch, event->mask);
	else if (watch->busy)
		stir(watch, QUIET_US);
}

static void drain(struct tide_watch *watch)
{
	_Alignas(struct inotify_event) char bytes[8192];
	ssize_t len;
	while ((len = read(watch->fd, bytes, sizeof bytes)) > 0) {
		const char *at = bytes;
		while (at < bytes + len) {
			const struct inotify_event *event = (const void *)at;
			take(watch, event);
			at += sizeof *event + event->len;
		}
	}
}

/* Files that are others than they were, or no longer there. */
static void look(struct tide_watch *watch, int64_t now)
{
	watch->looked_us = now;
	for (int i = 0; i < watch->file_count; i++) {
		struct stamp stamp;
		stamp_take(watch->files[i].path, &stamp, NULL);
		if (!watch->busy && !stamp_same(&stamp, &watch->files[i].stamp))
			stir(watch, QUIET_US);
	}
}

/* Is what stirred over, and was it a save? How things are then is what later
 * looks compare with. */
static bool settled(struct tide_watch *watch, int64_t now)
{
	bool gone = false, other = watch->hit;
	for (int i = 0; i < watch->file_count; i++) {
		struct stamp stamp;
		stamp_take(watch->files[i].path, &stamp, NULL);
		gone = gone || (!stamp.there && watch->files[i].stamp.there);
		other = other || !stamp_same(&stamp, &watch->files[i].stamp);
	}
	int64_t quiet_us = gone ? GONE_US : watch->quiet_us;
	if (now - watch->busy_us < quiet_us)
		return false;
	for (int i = 0; i < watch->file_count; i++)
		stamp_take(watch->files[i].path, &watch->files[i].stamp, NULL);
	watch->busy = watch->hit = false;
	if (other)
		watch->since = file_time();
	return other;
}

static bool saved(struct tide_watch *watch)
{
	drain(watch);
	int64_t now = tide_clock_mono_us();
	if (watch->lost) {
		rewalk(watch); /* what it cannot watch, it looks at */
		watch->looked_us = 0;
	}
	if (!watch->busy && (watch->looked_us == 0 || now - watch->looked_us >= LOOK_US))
		look(watch, now);
	return watch->busy && settled(watch, now);
}

/* --- life ------------------------------------------------------------------------ */

static void files_free(struct file *files, int count)
{
	for (int i = 0; i < count; i++)
		free(files[i].path);
	free(files);
}

static const struct file *file_find(const struct file *files, int count, const char *path)
{
	for (int i = 0; i < count; i++)
		if (strcmp(files[i].path, path) == 0)
			return &files[i];
	return NULL;
}

/* The same with what is known of those that we have. */
static struct file *files_of(const struct tide_watch *watch, const char *const *paths, int count)
{
	struct file *files = calloc((size_t)count + 1, sizeof *files);
	for (int i = 0; files != NULL && i < count; i++) {
		const struct file *old = file_find(watch->files, watch->file_count, paths[i]);
		files[i].known = old != NULL;
		if (old != NULL)
			files[i].stamp = old->stamp;
		files[i].path = strdup(paths[i]);
		if (files[i].path == NULL) {
			files_free(files, count);
			return NULL;
		}
	}
	return files;
}

int tide_watch_set(struct tide_watch *watch, const char *const *paths, int count,
                   struct tide_error *err)
{
	assert(count >= 0);
	struct file *files = files_of(watch, paths, count);
	if (files == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to watch files");
	files_free(watch->files, watch->file_count);
	watch->files = files;
	watch->file_count = count;
	int rc = rewalk(watch);
	for (int i = 0; i < count; i++) {
		struct timespec changed;
		if (!files[i].known && stamp_take(files[i].path, &files[i].stamp, &changed) &&
		    not_before(&changed, &watch->since)) {
			watch->hit = true;
			stir(watch, QUIET_US);
		}
	}
	return rc == 0 ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory to watch files");
}

int tide_watch_new(const char *const *paths, int count, struct tide_watch **out,
                   struct tide_error *err)
{
	struct tide_watch *watch = calloc(1, sizeof *watch);
	if (watch == NULL)
		return tide_fail(err, TIDE_ERR_NOMEM, "no memory to watch files");
	/* Without one (there is a limit for each user) we look. */
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	watch->looked_us = tide_clock_mono_us();
	/* Whatever these files are now, it has yet to be read. */
	watch->since = (struct timespec){ .tv_sec = INT64_MAX };
	int rc = tide_watch_set(watch, paths, count, err);
	watch->since = file_time();
	if (rc != TIDE_OK) {
		tide_watch_free(watch);
		return rc;
	}
	*out = watch;
	return TIDE_OK;
}

void tide_watch_free(struct tide_watch *watch)
{
	if (watch == NULL)
		return;
	if (watch->fd >= 0)
		close(watch->fd);
	files_free(watch->files, watch->file_count);
	free(watch->spots);
	free(watch);
}

/* Until when nothing can become true without an event. */
static int64_t next_us(const struct tide_watch *watch)
{
	return watch->busy ? watch->busy_us + watch->quiet_us : watch->looked_us + LOOK_US;
}

bool tide_watch_wait(struct tide_watch *watch, int timeout_ms)
{
	assert(timeout_ms >= 0);
	int64_t deadline = tide_clock_mono_us() + (int64_t)timeout_ms * 1000;
	for (;;) {
		if (saved(watch))
			return true;
		int64_t now = tide_clock_mono_us();
		if (now >= deadline)
			return false;
		int64_t left = next_us(watch) < deadline ? next_us(watch) - now : deadline - now;
		struct pollfd poll_fd = { .fd = watch->fd, .events = POLLIN };
		/* A file that is gone is waited for longer than quiet_us says. */
		int wait_ms = left < 5000 ? 5 : (int)((left + 999) / 1000);
		if (poll(&poll_fd, 1, wait_ms) < 0)
			return false;
	}
}

int tide_watch_fd(const struct tide_watch *watch)
{
	return watch->fd;
}

bool tide_watch_busy(const struct tide_watch *watch)
{
	return watch->busy || watch->lost;
}
