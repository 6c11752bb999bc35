/* Preloaded into a process: file operations fail, or hang, as a file of rules says at that moment. A line each:
 *
 *   OPERATION PART ERRNO      operations of this name on paths with this part fail so; 0: they hang while the line stands
 *
 * RINGMW_TEST_FAULTS is the file's path; what was refused or held is added to that path with ".log".
 * Operations: create open opendir read write sync rename link truncate lock. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Past our own functions. */
static long slurp(const char *path, char *out, size_t size) {
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	long got = syscall(SYS_read, fd, out, size - 1);
	syscall(SYS_close, fd);
	out[got < 0 ? 0 : got] = 0;
	return got;
}

static void note(const char *rules, const char *what, const char *operation, const char *path) {
	char name[PATH_MAX + 8], line[PATH_MAX + 64];
	snprintf(name, sizeof name, "%s.log", rules);
	int length = snprintf(line, sizeof line, "%s %s %s\n", what, operation, path);
	long fd = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	syscall(SYS_write, fd, line, length);
	syscall(SYS_close, fd);
}

/* The errno that an operation fails with, 0 for none. */
static int fault(const char *operation, const char *path) {
	const char *rules = getenv("RINGMW_TEST_FAULTS");
	int held = 0, before = errno;
	while (rules) {
		char text[4096], *line, *rest = text;
		int holds = 0;
		if (slurp(rules, text, sizeof text) <= 0)
			break;
		while ((line = strsep(&rest, "\n"))) {
			char name[32], part[512];
			int number;
			if (sscanf(line, "%31s %511s %d", name, part, &number) != 3)
				continue;
			if (strcmp(name, operation) || !strstr(path, part))
				continue;
			if (number) {
				note(rules, "refused", operation, path);
				return number;
			}
			holds = 1;
		}
		if (!holds)
			break;
		if (!held++)
			note(rules, "held", operation, path);
		struct timespec pause = {0, 5000000};
		nanosleep(&pause, 0);
	}
	if (held)
		note(rules, "released", operation, path);
	errno = before;
	return 0;
}

static int fault_fd(const char *operation, int fd) {
	char link[64], path[PATH_MAX];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return fault(operation, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REFUSE(number) do { int refused = (number); if (refused) { errno = refused; return -1; } } while (0)

#define OPEN(name) \
	int name(const char *path, int flags, ...) { \
		va_list more; \
		va_start(more, flags); \
		int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0; \
		va_end(more); \
		REFUSE(fault(flags & O_CREAT ? "create" : "open", path)); \
		return REAL(name)(path, flags, mode); \
	}
OPEN(open)
OPEN(open64)

DIR *opendir(const char *path) {
	int refused = fault("opendir", path);
	if (refused) {
		errno = refused;
		return 0;
	}
	return REAL(opendir)(path);
}

#define ON_FD(result, name, operation, parameters, ...) \
	result name parameters { \
		REFUSE(fault_fd(operation, fd)); \
		return REAL(name)(__VA_ARGS__); \
	}
ON_FD(ssize_t, read, "read", (int fd, void *to, size_t size), fd, to, size)
ON_FD(ssize_t, pread64, "read", (int fd, void *to, size_t size, off64_t at), fd, to, size, at)
ON_FD(ssize_t, write, "write", (int fd, const void *from, size_t size), fd, from, size)
ON_FD(ssize_t, pwrite64, "write", (int fd, const void *from, size_t size, off64_t at), fd, from, size, at)
ON_FD(int, fsync, "sync", (int fd), fd)
ON_FD(int, fdatasync, "sync", (int fd), fd)
ON_FD(int, ftruncate64, "truncate", (int fd, off64_t at), fd, at)
ON_FD(int, flock, "lock", (int fd, int how), fd, how)
ON_FD(int, lockf64, "lock", (int fd, int how, off64_t size), fd, how, size)

#define ON_PATHS(name, operation, parameters, path, ...) \
	int name parameters { \
		REFUSE(fault(operation, path)); \
		return REAL(name)(__VA_ARGS__); \
	}
ON_PATHS(rename, "rename", (const char *from, const char *to), to, from, to)
ON_PATHS(link, "link", (const char *from, const char *to), to, from, to)
ON_PATHS(linkat, "link", (int a, const char *from, int b, const char *to, int flags), to, a, from, b, to, flags)

static int is_lock(int what) {
	return what == F_SETLK || what == F_SETLKW || what == F_OFD_SETLK || what == F_OFD_SETLKW;
}

#define FCNTL(name) \
	int name(int fd, int what, ...) { \
		va_list more; \
		va_start(more, what); \
		void *argument = va_arg(more, void *); \
		va_end(more); \
		REFUSE(is_lock(what) ? fault_fd("lock", fd) : 0); \
		return REAL(name)(fd, what, argument); \
	}
FCNTL(fcntl)
FCNTL(fcntl64)
