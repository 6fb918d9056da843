/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Options of sockets: most are accepted and change nothing.
 */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "../object.h"
#include "linux.h"
#include "socket.h"

/* The bit that remembers a switch; 0 when it is none. */
static uint32_t
option_bit(uint64_t level, uint64_t name)
{

	if (level == SOL_SOCKET && (name == SO_REUSEADDR ||
	    name == SO_REUSEPORT || name == SO_KEEPALIVE ||
	    name == SO_BROADCAST || name == SO_OOBINLINE))
		return (1u << name);
	if (level == IPPROTO_TCP && (name == TCP_NODELAY || name == TCP_CORK ||
	    name == TCP_QUICKACK))
		return (1u << (16 + name));
	if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY)
		return (1u << 31);
	return (0);
}

int64_t
tk_sys_setsockopt(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t level = (uint32_t)a[1], name = (uint32_t)a[2];
	struct timeval tv;
	struct tk_file *f;
	uint32_t bit;
	int64_t e;
	int value;

	f = tk_socket_at(m, a[0], &e);
	if (e != 0)
		return (e);
	if (level == SOL_SOCKET && name == SO_RCVTIMEO) {
		if ((uint32_t)a[4] < sizeof tv)
			return (-EINVAL);
		if (!tk_read(m, &tv, a[3], sizeof tv))
			return (-EFAULT);
		if (tv.tv_sec < 0 || tv.tv_usec < 0 || tv.tv_usec >= 1000000)
			return (-EDOM);
		tk_file_touch(&m->files, f);
		f->socket.wait_ns = tv.tv_sec > 1000000000 ? 0 :
		    (uint64_t)tv.tv_sec * 1000000000 +
		    (uint64_t)tv.tv_usec * 1000;
		return (0);
	}
	if ((uint32_t)a[4] < sizeof value)
		return (-EINVAL);
	if (!tk_read(m, &value, a[3], sizeof value))
		return (-EFAULT);
	bit = option_bit(level, name);
	if (bit != 0) {
		tk_file_touch(&m->files, f);
		f->socket.options = value != 0 ? f->socket.options | bit :
		    f->socket.options & ~bit;
		return (0);
	}
	switch (level) {
	case IPPROTO_IP:
	case IPPROTO_IPV6:
	case IPPROTO_TCP:
		return (0);
	case SOL_SOCKET:
		return (name == SO_RCVBUF || name == SO_SNDBUF ||
		    name == SO_LINGER || name == SO_SNDTIMEO ||
		    name == SO_PRIORITY || name == SO_RCVLOWAT ||
		    name == SO_INCOMING_CPU || name == SO_TIMESTAMP ? 0 :
		    -ENOPROTOOPT);
	default:
		return (-ENOPROTOOPT);
	}
}

int64_t
tk_sys_getsockopt(struct tk_machine *m, const uint64_t a[6])
{
	uint64_t level = (uint32_t)a[1], name = (uint32_t)a[2];
	struct { int word[4]; } out = { { 0 } };
	struct timeval tv;
	struct tk_file *f;
	socklen_t len, n = sizeof(int);
	uint32_t bit;
	int64_t e;

	f = tk_socket_at(m, a[0], &e);
	if (e != 0)
		return (e);
	if (!tk_read(m, &len, a[4], sizeof len))
		return (-EFAULT);
	if ((int)len < 0)
		return (-EINVAL);
	bit = option_bit(level, name);
	if (bit != 0)
		out.word[0] = (f->socket.options & bit) != 0;
	else if (level == SOL_SOCKET)
		switch (name) {
		case SO_ERROR:
		case SO_SNDLOWAT:
			break;
		case SO_TYPE:
			out.word[0] = SOCK_STREAM;
			break;
		case SO_DOMAIN:
			out.word[0] = f->socket.family;
			break;
		case SO_PROTOCOL:
			out.word[0] = f->socket.family == AF_UNIX ? 0 :
			    IPPROTO_TCP;
			break;
		case SO_ACCEPTCONN:
			out.word[0] = f->socket.state == TK_SOCKET_LISTENING;
			break;
		case SO_RCVBUF:
		case SO_SNDBUF:
			out.word[0] = 2 * TK_STREAM_ROOM;
			break;
		case SO_RCVLOWAT:
			out.word[0] = 1;
			break;
		case SO_LINGER:
			n = sizeof(struct linger);
			break;
		case SO_RCVTIMEO:
		case SO_SNDTIMEO:
			memset(&tv, 0, sizeof tv);
			if (name == SO_RCVTIMEO) {
				tv.tv_sec = (time_t)(f->socket.wait_ns /
				    1000000000);
				tv.tv_usec = (suseconds_t)(f->socket.wait_ns %
				    1000000000 / 1000);
			}
			memcpy(&out, &tv, sizeof tv);
			n = sizeof tv;
			break;
		case SO_PEERCRED:
			out.word[0] = 1;	/* pid; uid and gid are 0 */
			n = sizeof(struct ucred);
			break;
		default:
			return (-ENOPROTOOPT);
		}
	else if (level != IPPROTO_IP && level != IPPROTO_IPV6 &&
	    (level != IPPROTO_TCP || name == TCP_INFO))
		return (-ENOPROTOOPT);
	if (n > len)
		n = len;
	if (!tk_write(m, a[3], &out, n) || !tk_write(m, a[4], &n, sizeof n))
		return (-EFAULT);
	return (0);
}
