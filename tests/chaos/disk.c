/* A disk that fails as told, for one process: an LD_PRELOAD library between it and the kernel.
 *
 * It watches the files whose names begin with `history.sqlite` under the folder DISK_DATA (SQLite's own index of the log left out: it
 * is memory), and keeps in DISK_CONTROL/disk, by inode, what of them has reached the disk: the bytes that this process wrote and then
 * synced. What another process wrote and did not sync is lost. That is harsher than Linux, which writes it some time later.
 *
 * These files in DISK_CONTROL say what fails; each holds the end of the name of the file it is about:
 *   fail-sync  the next fsync of it fails with EIO, and is told to nobody again: the file is removed. The bytes stay readable and
 *              never reach the disk, as Linux has it: the pages count as written.
 *   hang       an fsync of it does not return while this file is there.
 *   full       no file under DISK_DATA grows.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RANGES_MAX 1000000

struct range { ino_t inode; off_t start; size_t length; };
static struct range unsynced[RANGES_MAX];
static size_t unsynced_count;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static void die(const char *what) {
    perror(what);
    abort();
}

static const char *folder_of(const char *name) {
    const char *folder = getenv(name);
    if (!folder) die(name);
    return folder;
}

static void control_path(char *path, const char *name) {
    snprintf(path, PATH_MAX, "%s/%s", folder_of("DISK_CONTROL"), name);
}

static void shadow_path(char *path, ino_t inode) {
    snprintf(path, PATH_MAX, "%s/disk/%lu", folder_of("DISK_CONTROL"), (unsigned long)inode);
}

static int is_ours(const char *path) {
    const char *data = folder_of("DISK_DATA");
    return strncmp(path, data, strlen(data)) == 0 && path[strlen(data)] == '/';
}

static int is_watched(const char *path) {
    const char *name = strrchr(path, '/');
    return is_ours(path) && name && strncmp(name + 1, "history.sqlite", 14) == 0 && !strstr(name, "-shm");
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static ino_t inode_of(int fd) {
    struct stat about;
    if (fstat(fd, &about)) die("fstat");
    return about.st_ino;
}

/* Whether this fault is wanted for this file. */
static int wanted(const char *fault, const char *path) {
    char control[PATH_MAX], suffix[PATH_MAX];
    control_path(control, fault);
    int fd = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, suffix, sizeof suffix - 1);
    close(fd);
    if (length < 0) return 0;
    suffix[length] = 0;
    size_t whole = strlen(path);
    return whole >= (size_t)length && strcmp(path + whole - length, suffix) == 0;
}

static void forget(ino_t inode) {
    size_t kept = 0;
    for (size_t i = 0; i < unsynced_count; i++)
        if (unsynced[i].inode != inode) unsynced[kept++] = unsynced[i];
    unsynced_count = kept;
}

static void wrote(int fd, off_t start, ssize_t length) {
    char path[PATH_MAX];
    if (length <= 0 || !path_of(fd, path) || !is_watched(path)) return;
    pthread_mutex_lock(&guard);
    if (unsynced_count == RANGES_MAX) die("too much is written between two fsyncs");
    unsynced[unsynced_count++] = (struct range){inode_of(fd), start, (size_t)length};
    pthread_mutex_unlock(&guard);
}

/* What was written since the last fsync reaches the disk. */
static void reach(int fd) {
    char name[PATH_MAX];
    struct stat about;
    if (fstat(fd, &about)) die("fstat");
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int from = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC);
    shadow_path(name, about.st_ino);
    int to = syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0) die("cannot keep what is on disk");
    for (size_t i = 0; i < unsynced_count; i++) {
        struct range range = unsynced[i];
        if (range.inode != about.st_ino || range.start >= about.st_size) continue;
        char *bytes = malloc(range.length);
        ssize_t length = syscall(SYS_pread64, from, bytes, range.length, range.start);
        if (length < 0 || syscall(SYS_pwrite64, to, bytes, length, range.start) != length) die("cannot keep what is on disk");
        free(bytes);
    }
    if (syscall(SYS_ftruncate, to, about.st_size)) die("ftruncate");
    close(from);
    close(to);
    forget(about.st_ino);
}

static int sync_file(int fd, long number) {
    char path[PATH_MAX];
    if (!path_of(fd, path) || !is_watched(path)) return syscall(number, fd);
    while (wanted("hang", path)) usleep(10000);
    pthread_mutex_lock(&guard);
    int result = 0;
    if (wanted("fail-sync", path)) {
        char control[PATH_MAX];
        control_path(control, "fail-sync");
        syscall(SYS_unlinkat, AT_FDCWD, control, 0);
        forget(inode_of(fd));
        errno = EIO;
        result = -1;
    } else {
        reach(fd);
    }
    pthread_mutex_unlock(&guard);
    return result;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

/* Whether there is no room for this write. */
static int no_room(int fd, off_t start, size_t length) {
    char path[PATH_MAX], control[PATH_MAX];
    struct stat about;
    control_path(control, "full");
    if (syscall(SYS_faccessat, AT_FDCWD, control, F_OK) || !path_of(fd, path) || !is_ours(path)) return 0;
    if (fstat(fd, &about) || start + (off_t)length <= about.st_size) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    off_t start = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    if (start >= 0 && no_room(fd, start, length)) return -1;
    ssize_t written = syscall(SYS_write, fd, bytes, length);
    int error = errno;
    if (start >= 0) wrote(fd, start, written);
    errno = error;
    return written;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t start) {
    if (no_room(fd, start, length)) return -1;
    ssize_t written = syscall(SYS_pwrite64, fd, bytes, length, start);
    int error = errno;
    wrote(fd, start, written);
    errno = error;
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t start) { return pwrite64(fd, bytes, length, start); }

/* An inode that has no name left may be given to the next file. */
static void nameless(const char *path) {
    struct stat about;
    char shadow[PATH_MAX];
    if (!is_watched(path) || stat(path, &about)) return;
    pthread_mutex_lock(&guard);
    forget(about.st_ino);
    shadow_path(shadow, about.st_ino);
    syscall(SYS_unlinkat, AT_FDCWD, shadow, 0);
    pthread_mutex_unlock(&guard);
}

int unlink(const char *path) {
    nameless(path);
    return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rename(const char *from, const char *to) {
    nameless(to);
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
