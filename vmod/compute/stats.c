/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What stats() prints.
 */

#include <stdlib.h>
#include <string.h>

#include "object.h"
#include "program.h"
#include "regex.h"

static const struct {
	const char	*name;
	size_t		offset;
} fields[] = {
#define F(name)	{ #name, offsetof(struct tkc_counters, name) }
	F(invocations), F(resets), F(exceptions), F(timeouts),
	F(memory_exceeded), F(error_handled), F(reservations),
	F(reservation_timeouts), F(queue_refused), F(exits), F(pages_written), F(input_bytes),
	F(output_bytes), F(status_2xx), F(status_3xx), F(status_4xx),
	F(status_5xx), F(boots), F(boot_failures), F(unknown_calls), F(fetches),
	F(fetches_failed), F(self_requests), F(self_requests_failed),
	F(storage_calls), F(storage_errors), F(storage_tasks),
	F(storage_task_errors), F(storage_queue), F(storage_timers),
	F(state_saves), F(state_errors), F(live_updates),
	F(live_update_failures), F(socket_clients), F(socket_events),
	F(sockets_open), F(forks),
	F(forks_busy), F(queue_length), F(master_bytes), F(working_set_bytes),
#undef F
};

static const struct {
	const char	*name;
	size_t		offset;
} times[] = {
#define F(name, field)	{ name, offsetof(struct tkc_counters, field) }
	F("reservation_time", reservation_ns),
	F("request_time", request_ns),
	F("reset_time", reset_ns),
	F("fetch_time", fetch_ns),
	F("storage_wait_time", storage_wait_ns),
	F("storage_time", storage_ns),
	F("boot_time", boot_ns),
#undef F
};

void
tkc_counters(struct tkc_program *p, struct tkc_counters *c)
{

	TK_CHECK_OBJ(p, TKC_PROGRAM_MAGIC);
	(void)pthread_mutex_lock(&p->lock);
	*c = p->total;
	(void)pthread_mutex_unlock(&p->lock);
}

static const char *
state_name(enum tkc_state s)
{

	switch (s) {
	case TKC_UP: return ("up");
	case TKC_BOOTING: return ("booting");
	case TKC_FAILED: return ("failed");
	default: return ("down");
	}
}

static json_t *
one(struct tkc_program *p)
{
	json_t *j = json_object();
	const char *c;
	size_t i;

	(void)pthread_mutex_lock(&p->lock);
	(void)json_object_set_new(j, "state",
	    json_string(state_name(p->state)));
	(void)json_object_set_new(j, "group", json_string(p->settings.group));
	if (p->settings.filename != NULL)
		(void)json_object_set_new(j, "filename",
		    json_string(p->settings.filename));
	if (p->settings.uri != NULL)
		(void)json_object_set_new(j, "uri",
		    json_string(p->settings.uri));
	if (p->state == TKC_FAILED)
		(void)json_object_set_new(j, "error",
		    json_string(p->last_error.text));
	c = (const char *)&p->total;
	for (i = 0; i < sizeof fields / sizeof fields[0]; i++)
		(void)json_object_set_new(j, fields[i].name, json_integer(
		    (json_int_t)*(const uint64_t *)(const void *)
		    (c + fields[i].offset)));
	for (i = 0; i < sizeof times / sizeof times[0]; i++)
		(void)json_object_set_new(j, times[i].name, json_real(
		    (double)*(const uint64_t *)(const void *)
		    (c + times[i].offset) / 1e9));
	if (p->total.invocations > 0)
		(void)json_object_set_new(j, "exits_per_request", json_real(
		    (double)p->total.exits / (double)p->total.invocations));
	(void)json_object_set_new(j, "unknown_calls_by_name",
	    json_deep_copy(p->unknown));
	(void)json_object_set_new(j, "refused_by_name",
	    json_deep_copy(p->refused));
	(void)pthread_mutex_unlock(&p->lock);
	return (j);
}

char *
tkc_stats(struct tkc_registry *r, const char *pattern, int indent,
    struct tkc_error *err)
{
	struct tkc_program *p;
	struct tkc_regex *re;
	json_t *all, *programs;
	char *text;

	TK_CHECK_OBJ(r, TKC_REGISTRY_MAGIC);
	re = tkc_regex_new(pattern, err);
	if (re == NULL)
		return (NULL);
	all = json_object();
	programs = json_object();
	(void)pthread_mutex_lock(&r->lock);
	p = r->programs;
	(void)pthread_mutex_unlock(&r->lock);
	for (; p != NULL; p = p->next)
		if (tkc_regex_match(re, p->name))
			(void)json_object_set_new(programs, p->name, one(p));
	tkc_regex_free(&re);
	(void)json_object_set_new(all, "programs", programs);
	text = json_dumps(all, indent < 0 ? JSON_COMPACT :
	    JSON_INDENT(indent > 8 ? 8 : (unsigned)indent));
	json_decref(all);
	if (text == NULL)
		(void)tkc_fail(err, TKC_ENVIRONMENT, "Out of memory");
	return (text);
}

void
tkc_stats_free(char *text)
{

	free(text);
}

char *
tkc_host_report(struct tkc_error *err)
{
	const struct tk_host_facts *f;
	const struct tk_host *h;
	struct tk_error core;
	char *text;
	json_t *j;

	h = tk_host(&core);
	if (h == NULL) {
		(void)tkc_fail(err, TKC_ENVIRONMENT, "%s", core.text);
		return (NULL);
	}
	f = tk_host_facts(h);
	j = json_pack("{s:s, s:i, s:b, s:b, s:b, s:I}",
	    "kernel", f->kernel, "kvm_api", f->api_version,
	    "syscall_lands_in_ring3", f->syscall_lands_in_ring3,
	    "rip_after_out", f->rip_after_out,
	    "guest_tsc_is_host_tsc", f->guest_tsc_is_host_tsc,
	    "xcr0", (json_int_t)f->xcr0);
	text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	if (text == NULL)
		(void)tkc_fail(err, TKC_ENVIRONMENT, "Out of memory");
	return (text);
}

char *
tkc_linux_calls(struct tkc_error *err)
{
	struct tk_linux_row row;
	json_t *all = json_array();
	unsigned i;
	char *text;

	for (i = 0; tk_linux_row(i, &row); i++)
		if (row.name != NULL)
			(void)json_array_append_new(all, json_pack(
			    "{s:i, s:s, s:s, s:s}", "number", (int)i, "name",
			    row.name, "support", row.support, "note",
			    row.note));
	text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	if (text == NULL)
		(void)tkc_fail(err, TKC_ENVIRONMENT, "Out of memory");
	return (text);
}
