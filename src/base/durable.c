/* SPDX-License-Identifier: Apache-2.0 */
/* Whole writes, and names of folders that outlive a loss of power. */
#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Those say that a name may be lost. A folder that cannot be synced at all (it
 * is on a read-only system of files) holds no name of ours. */
static bool is_loss(int error)
{
	return error == EIO || error == ENOSPC || error == EDQUOT;
}

int tide_durable_names(const char *dir, struct tide_error *err)
{
	struct stat st, up_st;
	int rc = TIDE_OK;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool more = fd >= 0 && fstat(fd, &st) == 0;
	while (more) {
		if (fsync(fd) != 0 && is_loss(errno)) {
			rc = tide_fail(err, TIDE_ERR_IO,
			               "%s, or a folder above it, cannot be synced: %s", dir,
			               strerror(errno));
			break;
		}
		int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		more = up >= 0 && fstat(up, &up_st) == 0 && up_st.st_dev == st.st_dev &&
		       up_st.st_ino != st.st_ino;
		close(fd);
		fd = up;
		st = more ? up_st : st;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

bool tide_write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = ENOSPC;
		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}
