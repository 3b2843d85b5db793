/* LD_PRELOAD: a PostgreSQL whose data files cannot grow while the first byte of a file is set, as on a full disk; its WAL has room. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile char *is_full;

__attribute__((constructor)) static void open_switch(void) {
  const char *path = getenv("SERVER_DISK_FILE");
  int file = path ? open(path, O_RDONLY) : -1;
  void *page = file < 0 ? MAP_FAILED : mmap(0, 1, PROT_READ, MAP_SHARED, file, 0);
  if (page != MAP_FAILED) is_full = page;
}

static int has_no_room(int file, off_t end) {
  char link[64], path[4096];
  struct stat status;
  if (!is_full || !*is_full) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  if (!strstr(path, "/base/") || fstat(file, &status) != 0 || end <= status.st_size) return 0;
  errno = ENOSPC;
  return 1;
}

ssize_t pwrite(int file, const void *from, size_t size, off_t at) {
  static __typeof__(&pwrite) real;
  if (!real) real = (__typeof__(&pwrite))dlsym(RTLD_NEXT, "pwrite");
  return has_no_room(file, at + (off_t)size) ? -1 : real(file, from, size, at);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) {
  static __typeof__(&pwritev) real;
  if (!real) real = (__typeof__(&pwritev))dlsym(RTLD_NEXT, "pwritev");
  off_t end = at;
  for (int n = 0; n < count; n++) end += parts[n].iov_len;
  return has_no_room(file, end) ? -1 : real(file, parts, count, at);
}

int posix_fallocate(int file, off_t at, off_t size) {
  static __typeof__(&posix_fallocate) real;
  if (!real) real = (__typeof__(&posix_fallocate))dlsym(RTLD_NEXT, "posix_fallocate");
  return has_no_room(file, at + size) ? ENOSPC : real(file, at, size);
}
