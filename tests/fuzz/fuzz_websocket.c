/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A WebSocket client's bytes, handshake or (first byte odd) frames after one;
 * the first bytes say in which pieces they come.
 */

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "sockets/system.h"
#include "sockets/websocket.h"

static const char hello[] =
    "GET /x HTTP/1.1\r\nHost: it\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct tkc_sockets sockets;
	static struct tkc_system system;
	struct tkc_client *c;
	size_t n, piece, size;
	int pair[2];
	bool text;

	if (len < 2)
		return (0);
	if (sockets.magic == 0) {
		sockets.magic = TKC_SOCKETS_MAGIC;
		sockets.max_message = 65536;
		sockets.max_held = 1 << 20;
		system.sockets = &sockets;
		system.epoll = epoll_create1(0);
	}
	PROMISE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
	    pair) == 0);
	c = tkc_client_new(&system, pair[0]);
	PROMISE(c != NULL);
	piece = data[1] + 1u;
	if (data[0] & 1)
		PROMISE(tkc_websocket_feed(c->ws, (const uint8_t *)hello,
		    sizeof hello - 1));
	data += 2;
	len -= 2;
	while (len > 0) {
		PROMISE(system.held < 1 << 20);
		n = len < piece ? len : piece;
		if (!tkc_websocket_feed(c->ws, data, n))
			break;
		data += n;
		len -= n;
		while (tkc_websocket_has_message(c->ws)) {
			(void)tkc_websocket_next(c->ws, &size, &text);
			PROMISE(size <= sockets.max_message);
			(void)tkc_websocket_send(c->ws, "answer", 6, -1);
		}
	}
	tkc_client_close(c, 1000);
	tkc_client_free(&c);
	PROMISE(system.held == 0);
	(void)close(pair[1]);
	return (0);
}
