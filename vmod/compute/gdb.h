/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A stub of GDB's remote serial protocol for one machine that stands still:
 * "GDB Remote Serial Protocol" in the manual of GDB. The peer is not trusted:
 * packets are bounded, and nothing that it says is used before it was checked.
 *
 *	gdb_packet.c	bytes to packets, numbers, replies
 *	gdb_registers.c	the target's description, and its registers
 *	gdb_commands.c	what a packet asks
 *	gdb_session.c	the connection
 *	debugging.c	when there is one
 */

#ifndef TKC_GDB_H_INCLUDED
#define TKC_GDB_H_INCLUDED

#include "tinykvm.h"

#define TKC_GDB_PACKET	16384		/* bytes of a packet's data */
#define TKC_GDB_REGS	560		/* of `g` */

/* gdb_packet.c */
enum tkc_gdb_event {
	TKC_GDB_NONE,
	TKC_GDB_COMMAND,	/* parser.data has it */
	TKC_GDB_INTERRUPT,	/* Ctrl-C */
	TKC_GDB_AGAIN,		/* the peer did not get the last reply */
	TKC_GDB_BAD		/* a damaged packet */
};

struct tkc_gdb_parser {
	enum { TKC_GDB_BETWEEN, TKC_GDB_DATA, TKC_GDB_SUM1, TKC_GDB_SUM2 }
				state;
	uint8_t			sum, told;
	bool			bad;
	size_t			len;
	char			data[TKC_GDB_PACKET + 1]; /* NUL at its end */
};

struct tkc_gdb_reply {
	size_t			len;
	bool			full;		/* more was to be said */
	char			data[TKC_GDB_PACKET];
};

struct tkc_gdb {
	unsigned		magic;
#define TKC_GDB_MAGIC		0x2f84c6d1
	struct tk_machine	*vm;
	bool			(*stopped)(void *);	/* may be NULL */
	void			*stopped_priv;
	struct tk_debug_stop	stop;
	uint32_t		thread;		/* of g, p, G, P */
	bool			no_ack, swbreak;
	bool			killed;		/* ... or left: no last word */
	enum tk_debug_go	go;
	struct tkc_gdb_parser	parser;
	struct tkc_gdb_reply	reply;

	/* gdb_session.c */
	int			listener, fd;
	uint16_t		port;
	size_t			garbage;	/* bytes since the last packet */
	size_t			raw_at, raw_len;
	uint8_t			raw[2048];
};

enum tkc_gdb_event tkc_gdb_feed(struct tkc_gdb_parser *, uint8_t);

/*
 * Text of a packet, read from its front. Each returns false when it is not
 * there; a number has 1 to 16 hex digits.
 */
struct tkc_gdb_text {
	const char		*at, *end;
};
bool tkc_gdb_word(struct tkc_gdb_text *, const char *word);
bool tkc_gdb_number(struct tkc_gdb_text *, uint64_t *);
/* Exactly len bytes in hex. */
bool tkc_gdb_bytes(struct tkc_gdb_text *, uint8_t *, size_t len);

void tkc_gdb_say(struct tkc_gdb_reply *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void tkc_gdb_say_hex(struct tkc_gdb_reply *, const void *, size_t);
/* Binary data; as many bytes as fit are said, and their number returned. */
size_t tkc_gdb_say_binary(struct tkc_gdb_reply *, const void *, size_t);

/* gdb_registers.c: register n of GDB's numbering; its bytes, 0 for none. */
extern const char tkc_gdb_target[];
size_t tkc_gdb_register(const struct tk_debug_regs *, unsigned n, uint8_t *);
void tkc_gdb_set_register(struct tk_debug_regs *, unsigned n, const uint8_t *);
/* A signal of Linux as GDB numbers it: gdb/signals.def. */
int tkc_gdb_signal(int);

/* gdb_commands.c: true when the guest is to go on, as g->go says. */
bool tkc_gdb_command(struct tkc_gdb *);
/* The reply that says why it stopped. */
void tkc_gdb_say_stop(struct tkc_gdb *);

/* gdb_session.c */
/* Listens on loopback; port 0: any, g->port tells. 0 or errno. */
int tkc_gdb_listen(struct tkc_gdb *, uint16_t port);
/* Until somebody connects who speaks the protocol. */
bool tkc_gdb_accept(struct tkc_gdb *, double seconds);
/* Serves a stop until the guest is to go on. */
enum tk_debug_go tkc_gdb_serve(struct tkc_gdb *, const struct tk_debug_stop *);
enum tk_debug_poll tkc_gdb_poll(struct tkc_gdb *);
/* The last word, if any, and the end. */
void tkc_gdb_close(struct tkc_gdb *, enum tk_debug_end);

#endif /* TKC_GDB_H_INCLUDED */
