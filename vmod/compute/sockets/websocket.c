/*-
 * SPDX-License-Identifier: BSD-2-Clause
 */

#include <http_parser.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <wslay/wslay.h>

#include "object.h"
#include "system.h"
#include "websocket.h"

#define MAX_HEAD	16384
#define MAX_KEY		64
/* RFC 6455, 1.3 */
#define GUID		"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct message {
	struct message		*next;
	size_t			len, room;
	bool			text;
	uint8_t			data[];
};

struct tkc_websocket {
	unsigned		magic;
#define TKC_WEBSOCKET_MAGIC	0x0c83f1de
	struct tkc_client	*client;
	wslay_event_context_ptr	frames;
	bool			open, text, closing;
	/* The handshake. */
	http_parser		parser;
	size_t			head_len;
	char			*url;
	size_t			url_len;
	char			name[32], value[256];
	size_t			name_len, value_len;
	bool			in_value;
	char			key[MAX_KEY];
	bool			upgrade, connection, version, complete, cut;
	/* What is being fed. */
	const uint8_t		*in;
	size_t			in_len;
	/* Of the frame under way: it is of a message, and still wanted. */
	bool			wanted, refused;
	size_t			max_message;
	/* A message that comes, NULL while it is empty; those that came. */
	struct message		*partial, *first, **last, *given;
	size_t			holds;		/* bytes of all of them */
};

/*--------------------------------------------------------------------
 * The handshake: RFC 6455, 4.2
 */

static bool
has_token(const char *list, const char *token)
{
	size_t n = strlen(token), len;

	for (;;) {
		list += strspn(list, " \t,");
		if (*list == '\0')
			return (false);
		len = strcspn(list, " \t,");
		if (len == n && strncasecmp(list, token, n) == 0)
			return (true);
		list += len;
	}
}

static void
end_field(struct tkc_websocket *ws)
{

	ws->name[ws->name_len] = ws->value[ws->value_len] = '\0';
	if (ws->cut)
		ws->name[0] = '\0';
	if (strcasecmp(ws->name, "Upgrade") == 0)
		ws->upgrade = ws->upgrade || has_token(ws->value, "websocket");
	else if (strcasecmp(ws->name, "Connection") == 0)
		ws->connection = ws->connection ||
		    has_token(ws->value, "upgrade");
	else if (strcasecmp(ws->name, "Sec-WebSocket-Version") == 0)
		ws->version = strcmp(ws->value, "13") == 0;
	else if (strcasecmp(ws->name, "Sec-WebSocket-Key") == 0 &&
	    ws->value_len < sizeof ws->key)
		memcpy(ws->key, ws->value, ws->value_len + 1);
	ws->name_len = ws->value_len = 0;
	ws->in_value = ws->cut = false;
}

static void
append(struct tkc_websocket *ws, char *to, size_t room, size_t *have,
    const char *at, size_t len)
{

	if (len >= room - *have)
		ws->cut = true;
	else {
		memcpy(to + *have, at, len);
		*have += len;
	}
}

static int
on_field(http_parser *p, const char *at, size_t len)
{
	struct tkc_websocket *ws = p->data;

	if (ws->in_value)
		end_field(ws);
	append(ws, ws->name, sizeof ws->name, &ws->name_len, at, len);
	return (0);
}

static int
on_value(http_parser *p, const char *at, size_t len)
{
	struct tkc_websocket *ws = p->data;

	ws->in_value = true;
	append(ws, ws->value, sizeof ws->value, &ws->value_len, at, len);
	return (0);
}

static int
on_url(http_parser *p, const char *at, size_t len)
{
	struct tkc_websocket *ws = p->data;
	char *more = realloc(ws->url, ws->url_len + len + 1);

	if (more == NULL)
		return (-1);
	ws->url = more;
	memcpy(ws->url + ws->url_len, at, len);
	ws->url_len += len;
	ws->url[ws->url_len] = '\0';
	return (0);
}

static int
on_headers_complete(http_parser *p)
{
	struct tkc_websocket *ws = p->data;

	if (ws->in_value)
		end_field(ws);
	ws->complete = true;
	/* What follows is no body. */
	return (2);
}

static const http_parser_settings handshake = {
	.on_url = on_url,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers_complete,
};

static bool
refuse(struct tkc_websocket *ws, const char *status, const char *why)
{
	char text[512];
	int n;

	n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\n"
	    "Content-Type: text/plain\r\nContent-Length: %zu\r\n"
	    "%sConnection: close\r\n\r\n%s\n", status, strlen(why) + 1,
	    strncmp(status, "426", 3) == 0 ? "Upgrade: websocket\r\n"
	    "Sec-WebSocket-Version: 13\r\n" : "", why);
	(void)tkc_client_put(ws->client, text, (size_t)n);
	return (false);
}

static bool
accept_key(const char *key, char out[32])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	char text[MAX_KEY + sizeof GUID];

	(void)snprintf(text, sizeof text, "%s%s", key, GUID);
	if (!EVP_Digest(text, strlen(text), sum, &len, EVP_sha1(), NULL))
		return (false);
	/* 20 bytes become 28 characters. */
	return (EVP_EncodeBlock((unsigned char *)out, sum, (int)len) < 32);
}

static bool
answer(struct tkc_websocket *ws)
{
	char text[256], sum[32];
	int n;

	if (ws->parser.method != HTTP_GET || !ws->upgrade || !ws->connection)
		return (refuse(ws, "426 Upgrade Required",
		    "This is a WebSocket server."));
	if (!ws->version)
		return (refuse(ws, "426 Upgrade Required",
		    "WebSocket version 13 is spoken here."));
	if (ws->key[0] == '\0' || !accept_key(ws->key, sum))
		return (refuse(ws, "400 Bad Request",
		    "There is no good Sec-WebSocket-Key."));
	n = snprintf(text, sizeof text, "HTTP/1.1 101 Switching Protocols\r\n"
	    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Accept: %s\r\n\r\n", sum);
	ws->open = true;
	return (tkc_client_put(ws->client, text, (size_t)n));
}

/* Takes the head's part of the bytes. */
static bool
shake_hands(struct tkc_websocket *ws, const uint8_t **data, size_t *len)
{
	size_t n;

	n = http_parser_execute(&ws->parser, &handshake, (const char *)*data,
	    *len);
	ws->head_len += n;
	if (ws->head_len > MAX_HEAD)
		return (refuse(ws, "431 Request Header Fields Too Large",
		    "The head of the request is too large."));
	if (ws->complete) {
		/* The parser stops at the line end that ends the head. */
		*data += n;
		*len -= n;
		return (answer(ws));
	}
	if (HTTP_PARSER_ERRNO(&ws->parser) != HPE_OK)
		return (refuse(ws, "400 Bad Request",
		    "This is no HTTP request."));
	*len = 0;
	return (true);
}

/*--------------------------------------------------------------------
 * Frames
 */

static ssize_t
on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags,
    void *priv)
{
	struct tkc_websocket *ws = priv;

	(void)flags;
	if (ws->in_len == 0) {
		wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
		return (-1);
	}
	if (len > ws->in_len)
		len = ws->in_len;
	memcpy(buf, ws->in, len);
	ws->in += len;
	ws->in_len -= len;
	return ((ssize_t)len);
}

static ssize_t
on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len,
    int flags, void *priv)
{
	struct tkc_websocket *ws = priv;

	(void)flags;
	if (tkc_client_put(ws->client, data, len))
		return ((ssize_t)len);
	wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
	return (-1);
}

/* Nothing more is read: as libwslay itself does it. */
static void
refuse_frames(struct tkc_websocket *ws, unsigned code)
{

	ws->refused = true;
	wslay_event_shutdown_read(ws->frames);
	(void)wslay_event_queue_close(ws->frames, (uint16_t)code, NULL, 0);
}

/*
 * Messages are put together here. libwslay would keep each fragment apart, and
 * 95 bytes of memory for one of a single byte; and make room for what a frame
 * only says that it will bring.
 */
static bool
make_room(struct tkc_websocket *ws, size_t more)
{
	struct message *msg = ws->partial;
	size_t len = msg != NULL ? msg->len : 0;
	size_t had = msg != NULL ? sizeof *msg + msg->room : 0;
	size_t n = msg != NULL ? msg->room : 256;

	if (msg != NULL && len + more <= n)
		return (true);
	while (n < len + more)
		n *= 2;
	if (n > ws->max_message)
		n = ws->max_message;
	msg = realloc(msg, sizeof *msg + n);
	if (msg == NULL)
		return (false);
	ws->partial = msg;
	msg->len = len;
	msg->room = n;
	ws->holds += sizeof *msg + n - had;
	return (true);
}

static void
drop(struct tkc_websocket *ws, struct message *msg)
{

	if (msg != NULL)
		ws->holds -= sizeof *msg + msg->room;
	free(msg);
}

static void
on_frame(wslay_event_context_ptr ctx,
    const struct wslay_event_on_frame_recv_start_arg *arg, void *priv)
{
	struct tkc_websocket *ws = priv;
	size_t len = ws->partial != NULL ? ws->partial->len : 0;

	(void)ctx;
	ws->wanted = !ws->refused && !wslay_is_ctrl_frame(arg->opcode);
	if (!ws->wanted || arg->payload_length <= ws->max_message - len)
		return;
	ws->wanted = false;
	refuse_frames(ws, WSLAY_CODE_MESSAGE_TOO_BIG);
}

static void
on_piece(wslay_event_context_ptr ctx,
    const struct wslay_event_on_frame_recv_chunk_arg *arg, void *priv)
{
	struct tkc_websocket *ws = priv;

	(void)ctx;
	if (!ws->wanted || ws->refused || arg->data_length == 0)
		return;
	if (!make_room(ws, arg->data_length)) {
		refuse_frames(ws, TKC_WS_INTERNAL_ERROR);
		return;
	}
	memcpy(ws->partial->data + ws->partial->len, arg->data,
	    arg->data_length);
	ws->partial->len += arg->data_length;
}

static void
on_message(wslay_event_context_ptr ctx,
    const struct wslay_event_on_msg_recv_arg *arg, void *priv)
{
	struct tkc_websocket *ws = priv;
	struct message *msg;

	(void)ctx;
	if (wslay_is_ctrl_frame(arg->opcode) || ws->refused)
		return;
	/* An empty one has no piece. */
	if (!make_room(ws, 0)) {
		refuse_frames(ws, TKC_WS_INTERNAL_ERROR);
		return;
	}
	msg = ws->partial;
	ws->partial = NULL;
	msg->next = NULL;
	msg->text = ws->text = arg->opcode == WSLAY_TEXT_FRAME;
	*ws->last = msg;
	ws->last = &msg->next;
}

static const struct wslay_event_callbacks callbacks = {
	.recv_callback = on_recv,
	.send_callback = on_send,
	.on_frame_recv_start_callback = on_frame,
	.on_frame_recv_chunk_callback = on_piece,
	.on_msg_recv_callback = on_message,
};

struct tkc_websocket *
tkc_websocket_new(struct tkc_client *c, size_t max_message)
{
	struct tkc_websocket *ws;

	TK_ALLOC_OBJ(ws, TKC_WEBSOCKET_MAGIC);
	if (ws == NULL)
		return (NULL);
	ws->client = c;
	ws->text = true;
	ws->last = &ws->first;
	ws->max_message = max_message;
	http_parser_init(&ws->parser, HTTP_REQUEST);
	ws->parser.data = ws;
	if (wslay_event_context_server_init(&ws->frames, &callbacks, ws) != 0) {
		TK_FREE_OBJ(ws);
		return (NULL);
	}
	/* Each frame's: messages have no length there without a buffer. */
	wslay_event_config_set_max_recv_msg_length(ws->frames, max_message);
	wslay_event_config_set_no_buffering(ws->frames, 1);
	return (ws);
}

void
tkc_websocket_free(struct tkc_websocket **pws)
{
	struct tkc_websocket *ws;

	TK_TAKE_OBJ(ws, pws, TKC_WEBSOCKET_MAGIC);
	wslay_event_context_free(ws->frames);
	tkc_websocket_empty(ws);
	free(ws->url);
	TK_FREE_OBJ(ws);
}

/* Frames of our own: pongs, an answer to the client's good-bye. */
static bool
send_frames(struct tkc_websocket *ws)
{

	return (!wslay_event_want_write(ws->frames) ||
	    wslay_event_send(ws->frames) == 0);
}

bool
tkc_websocket_feed(struct tkc_websocket *ws, const uint8_t *data, size_t len)
{

	TK_CHECK_OBJ(ws, TKC_WEBSOCKET_MAGIC);
	if (!ws->open && !shake_hands(ws, &data, &len))
		return (false);
	if (len == 0)
		return (true);
	ws->in = data;
	ws->in_len = len;
	/*
	 * It returns when on_recv() has no more. Where it fails it has said
	 * good-bye itself, but for want of memory.
	 */
	if (wslay_event_recv(ws->frames) != 0)
		tkc_websocket_close(ws, TKC_WS_INTERNAL_ERROR);
	return (send_frames(ws) && wslay_event_want_read(ws->frames) &&
	    !ws->closing);
}

bool
tkc_websocket_is_open(const struct tkc_websocket *ws)
{

	return (ws->open);
}

const char *
tkc_websocket_url(const struct tkc_websocket *ws)
{

	return (ws->url != NULL ? ws->url : "");
}

size_t
tkc_websocket_holds(const struct tkc_websocket *ws)
{

	return (ws->holds);
}

bool
tkc_websocket_has_message(const struct tkc_websocket *ws)
{

	return (ws->first != NULL);
}

void
tkc_websocket_forget(struct tkc_websocket *ws)
{

	drop(ws, ws->given);
	ws->given = NULL;
}

void
tkc_websocket_empty(struct tkc_websocket *ws)
{
	struct message *msg;

	while ((msg = ws->first) != NULL) {
		ws->first = msg->next;
		drop(ws, msg);
	}
	ws->last = &ws->first;
	drop(ws, ws->partial);
	ws->partial = NULL;
	tkc_websocket_forget(ws);
}

const void *
tkc_websocket_next(struct tkc_websocket *ws, size_t *len, bool *text)
{
	struct message *msg = ws->first;

	tk_assert(msg != NULL);
	tkc_websocket_forget(ws);
	ws->given = msg;
	ws->first = msg->next;
	if (ws->first == NULL)
		ws->last = &ws->first;
	*len = msg->len;
	*text = msg->text;
	return (msg->data);
}

bool
tkc_websocket_send(struct tkc_websocket *ws, const void *data, size_t len,
    int text)
{
	struct wslay_event_msg msg;
	int e;

	TK_CHECK_OBJ(ws, TKC_WEBSOCKET_MAGIC);
	/* Behind a good-bye, libwslay's own too, nothing may follow. */
	if (ws->closing || !ws->open || wslay_event_get_close_sent(ws->frames))
		return (true);
	msg.opcode = (text < 0 ? ws->text : text != 0) ? WSLAY_TEXT_FRAME :
	    WSLAY_BINARY_FRAME;
	msg.msg = data;
	msg.msg_length = len;
	e = wslay_event_queue_msg(ws->frames, &msg);
	/* The client has said good-bye: nobody listens. */
	if (e == WSLAY_ERR_NO_MORE_MSG)
		return (true);
	return (e == 0 && send_frames(ws));
}

void
tkc_websocket_close(struct tkc_websocket *ws, unsigned code)
{

	TK_CHECK_OBJ(ws, TKC_WEBSOCKET_MAGIC);
	if (ws->closing || !ws->open)
		return;
	ws->closing = true;
	if (wslay_event_queue_close(ws->frames, (uint16_t)code, NULL, 0) == 0)
		(void)send_frames(ws);
}
