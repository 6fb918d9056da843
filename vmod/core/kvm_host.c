/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "clock_page.h"
#include "error.h"
#include "kvm_host.h"
#include "object.h"
#include "watchdog.h"

/* Ours by XCR0: x87, SSE, AVX, AVX-512. Not PKRU, not AMX. */
#define XCR0_WANTED	0xe7ULL

static const struct {
	int		cap;
	int		at_least;
	const char	*name;
	const char	*since;
} needed[] = {
	{ KVM_CAP_USER_MEMORY, 1, "KVM_CAP_USER_MEMORY", "2.6.25" },
	{ KVM_CAP_READONLY_MEM, 1, "KVM_CAP_READONLY_MEM", "3.9" },
	{ KVM_CAP_XCRS, 1, "KVM_CAP_XCRS", "2.6.36" },
	{ KVM_CAP_XSAVE, 1, "KVM_CAP_XSAVE", "2.6.36" },
	{ KVM_CAP_IMMEDIATE_EXIT, 1, "KVM_CAP_IMMEDIATE_EXIT", "4.13" },
	{ KVM_CAP_SYNC_REGS, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS,
	    "KVM_CAP_SYNC_REGS", "4.17" },
	{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1,
	    "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", "5.1" },
};

static int
open_device(struct tk_error *err)
{
	int fd;

	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return (fd);
	switch (errno) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		(void)tk_error(err, TK_HOST, 0, "/dev/kvm is not there: load "
		    "the module kvm_intel or kvm_amd and enable "
		    "virtualisation in the firmware; inside a virtual "
		    "machine, enable nested virtualisation on its host");
		break;
	case EACCES:
	case EPERM:
		(void)tk_error(err, TK_HOST, 0, "No permission for /dev/kvm "
		    "as uid %u: add the user to group kvm "
		    "(usermod -aG kvm USER) and start the process again",
		    (unsigned)geteuid());
		break;
	default:
		(void)tk_error(err, TK_HOST, 0, "Cannot open /dev/kvm: %s",
		    strerror(errno));
	}
	return (-1);
}

static void
read_cpuid(struct tk_host *h)
{
	const struct kvm_cpuid_entry2 *e;
	unsigned i;

	for (i = 0; i < h->cpuid.head.nent; i++) {
		e = &h->cpuid.entry[i];
		/* Intel SDM vol. 2A, CPUID: leaf 7 EBX bit 7, ECX bit 2. */
		if (e->function == 7 && e->index == 0) {
			h->has_smep = (e->ebx >> 7 & 1) != 0;
			h->has_umip = (e->ecx >> 2 & 1) != 0;
		}
		if (e->function == 0xd && e->index == 0)
			h->facts.xcr0 = (e->eax | (uint64_t)e->edx << 32) &
			    XCR0_WANTED;
	}
}

/*
 * A file that would grow beyond RLIMIT_FSIZE is an error of the call that does
 * it, not the end of the process, which is the default. It cannot only be
 * looked at before: two that do find room for one. Who handles the signal goes
 * on to do so.
 */
static void
outlive_file_limit(void)
{
	struct sigaction sa;

	if (sigaction(SIGXFSZ, NULL, &sa) != 0 || sa.sa_handler != SIG_DFL)
		return;
	sa.sa_handler = SIG_IGN;
	(void)sigaction(SIGXFSZ, &sa, NULL);
}

static int
host_init(struct tk_host *h, struct tk_error *err)
{
	struct utsname un;
	unsigned i;
	int r;

	outlive_file_limit();
	if (uname(&un) == 0)
		(void)snprintf(h->facts.kernel, sizeof h->facts.kernel,
		    "%.63s", un.release);
	h->facts.api_version = ioctl(h->kvm_fd, KVM_GET_API_VERSION, 0);
	if (h->facts.api_version < 0)
		return (tk_error(err, TK_HOST, 0, "/dev/kvm is not KVM's: %s. "
		    "See what it is: ls -l /dev/kvm (character device 10, 232)",
		    strerror(errno)));
	if (h->facts.api_version != KVM_API_VERSION)
		return (tk_error(err, TK_HOST, 0, "/dev/kvm speaks version %d "
		    "of its interface, not %d", h->facts.api_version,
		    KVM_API_VERSION));
	for (i = 0; i < sizeof needed / sizeof needed[0]; i++) {
		r = ioctl(h->kvm_fd, KVM_CHECK_EXTENSION, needed[i].cap);
		if (r < 0 || (r & needed[i].at_least) != needed[i].at_least)
			return (tk_error(err, TK_HOST, 0, "This kernel (%s) "
			    "lacks %s, which Linux has since %s: update the "
			    "kernel", h->facts.kernel, needed[i].name,
			    needed[i].since));
	}
	r = ioctl(h->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (r <= 0)
		return (tk_error(err, TK_HOST, 0,
		    "KVM_GET_VCPU_MMAP_SIZE: %s", strerror(errno)));
	h->run_size = (size_t)r;
	h->cpuid.head.nent = TK_CPUID_ROOM;
	if (ioctl(h->kvm_fd, KVM_GET_SUPPORTED_CPUID, &h->cpuid))
		return (tk_error(err, TK_HOST, 0,
		    "KVM_GET_SUPPORTED_CPUID: %s", strerror(errno)));
	read_cpuid(h);
	if ((h->facts.xcr0 & 3) != 3)
		return (tk_error(err, TK_HOST, 0,
		    "KVM offers no XSAVE to guests: this CPU is too old"));
	r = tk_watchdog_start();
	if (r != 0)
		return (tk_error(err, TK_HOST, 0,
		    "Cannot start the watchdog thread: %s", strerror(r)));
	if (h->clock_page == NULL)
		h->clock_page = tk_clock_page_new();
	if (h->clock_page == NULL)
		return (tk_error(err, TK_HOST, 0, "Clock page: %s",
		    strerror(errno)));
	return (tk_self_test(h, err));
}

static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tk_host *the_host;

const struct tk_host *
tk_host(struct tk_error *err)
{
	struct tk_host *h;
	int fd;

	(void)pthread_mutex_lock(&host_lock);
	if (the_host == NULL) {
		fd = open_device(err);
		if (fd >= 0) {
			TK_ALLOC_OBJ(h, TK_HOST_MAGIC);
			if (h == NULL) {
				(void)tk_error(err, TK_HOST, 0,
				    "Out of memory");
				(void)close(fd);
			} else {
				h->kvm_fd = fd;
				if (host_init(h, err)) {
					(void)close(fd);
					TK_FREE_OBJ(h);
				} else
					the_host = h;
			}
		}
	}
	h = the_host;
	(void)pthread_mutex_unlock(&host_lock);
	return (h);
}

const struct tk_host_facts *
tk_host_facts(const struct tk_host *h)
{

	TK_CHECK_OBJ(h, TK_HOST_MAGIC);
	return (&h->facts);
}
