/* Records how much of each file is on the disk after fsync and fdatasync.
 *
 * Loaded into a server by LD_PRELOAD. After each successful call it appends the line
 * "<inode> <bytes>" to the file that FSYNC_LOG names. The size is taken before the
 * call, because only bytes written by then are certain to be on the disk.
 * FSYNC_DELAY_US makes each call slower by so many microseconds, as on a slow disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int recorded(const char *name, int fd) {
    int (*call)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat file;
    int is_known = fstat(fd, &file) == 0;
    const char *delay = getenv("FSYNC_DELAY_US");
    if (delay) usleep(atoi(delay));
    int result = call(fd);
    if (result == 0 && is_known) {
        char line[64];
        int length = snprintf(line, sizeof line, "%lu %lld\n", (unsigned long)file.st_ino, (long long)file.st_size);
        int log = open(getenv("FSYNC_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (log < 0 || write(log, line, length) != length) abort();
        close(log);
    }
    return result;
}

int fsync(int fd) { return recorded("fsync", fd); }
int fdatasync(int fd) { return recorded("fdatasync", fd); }
