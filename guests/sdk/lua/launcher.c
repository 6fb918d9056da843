/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Lua 5.4 or LuaJIT as a guest. The main script runs once, before the freeze:
 *
 *	kvm.serve(function(request)
 *		return { body = "Hello " .. request.url }
 *	end)
 *
 * request: method, url, arg, type, body (strings), headers (names in lower
 * case). The answer is a string, or a table with any of status, type, body,
 * headers, ttl, grace, keep (seconds; ttl 0 forbids caching). A list among the
 * headers is a field of each. An error, or no answer, is status 500 and its
 * message in the log.
 *
 * kvm.log(text) writes to the log. require() finds the guest's other files.
 * math.random is seeded anew for every request.
 */

#include <ctype.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "answer.h"
#include "embed.h"

/*
 * Reserved, never touched: collecting garbage begins when memory has doubled,
 * so requests that make less than this leave the heap's marks alone.
 */
#define BALLAST		((size_t)4 << 20)

#if LUA_VERSION_NUM < 502
#define SEARCHERS	"loaders"
#define lua_rawlen	lua_objlen
#else
#define SEARCHERS	"searchers"
#endif

static lua_State *lua;
static int handler = LUA_NOREF, seeder = LUA_NOREF;

static int
on_error(lua_State *L)
{
	const char *what = lua_tostring(L, 1);

	luaL_traceback(L, L, what != NULL ? what : "an error without a text",
	    1);
	return (1);
}

/*--------------------------------------------------------------------
 * The module "kvm"
 */

static int
l_serve(lua_State *L)
{

	luaL_checktype(L, 1, LUA_TFUNCTION);
	luaL_unref(L, LUA_REGISTRYINDEX, handler);
	lua_settop(L, 1);
	handler = luaL_ref(L, LUA_REGISTRYINDEX);
	return (0);
}

static int
l_log(lua_State *L)
{
	const char *text;
	size_t len;

	text = luaL_checklstring(L, 1, &len);
	sys_log(text, len);
	return (0);
}

static const luaL_Reg functions[] = {
	{ "serve", l_serve },
	{ "log", l_log },
	{ NULL, NULL }
};

/* A searcher of require(): "a.b" is a/b.lua among the guest's files. */
static int
l_search(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1), *path;
	const struct kvm_file *f;

	luaL_gsub(L, name, ".", "/");
	lua_pushliteral(L, ".lua");
	lua_concat(L, 2);
	path = lua_tostring(L, -1);
	f = kvm_file_find(path);
	if (f == NULL) {
		lua_pushfstring(L, "\n\tthe guest has no file '%s'", path);
		return (1);
	}
	if (luaL_loadbuffer(L, f->data, f->len,
	    lua_pushfstring(L, "@%s", path)) != 0)
		return (lua_error(L));
	lua_pushstring(L, path);
	return (2);
}

static void
open_module(lua_State *L)
{
	const luaL_Reg *r;
	int n;

	lua_newtable(L);
	for (r = functions; r->name != NULL; r++) {
		lua_pushcfunction(L, r->func);
		lua_setfield(L, -2, r->name);
	}
	lua_setglobal(L, "kvm");

	lua_getglobal(L, "package");
	lua_getfield(L, -1, SEARCHERS);
	n = (int)lua_rawlen(L, -1);
	lua_pushcfunction(L, l_search);
	lua_rawseti(L, -2, n + 1);
	lua_pop(L, 2);

	lua_getglobal(L, "math");
	lua_getfield(L, -1, "randomseed");
	seeder = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pop(L, 1);
}

/*--------------------------------------------------------------------
 * Requests
 */

static void
set_text(lua_State *L, const char *key, const char *text, size_t len)
{

	lua_pushlstring(L, text, len);
	lua_setfield(L, -2, key);
}

/* names[lower case] = value; values of one name are joined by ", ". */
static void
push_headers(lua_State *L, const struct kvm_request *r)
{
	const struct kvm_request_header *h;
	const char *value;
	char name[256];
	unsigned n, i;

	lua_createtable(L, 0, r->num_headers);
	for (n = 0; n < r->num_headers; n++) {
		h = &r->headers[n];
		if (h->field_colon >= sizeof name)
			continue;
		for (i = 0; i < h->field_colon; i++)
			name[i] = (char)tolower((unsigned char)h->field[i]);
		value = h->field + h->field_colon + 1;
		while (*value == ' ' || *value == '\t')
			value++;
		lua_pushlstring(L, name, h->field_colon);
		lua_pushvalue(L, -1);
		lua_rawget(L, -3);
		if (lua_isnil(L, -1)) {
			lua_pop(L, 1);
			lua_pushstring(L, value);
		} else {
			lua_pushfstring(L, "%s, %s", lua_tostring(L, -1),
			    value);
			lua_remove(L, -2);
		}
		lua_rawset(L, -3);
	}
}

static void
push_request(lua_State *L, const struct kvm_request *r)
{

	lua_createtable(L, 0, 6);
	set_text(L, "method", r->method, r->method_len);
	set_text(L, "url", r->url, r->url_len);
	set_text(L, "arg", r->arg, r->arg_len);
	set_text(L, "type", r->content_type, r->content_type_len);
	set_text(L, "body", (const char *)r->content, r->content_len);
	push_headers(L, r);
	lua_setfield(L, -2, "headers");
}

static double
number_field(lua_State *L, int table, const char *key)
{
	double v;

	lua_getfield(L, table, key);
	v = lua_tonumber(L, -1);
	lua_pop(L, 1);
	return (v);
}

/* The value is at the top of the stack. */
static void
take_header(lua_State *L, struct kvm_answer *a, int at)
{
	const char *name, *value;
	size_t name_len, value_len;

	if (lua_type(L, at) != LUA_TSTRING || !lua_isstring(L, -1))
		luaL_error(L, "headers of the answer are strings by name, or "
		    "lists of them");
	name = lua_tolstring(L, at, &name_len);
	value = lua_tolstring(L, -1, &value_len);
	if (kvm_answer_header(a, name, name_len, value, value_len))
		luaL_error(L, "too many headers in the answer");
}

static void
take_headers(lua_State *L, struct kvm_answer *a)
{
	int at, i;

	for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
		at = lua_gettop(L) - 1;
		if (!lua_istable(L, -1)) {
			take_header(L, a, at);
			continue;
		}
		for (i = 1; i <= (int)lua_rawlen(L, at + 1); i++) {
			lua_rawgeti(L, at + 1, i);
			take_header(L, a, at);
			lua_pop(L, 1);
		}
	}
}

/* The answer at the top of the stack, which stays there with its strings. */
static void
take_answer(lua_State *L, struct kvm_answer *a)
{
	int t = lua_gettop(L);

	if (lua_type(L, t) == LUA_TSTRING) {
		a->body = lua_tolstring(L, t, &a->body_len);
		return;
	}
	if (!lua_istable(L, t))
		luaL_error(L, "the handler's answer is a %s, not a string or "
		    "a table", luaL_typename(L, t));
	if (lua_rawlen(L, t) > 0)
		luaL_error(L, "the handler's answer is a list, not a string or "
		    "a table of its parts");
	lua_getfield(L, t, "status");
	if (!lua_isnil(L, -1))
		a->status = (int)lua_tonumber(L, -1);
	lua_getfield(L, t, "type");
	if (lua_isstring(L, -1))
		a->type = lua_tostring(L, -1);
	lua_getfield(L, t, "body");
	if (lua_isstring(L, -1))
		a->body = lua_tolstring(L, -1, &a->body_len);
	else if (!lua_isnil(L, -1))
		luaL_error(L, "the answer's body is a %s, not a string",
		    luaL_typename(L, -1));
	lua_getfield(L, t, "ttl");
	if (lua_isnumber(L, -1))
		kvm_answer_cache(a, lua_tonumber(L, -1),
		    number_field(L, t, "grace"), number_field(L, t, "keep"));
	lua_getfield(L, t, "headers");
	if (lua_istable(L, -1))
		take_headers(L, a);
}

/* Runs protected: (request, answer) as light userdata. */
static int
l_request(lua_State *L)
{
	const struct kvm_request *r = lua_touserdata(L, 1);
	struct kvm_answer *a = lua_touserdata(L, 2);

	lua_rawgeti(L, LUA_REGISTRYINDEX, seeder);
#if LUA_VERSION_NUM < 502
	/* A double has 53 bits. */
	lua_pushnumber(L, (double)(r->prng[0] >> 11));
	lua_call(L, 1, 0);
#else
	lua_pushinteger(L, (lua_Integer)r->prng[0]);
	lua_pushinteger(L, (lua_Integer)r->prng[1]);
	lua_call(L, 2, 0);
#endif
	lua_rawgeti(L, LUA_REGISTRYINDEX, handler);
	push_request(L, r);
	lua_call(L, 1, 1);
	take_answer(L, a);
	/* The strings live on: nothing collects before the answer is sent. */
	return (0);
}

static void
on_request(const struct kvm_request *r)
{
	static struct kvm_answer answer;

	kvm_answer_free(&answer);
	kvm_answer_init(&answer);
	lua_settop(lua, 0);
	lua_pushcfunction(lua, on_error);
	lua_pushcfunction(lua, l_request);
	lua_pushlightuserdata(lua, (void *)(uintptr_t)r);
	lua_pushlightuserdata(lua, &answer);
	if (lua_pcall(lua, 2, 0, 1) != 0)
		kvm_answer_failed(lua_tostring(lua, -1));
	kvm_answer_send(&answer);
}

int
main(void)
{

	lua = luaL_newstate();
	if (lua == NULL)
		kvm_boot_failed("Lua: out of memory");
	luaL_openlibs(lua);
	open_module(lua);
	lua_pushcfunction(lua, on_error);
	lua_pushfstring(lua, "@%s", kvm_files[0].name);
	if (luaL_loadbuffer(lua, kvm_files[0].data, kvm_files[0].len,
	    lua_tostring(lua, -1)) != 0)
		kvm_boot_failed(lua_tostring(lua, -1));
	if (lua_pcall(lua, 0, 0, 1) != 0)
		kvm_boot_failed(lua_tostring(lua, -1));
	if (handler == LUA_NOREF)
		kvm_boot_failed("the script did not call kvm.serve()");
	lua_settop(lua, 0);
	(void)lua_newuserdata(lua, BALLAST);
	(void)luaL_ref(lua, LUA_REGISTRYINDEX);
	lua_gc(lua, LUA_GCCOLLECT, 0);
	kvm_keep_heap(KVM_LAUNCHER_HEAP);
	kvm_serve(on_request);
}
