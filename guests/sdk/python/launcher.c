/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * CPython 3.11 as a guest: static, its library frozen in the executable. The
 * rest, what scripts see, is in kvm.py.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "answer.h"
#include "embed.h"

extern const struct _frozen kvm_frozen_stdlib[];

static PyObject *dispatch;		/* kvm._dispatch */
static struct kvm_answer answer;
static PyObject *answered;		/* what it points to, or NULL */

/* Text may have what is no UTF-8 (new_text()): the log shows it escaped. */
static bool
log_text(PyObject *text)
{
	PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8",
	    "backslashreplace");

	if (bytes == NULL)
		return (false);
	sys_log(PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
	Py_DECREF(bytes);
	return (true);
}

/* Logs the exception that is pending with its traceback. */
static void
log_exception(void)
{
	static const char unknown[] = "an exception that cannot be shown";
	PyObject *type, *value, *trace, *kvm, *text = NULL;

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	if (trace != NULL)
		(void)PyException_SetTraceback(value, trace);
	kvm = PyImport_ImportModule("kvm");
	if (kvm != NULL)
		text = PyObject_CallMethod(kvm, "_explain", "OOO",
		    type != NULL ? type : Py_None,
		    value != NULL ? value : Py_None,
		    trace != NULL ? trace : Py_None);
	if (text == NULL || !log_text(text))
		sys_log(unknown, sizeof unknown - 1);
}

static KVM_NORETURN void
request_failed(void)
{

	log_exception();
	respond_text(500, "The program failed; its log says why.\n");
}

/*--------------------------------------------------------------------
 * The module "_kvm"
 */

static PyObject *
f_log(PyObject *self, PyObject *arg)
{

	(void)self;
	if (!log_text(arg))
		return (NULL);
	Py_RETURN_NONE;
}

/* The names and contents of the guest's files, main script first. */
static PyObject *
f_files(PyObject *self, PyObject *none)
{
	PyObject *list = PyList_New(0), *pair;
	const struct kvm_file *f;

	(void)self;
	(void)none;
	for (f = kvm_files; list != NULL && f->name != NULL; f++) {
		pair = Py_BuildValue("(sy#)", f->name, f->data,
		    (Py_ssize_t)f->len);
		if (pair == NULL || PyList_Append(list, pair) < 0)
			return (NULL);
		Py_DECREF(pair);
	}
	return (list);
}

/*
 * respond(status, type, body, [(name, value)], ttl, grace, keep): the answer,
 * which is sent when Python has come back to on_request(). Its frames would be
 * left behind otherwise, and in a program that is not reset each request's.
 */
static PyObject *
f_respond(PyObject *self, PyObject *args)
{
	struct kvm_answer *a = &answer;
	PyObject *headers, *item;
	double ttl, grace, keep;
	const char *name, *value;
	Py_ssize_t i, body_len, name_len, value_len;

	(void)self;
	kvm_answer_init(a);
	if (!PyArg_ParseTuple(args, "iyy#O!ddd", &a->status, &a->type, &a->body,
	    &body_len, &PyList_Type, &headers, &ttl, &grace, &keep))
		return (NULL);
	a->body_len = (size_t)body_len;
	for (i = 0; i < PyList_GET_SIZE(headers); i++) {
		item = PyList_GET_ITEM(headers, i);
		if (!PyArg_ParseTuple(item, "s#s#", &name, &name_len, &value,
		    &value_len))
			return (NULL);
		if (kvm_answer_header(a, name, (size_t)name_len, value,
		    (size_t)value_len)) {
			PyErr_SetString(PyExc_ValueError,
			    "too many headers in the answer");
			return (NULL);
		}
	}
	if (ttl >= 0)
		kvm_answer_cache(a, ttl, grace, keep);
	Py_INCREF(args);
	answered = args;
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{ "log", f_log, METH_O, NULL },
	{ "files", f_files, METH_NOARGS, NULL },
	{ "respond", f_respond, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL }
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT, "_kvm", NULL, -1, methods, NULL, NULL, NULL,
	NULL
};

static PyObject *
init_kvm(void)
{

	return (PyModule_Create(&module));
}

/*--------------------------------------------------------------------*/

/* Any bytes: what is no UTF-8 is escaped, as in Python's own file names. */
static PyObject *
new_text(const char *s, size_t len)
{

	return (PyUnicode_DecodeUTF8(s, (Py_ssize_t)len, "surrogateescape"));
}

static PyObject *
new_headers(const struct kvm_request *r)
{
	PyObject *list = PyList_New(r->num_headers), *pair;
	const struct kvm_request_header *h;
	const char *value;
	unsigned n;

	for (n = 0; list != NULL && n < r->num_headers; n++) {
		h = &r->headers[n];
		value = h->field + h->field_colon + 1;
		while (*value == ' ' || *value == '\t')
			value++;
		pair = PyTuple_New(2);
		if (pair == NULL)
			return (NULL);
		PyTuple_SET_ITEM(pair, 0, new_text(h->field, h->field_colon));
		PyTuple_SET_ITEM(pair, 1, new_text(value,
		    (size_t)(h->field + h->field_len - value)));
		PyList_SET_ITEM(list, n, pair);
	}
	return (list);
}

static void
on_request(const struct kvm_request *r)
{
	PyObject *done;

	kvm_answer_free(&answer);
	Py_CLEAR(answered);
	done = PyObject_CallFunction(dispatch, "NNNNy#NK",
	    new_text(r->method, r->method_len), new_text(r->url, r->url_len),
	    new_text(r->arg, r->arg_len),
	    new_text(r->content_type, r->content_type_len), r->content != NULL ?
	    (const char *)r->content : "", (Py_ssize_t)r->content_len,
	    new_headers(r), (unsigned long long)r->prng[0]);
	if (done == NULL)
		request_failed();
	Py_DECREF(done);
	if (answered == NULL)
		kvm_answer_failed("the handler did not answer");
	kvm_answer_send(&answer);
}

static void
start_python(void)
{
	PyConfig config;
	PyPreConfig before;
	PyStatus s;

	PyPreConfig_InitIsolatedConfig(&before);
	before.utf8_mode = 1;
	s = Py_PreInitialize(&before);
	if (PyStatus_Exception(s))
		kvm_boot_failed(s.err_msg);
	PyImport_FrozenModules = kvm_frozen_stdlib;
	if (PyImport_AppendInittab("_kvm", init_kvm) < 0)
		kvm_boot_failed("Python: out of memory");
	PyConfig_InitIsolatedConfig(&config);
	config.site_import = 0;
	config.write_bytecode = 0;
	config.install_signal_handlers = 0;
	config.pathconfig_warnings = 0;
	config.module_search_paths_set = 1;
	config.use_frozen_modules = 1;
	/* Given, so that no file is looked for. */
	(void)PyConfig_SetString(&config, &config.program_name, L"python3");
	(void)PyConfig_SetString(&config, &config.executable, L"");
	(void)PyConfig_SetString(&config, &config.base_executable, L"");
	(void)PyConfig_SetString(&config, &config.prefix, L"");
	(void)PyConfig_SetString(&config, &config.base_prefix, L"");
	(void)PyConfig_SetString(&config, &config.exec_prefix, L"");
	(void)PyConfig_SetString(&config, &config.base_exec_prefix, L"");
	(void)PyConfig_SetString(&config, &config.stdlib_dir, L"");
	s = Py_InitializeFromConfig(&config);
	if (PyStatus_Exception(s))
		kvm_boot_failed(s.err_msg);
	PyConfig_Clear(&config);
}

/* The SDK's module: the first of the embedded files. */
static PyObject *
load_kvm(void)
{
	PyObject *code, *kvm;

	code = Py_CompileString(kvm_files[0].data, "kvm.py", Py_file_input);
	if (code == NULL)
		return (NULL);
	kvm = PyImport_ExecCodeModule("kvm", code);
	Py_DECREF(code);
	return (kvm);
}

int
main(void)
{
	PyObject *kvm;

	start_python();
	kvm = load_kvm();
	if (kvm == NULL || PyObject_CallMethod(kvm, "_main", NULL) == NULL) {
		log_exception();
		return (1);
	}
	dispatch = PyObject_GetAttrString(kvm, "_dispatch");
	kvm_keep_heap(KVM_LAUNCHER_HEAP);
	kvm_serve(on_request);
}
