/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Scenarios of file_guest.c: files, names, directories, mappings.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "file_notes.h"

static unsigned char page[4096];

void
regular(void)
{
	char buf[64];
	struct iovec v[3] = { { buf, 3 }, { buf + 10, 0 }, { buf + 20, 4 } };
	struct stat st;
	int fd, fd2, n;

	fd = (int)T(open("hello", O_RDONLY));
	TEXT(buf, T(read(fd, buf, 5)));
	T(lseek(fd, 0, SEEK_CUR));
	TEXT(buf, T(pread(fd, buf, 4, 1)));
	T(lseek(fd, 0, SEEK_CUR));
	T(lseek(fd, -3, SEEK_END));
	TEXT(buf, T(read(fd, buf, 64)));
	T(read(fd, buf, 64));
	T(lseek(fd, -100, SEEK_CUR));
	T(lseek(fd, 0, 77));
	T(lseek(fd, 1000, SEEK_SET));
	T(read(fd, buf, 64));
	T(pread(fd, buf, 1, -1));
	T(lseek(fd, 0, SEEK_SET));
	memset(buf, 0, sizeof buf);
	T(readv(fd, v, 3));
	TEXT(buf, 64);
	T(preadv(fd, v, 3, 2));
	TEXT(buf, 64);
	T(readv(fd, v, -1));
	T(write(fd, "x", 1));
	T(ftruncate(fd, 0));
	T(fstat(fd, &st));
	T(st.st_size);
	T(st.st_mode & S_IFMT);
	T(read(fd, (void *)8, 1));
	T(ioctl(fd, FIONREAD, &n));
	T(n);
	T(ioctl(fd, TIOCGWINSZ, buf));
	T(close(fd));
	T(close(fd));
	T(read(fd, buf, 1));
	T(open("hello", O_RDONLY | O_DIRECTORY));
	T(open("none", O_RDONLY));
	T(open("hello/x", O_RDONLY));
	T(open("", O_RDONLY));
	T(open((char *)8, O_RDONLY));

	fd = (int)T(open("new", O_RDWR | O_CREAT | O_EXCL, 0600));
	T(open("new", O_RDWR | O_CREAT | O_EXCL, 0600));
	T(write(fd, "0123456789", 10));
	T(pwrite(fd, "ab", 2, 4));
	T(lseek(fd, 0, SEEK_CUR));
	T(pread(fd, buf, 10, 0));
	TEXT(buf, 10);
	fd2 = (int)T(open("new", O_WRONLY | O_APPEND));
	T(write(fd2, "xyz", 3));
	T(lseek(fd2, 0, SEEK_CUR));
	T(lseek(fd2, 0, SEEK_SET));
	T(write(fd2, "!", 1));
	T(read(fd2, buf, 1));
	T(pread(fd, buf, 64, 0));
	TEXT(buf, 14);
	T(fcntl(fd2, F_GETFL) & (O_APPEND | O_ACCMODE));
	T(fcntl(fd2, F_SETFL, 0));
	T(lseek(fd2, 2, SEEK_SET));
	T(write(fd2, "__", 2));
	T(pread(fd, buf, 64, 0));
	TEXT(buf, 14);
	T(ftruncate(fd, 5));
	T(lseek(fd, 0, SEEK_END));
	T(ftruncate(fd, 8192));
	T(lseek(fd, 0, SEEK_END));
	T(ftruncate(fd, -1));
	T(fsync(fd));
	T(fdatasync(fd));
	T(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
	v[0].iov_base = "one";
	v[2].iov_base = "two!";
	T(lseek(fd, 0, SEEK_SET));
	T(writev(fd, v, 3));
	T(pwritev(fd, v, 3, 100));
	T(pread(fd, buf, 7, 0));
	TEXT(buf, 7);
	T(pread(fd, buf, 7, 100));
	TEXT(buf, 7);
	T(close(fd));
	T(close(fd2));
	fd = (int)T(open("new", O_RDWR | O_TRUNC));
	T(fstat(fd, &st));
	T(st.st_size);
	T(close(fd));
	T(unlink("new"));
	T(unlink("new"));
	T(access("new", F_OK));
}

void
names(void)
{
	char buf[300], deep[300];
	struct stat st;
	int fd, sub;

	T(stat("hello", &st));
	T(st.st_size);
	T(lstat("link", &st));
	T(st.st_mode & S_IFMT);
	T(st.st_size);
	T(stat("link", &st));
	T(st.st_mode & S_IFMT);
	T(stat("dangling", &st));
	T(lstat("dangling", &st));
	T(readlink("link", buf, sizeof buf));
	TEXT(buf, 5);
	T(readlink("link", buf, 2));
	T(readlink("hello", buf, sizeof buf));
	T(readlink("none", buf, sizeof buf));
	fd = (int)T(open("link", O_RDONLY));
	T(close(fd));
	T(open("link", O_RDONLY | O_NOFOLLOW));
	T(access("hello", R_OK));
	T(access("hello", 77));
	T(faccessat(AT_FDCWD, "sub", R_OK | X_OK, 0));

	T(mkdir("made", 0700));
	T(mkdir("made", 0700));
	T(mkdir("none/made", 0700));
	T(stat("made/", &st));
	T(stat("hello/", &st));
	T(rename("made", "moved"));
	T(rename("none", "other"));
	T(stat("made", &st));
	T(stat("moved", &st));
	T(st.st_mode & S_IFMT);
	T(unlink("moved"));
	T(rmdir("moved"));
	T(rmdir("moved"));
	T(rmdir("sub"));
	T(rmdir("hello"));

	sub = (int)T(open("sub", O_RDONLY | O_DIRECTORY));
	T(read(sub, buf, 1));
	T(write(sub, buf, 1));
	T(open("sub", O_RDWR));
	fd = (int)T(openat(sub, "a", O_RDONLY));
	TEXT(buf, T(read(fd, buf, sizeof buf)));
	T(close(fd));
	fd = (int)T(openat(sub, "../hello", O_RDONLY));
	T(openat(fd, "a", O_RDONLY));
	T(openat(77, "a", O_RDONLY));
	T(close(fd));
	T(fstatat(sub, "b", &st, 0));
	T(fstatat(sub, "", &st, AT_EMPTY_PATH));
	T(st.st_mode & S_IFMT);
	T(fstatat(sub, "", &st, 0));
	T(faccessat(sub, "none", F_OK, 0));
	T(mkdirat(sub, "x", 0755));
	T(renameat(sub, "x", AT_FDCWD, "y"));
	T(unlinkat(AT_FDCWD, "y", AT_REMOVEDIR));
	T(fchdir(sub));
	T(access("a", F_OK));
	T(access("../hello", F_OK));
	T(access("./.././sub//a", F_OK));
	T(chdir(".."));
	T(chdir("hello"));
	T(chdir("none"));
	T(close(sub));
	T(fchdir(sub));
	memset(deep, 'n', 256);
	deep[256] = '\0';
	T(open(deep, O_RDONLY));
	T(open("hello", O_RDONLY | O_CREAT | O_EXCL));
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{

	return (strcmp((*a)->d_name, (*b)->d_name));
}

void
directories(void)
{
	struct dirent **list, *e;
	char buf[64];
	long at;
	int i, n, fd;
	DIR *d;

	n = scandir("sub", &list, NULL, by_name);
	T(n);
	for (i = 0; i < n; i++) {
		TEXT(list[i]->d_name, (long)strlen(list[i]->d_name));
		T(list[i]->d_type);
	}
	d = opendir("many");
	T(d != NULL);
	for (i = 0, at = 0; (e = readdir(d)) != NULL; i++)
		if (i == 500)
			at = telldir(d);
	T(i);
	seekdir(d, at);
	for (i = 0; (e = readdir(d)) != NULL; i++)
		continue;
	T(i);
	rewinddir(d);
	for (i = 0; (e = readdir(d)) != NULL; i++)
		continue;
	T(i);
	closedir(d);
	fd = (int)T(open("hello", O_RDONLY));
	T(syscall(SYS_getdents64, fd, buf, sizeof buf));
	T(close(fd));
	fd = (int)T(open("sub", O_RDONLY));
	T(syscall(SYS_getdents64, fd, buf, 8));
	T(close(fd));
}

void
descriptors(void)
{
	int fd, fd2, i;
	char c[8];
	struct flock l;

	fd = (int)T(open("hello", O_RDONLY | O_CLOEXEC));
	T(fcntl(fd, F_GETFD));
	fd2 = (int)T(dup(fd));
	T(fcntl(fd2, F_GETFD));
	T(read(fd, c, 3));
	T(lseek(fd2, 0, SEEK_CUR));
	T(dup2(fd, 50));
	T(dup2(fd, fd));
	T(dup2(77, 77));
	T(dup2(77, 5));
	T(dup2(fd, -1));
	T(dup3(fd, fd, 0));
	T(dup3(fd, 51, O_CLOEXEC));
	T(fcntl(51, F_GETFD));
	T(dup3(fd, 51, 77));
	T(fcntl(fd, F_DUPFD, 60));
	T(fcntl(fd, F_DUPFD_CLOEXEC, 60));
	T(fcntl(61, F_GETFD));
	T(fcntl(fd, F_DUPFD, 100000));
	T(fcntl(61, F_SETFD, 0));
	T(fcntl(61, F_GETFD));
	T(ioctl(61, FIOCLEX));
	T(fcntl(61, F_GETFD));
	T(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
	i = 1;
	T(ioctl(fd, FIONBIO, &i));
	T(fcntl(fd2, F_GETFL) & O_NONBLOCK);
	T(fcntl(fd, 9999));
	T(fcntl(77, F_GETFD));
	T(close_range(60, 70, 0));
	T(fcntl(60, F_GETFD));
	T(close_range(70, 60, 0));
	T(close_range(50, ~0U, 0));
	T(fcntl(50, F_GETFD));
	T(fcntl(51, F_GETFD));
	memset(&l, 0, sizeof l);
	l.l_type = F_RDLCK;
	l.l_whence = SEEK_SET;
	l.l_len = 1;
	T(fcntl(fd, F_SETLK, &l));
	l.l_type = 77;
	T(fcntl(fd, F_SETLK, &l));
	l.l_type = F_WRLCK;
	T(fcntl(fd, F_GETLK, &l));
	T(l.l_type);
	/* From where the file is: beyond what an offset can say. */
	T(lseek(fd, 5, SEEK_SET));
	l.l_type = F_RDLCK;
	l.l_whence = SEEK_CUR;
	l.l_start = INT64_MAX - 5;
	T(fcntl(fd, F_SETLK, &l));
	l.l_start = INT64_MAX - 4;
	T(fcntl(fd, F_SETLK, &l));
	T(close(fd));
	T(close(fd2));
	T(umask(027));
	T(umask(022));
	T(lseek(1, 0, SEEK_CUR));
	T(close(-1));
	T(write(77, c, 1));
	T(isatty(1));
}

void
mappings(void)
{
	unsigned char *p, *q;
	int fd, i, w;

	fd = (int)T(open("pages", O_RDONLY));
	p = mmap(NULL, 12000, PROT_READ, MAP_PRIVATE, fd, 0);
	T(p != MAP_FAILED);
	TEXT(p, 12000);
	T(p[12287]);
	/* As ld.so does: parts of it again, elsewhere protected. */
	q = mmap(p + 4096, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_FIXED, fd, 8192);
	T(q == p + 4096);
	TEXT(q, 4096);
	q[5] = 200;
	T(q[5]);
	q = mmap(p + 8192, 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0);
	T(q == p + 8192);
	TEXT(q, 4096);
	T(mprotect(p + 4096, 4096, PROT_READ));
	T(munmap(p, 12288));
	q = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
	T(q != MAP_FAILED);
	TEXT(q, 4096);
	T(munmap(q, 4096));
	q = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE, fd, 4096);
	T(q != MAP_FAILED);
	T(mprotect(q, 4096, PROT_READ));
	TEXT(q, 4096);
	T(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 100) == MAP_FAILED ?
	    -errno : 0);
	T(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 77, 0) == MAP_FAILED ?
	    -errno : 0);
	T(mmap(NULL, 0, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ?
	    -errno : 0);
	T(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) ==
	    MAP_FAILED ? -errno : 0);
	/* The file is not written through a private mapping. */
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memset(p, 7, 4096);
	TEXT(page, T(pread(fd, page, 4096, 0)));
	T(close(fd));
	T(p[100]);
	w = (int)T(open("pages", O_WRONLY));
	T(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, w, 0) == MAP_FAILED ?
	    -errno : 0);
	T(close(w));
	fd = (int)T(open("sub", O_RDONLY));
	T(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ?
	    -errno : 0);
	T(close(fd));
	fd = (int)T(open("/dev/zero", O_RDWR));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	T(p != MAP_FAILED && p[77] == 0);
	p[77] = 1;
	T(close(fd));
	fd = (int)T(memfd_create("it", MFD_CLOEXEC));
	T(ftruncate(fd, 5000));
	T(pwrite(fd, "memory", 6, 4990));
	T(lseek(fd, 0, SEEK_END));
	p = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
	T(p != MAP_FAILED);
	for (i = 0; i < 5100; i += 10)
		TEXT(p + i, 10);
	T(close(fd));
}

void
made_up(void)
{
	char buf[4096];
	struct stat st;
	int fd;

	fd = (int)T(open("/dev/null", O_RDWR));
	T(read(fd, buf, 10));
	T(write(fd, buf, 10));
	T(fstat(fd, &st));
	T(st.st_rdev);
	T(st.st_mode & S_IFMT);
	T(lseek(fd, 5, SEEK_SET));
	T(close(fd));
	fd = (int)T(open("/dev/zero", O_RDWR));
	T(read(fd, buf, sizeof buf));
	T(buf[100]);
	T(write(fd, buf, 10));
	T(close(fd));
	fd = (int)T(open("/dev/full", O_RDWR));
	T(write(fd, buf, 10));
	T(close(fd));
	fd = (int)T(open("/dev/urandom", O_RDONLY));
	T(read(fd, buf, sizeof buf));
	T(close(fd));
	T(open("/dev/null", O_RDWR | O_DIRECTORY));
	T(open("/proc/self/maps/", O_RDONLY));
	fd = (int)T(open("/proc/self/maps", O_RDONLY));
	T(fstat(fd, &st));
	T(st.st_mode & S_IFMT);
	T(read(fd, buf, sizeof buf) > 100);
	T(lseek(fd, 0, SEEK_SET));
	T(read(fd, buf, 10));
	T(write(fd, buf, 1));
	T(close(fd));
	T(lstat("/proc/self/exe", &st));
	T(st.st_mode & S_IFMT);
	T(stat("/proc/self/exe", &st));
	T(st.st_mode & S_IFMT);
	T(stat("/proc", &st));
	T(st.st_mode & S_IFMT);
	T(stat("/", &st));
	T(st.st_mode & S_IFMT);
	T(access("/dev/null", R_OK | W_OK));
	T(access("/proc/cpuinfo", R_OK));
	T(readlink("/proc/cpuinfo", buf, sizeof buf));
	T(readlink("/dev", buf, sizeof buf));
	fd = (int)T(open("hello", O_RDONLY));
	T(readlink("/proc/self/fd/77", buf, sizeof buf));
	T(lstat("/proc/self/fd/0", &st));
	T(st.st_mode & S_IFMT);
	T(close(fd));
}
