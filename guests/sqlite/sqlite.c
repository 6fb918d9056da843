/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * SQL over the database file that argv[1] names, or without one over a database
 * in memory that is filled before the freeze: /q?SQL (with %xx and +), or SQL as
 * the body of a POST. The answer is JSON. What a request changes is gone after
 * it; the file cannot be changed.
 */

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include <sqlite3.h>

#include "heap.h"
#include "kvm_api.h"

static sqlite3 *db;

static const char *const parts[] = { "bolt", "nut", "washer", "spring",
    "bearing", "gear", "shaft", "belt" };

/* SQLite maps as much of a file as this, so that reading it is no system call. */
#define MAPPED	"1073741824"

static KVM_NORETURN void
give_up(void)
{

	sys_log(sqlite3_errmsg(db), strlen(sqlite3_errmsg(db)));
	exit(1);
}

static void
open_file(const char *path)
{
	char *uri = sqlite3_mprintf("file:%s?immutable=1", path), *sql = NULL;
	sqlite3_stmt *s;

	if (uri == NULL ||
	    sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
	    NULL) != SQLITE_OK ||
	    sqlite3_exec(db, "PRAGMA mmap_size=" MAPPED, NULL, NULL, NULL) !=
	    SQLITE_OK ||
	    sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema WHERE "
	    "type = 'table'", -1, &s, NULL) != SQLITE_OK)
		give_up();
	/* SQLite maps the file when a table is read: before the freeze. */
	if (sqlite3_step(s) == SQLITE_ROW)
		sql = sqlite3_mprintf("SELECT * FROM \"%w\" LIMIT 1",
		    sqlite3_column_text(s, 0));
	sqlite3_finalize(s);
	if (sql != NULL &&
	    sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		give_up();
	sqlite3_free(sql);
	sqlite3_free(uri);
}

static void
fill(void)
{
	sqlite3_stmt *s;
	int i;

	if (sqlite3_open(":memory:", &db) != SQLITE_OK ||
	    sqlite3_exec(db, "CREATE TABLE stock(id INTEGER PRIMARY KEY,"
	    " part TEXT, size INTEGER, price REAL);"
	    "CREATE INDEX by_part ON stock(part, size); BEGIN", NULL, NULL,
	    NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, "INSERT INTO stock VALUES(?,?,?,?)", -1,
	    &s, NULL) != SQLITE_OK)
		give_up();
	for (i = 0; i < 10000; i++) {
		sqlite3_bind_int(s, 1, i);
		sqlite3_bind_text(s, 2, parts[i % 8], -1, SQLITE_STATIC);
		sqlite3_bind_int(s, 3, i / 8 % 50);
		sqlite3_bind_double(s, 4, i % 997 / 10.0);
		(void)sqlite3_step(s);
		sqlite3_reset(s);
	}
	sqlite3_finalize(s);
	sqlite3_exec(db, "COMMIT; ANALYZE", NULL, NULL, NULL);
}

/*--------------------------------------------------------------------*/

static char *
unescape(const char *s)
{
	char *out = malloc(strlen(s) + 1), *o = out;
	char hex[3] = "";

	for (; out != NULL && *s != '\0'; s++) {
		if (*s == '%' && isxdigit((unsigned char)s[1]) &&
		    isxdigit((unsigned char)s[2])) {
			memcpy(hex, s + 1, 2);
			*o++ = (char)strtol(hex, NULL, 16);
			s += 2;
		} else
			*o++ = *s == '+' ? ' ' : *s;
	}
	if (out != NULL)
		*o = '\0';
	return (out);
}

static KVM_NORETURN void
bad(int status, const char *what)
{
	char *text = sqlite3_mprintf("{\"error\":\"%s\"}\n", what);
	char *p;

	for (p = text + 10; p != NULL && p[3] != '\0'; p++)
		if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
			*p = '\'';
	respond(status, "application/json", text, strlen(text));
}

static void
add_text(sqlite3_str *out, const char *s, int len)
{
	const char *end = s + len;

	sqlite3_str_appendchar(out, 1, '"');
	for (; s < end; s++)
		if (*s == '"' || *s == '\\')
			sqlite3_str_appendf(out, "\\%c", *s);
		else if ((unsigned char)*s < ' ')
			sqlite3_str_appendf(out, "\\u%04x", *s);
		else
			sqlite3_str_appendchar(out, 1, *s);
	sqlite3_str_appendchar(out, 1, '"');
}

static void
add_blob(sqlite3_str *out, const unsigned char *p, int len)
{
	int i;

	sqlite3_str_appendchar(out, 1, '"');
	for (i = 0; i < len; i++)
		sqlite3_str_appendf(out, "%02x", p[i]);
	sqlite3_str_appendchar(out, 1, '"');
}

static void
add_value(sqlite3_str *out, sqlite3_stmt *s, int i)
{
	double d;

	switch (sqlite3_column_type(s, i)) {
	case SQLITE_NULL:
		sqlite3_str_appendall(out, "null");
		break;
	case SQLITE_BLOB:
		add_blob(out, sqlite3_column_blob(s, i),
		    sqlite3_column_bytes(s, i));
		break;
	case SQLITE_FLOAT:
		/* JSON has no infinity; SQLite's own writes it like this. */
		d = sqlite3_column_double(s, i);
		if (isinf(d)) {
			sqlite3_str_appendall(out, d > 0 ? "9.0e+999" :
			    "-9.0e+999");
			break;
		}
		/* FALLTHROUGH */
	case SQLITE_INTEGER:
		sqlite3_str_appendall(out,
		    (const char *)sqlite3_column_text(s, i));
		break;
	default:
		add_text(out, (const char *)sqlite3_column_text(s, i),
		    sqlite3_column_bytes(s, i));
	}
}

static void
on_request(const struct kvm_request *r)
{
	const char *sql = NULL, *name;
	sqlite3_str *out = sqlite3_str_new(db);
	sqlite3_stmt *s;
	int e, i, rows = 0;
	char *text;

	if (r->content_len > 0)
		sql = strndup((const char *)r->content, r->content_len);
	else if (strncmp(r->url, "/q?", 3) == 0)
		sql = unescape(r->url + 3);
	if (sql == NULL)
		bad(404, "ask /q?SELECT+...");
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		bad(400, sqlite3_errmsg(db));
	if (s == NULL)
		bad(400, "no statement");
	sqlite3_str_appendall(out, "[");
	while ((e = sqlite3_step(s)) == SQLITE_ROW) {
		sqlite3_str_appendall(out, rows++ > 0 ? ",\n{" : "{");
		for (i = 0; i < sqlite3_column_count(s); i++) {
			if (i > 0)
				sqlite3_str_appendall(out, ",");
			name = sqlite3_column_name(s, i);
			add_text(out, name, (int)strlen(name));
			sqlite3_str_appendall(out, ":");
			add_value(out, s, i);
		}
		sqlite3_str_appendall(out, "}");
	}
	if (e != SQLITE_DONE)
		bad(400, sqlite3_errmsg(db));
	sqlite3_str_appendall(out, "]\n");
	text = sqlite3_str_finish(out);
	if (text == NULL)
		bad(500, "out of memory");
	respond(200, "application/json", text, strlen(text));
}

int
main(int argc, char **argv)
{

	if (argc > 1)
		open_file(argv[1]);
	else
		fill();
	kvm_keep_heap(4 << 20);
	kvm_serve(on_request);
}
