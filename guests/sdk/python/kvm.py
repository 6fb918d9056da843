# SPDX-License-Identifier: BSD-2-Clause
"""The guest API for Python. The main script runs once, before the freeze.

    import kvm

    @kvm.serve
    def handle(request):
        return f"Hello {request.url}\\n"

or, with a WSGI application (PEP 3333):

    kvm.serve_wsgi(application)

The answer is a string, bytes, or a kvm.Response. Bytes of the request's texts
that are no UTF-8 are escaped ("surrogateescape"), and are themselves again in
the answer. An exception is status 500
and its traceback in the log. Everything that was imported and made before the
freeze is there in every request; what a request changes is gone after it.
`random` is seeded anew for every request; os.urandom() is fresh by itself.
"""

import _kvm
import gc
import importlib.abc
import importlib.machinery
import io
import linecache
import sys
import traceback


class Request:
    """What is asked: method, url, arg, type (str), body (bytes), headers."""

    __slots__ = ("method", "url", "arg", "type", "body", "headers", "seed")

    def __init__(self, method, url, arg, type, body, headers, seed):
        self.method, self.url, self.arg, self.type = method, url, arg, type
        self.body, self.headers, self.seed = body, headers, seed

    def header(self, name, default=None):
        """The value of the first header of that name, in any case."""
        name = name.lower()
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return default


class Response:
    """An answer. headers: a dict or pairs. ttl, grace, keep: seconds.

    A ttl of 0 or less forbids caching; None leaves it to VCL.
    """

    __slots__ = ("body", "status", "type", "headers", "ttl", "grace", "keep")

    def __init__(self, body=b"", status=200, type="text/plain; charset=utf-8",
                 headers=(), ttl=None, grace=0, keep=0):
        self.body, self.status, self.type = body, status, type
        self.headers, self.ttl = headers, ttl
        self.grace, self.keep = grace, keep


log = _kvm.log

_handler = None


def serve(handler):
    """Says which function answers requests. Does not wait; gives it back."""
    global _handler
    _handler = handler
    return handler


def serve_wsgi(application):
    """Says which WSGI application answers requests. Gives it back.

    Request headers with an underscore in the name are left out: their variable
    would be that of the name with a dash.
    """
    serve(lambda request: _wsgi(application, request))
    return application


def _wsgi(application, request):
    path, _, query = request.url.partition("?")
    environ = {
        "REQUEST_METHOD": request.method, "SCRIPT_NAME": "",
        "PATH_INFO": _unquote(path), "QUERY_STRING": _latin1(query),
        "CONTENT_TYPE": _latin1(request.type),
        "CONTENT_LENGTH": str(len(request.body)),
        "SERVER_NAME": "localhost", "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "",
        "kvm.arg": request.arg, "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": _errors, "wsgi.multithread": False,
        "wsgi.multiprocess": True, "wsgi.run_once": False,
    }
    for name, value in request.headers:
        if "_" in name:
            continue
        value = _latin1(value)
        key = "HTTP_" + name.upper().replace("-", "_")
        if key in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            continue
        environ[key] = (f"{environ[key]},{value}" if key in environ
                        else value)
    host = environ.get("HTTP_HOST")
    if host:
        name, colon, port = host.rpartition(":")
        if not colon or port.endswith("]"):     # an address of IPv6
            name, port = host, ""
        environ["SERVER_NAME"] = name
        environ["SERVER_PORT"] = port or "80"
    answer = None
    written = []

    def start_response(status, headers, exc_info=None):
        nonlocal answer
        if exc_info is None:
            if answer is not None:
                raise RuntimeError("start_response() for the second time")
        elif written:
            raise exc_info[1].with_traceback(exc_info[2])
        answer = Response(status=int(status.split(" ", 1)[0]), headers=[
            (n, v.encode("latin-1")) for n, v in headers
            if n.lower() not in ("content-type", "content-length")])
        for n, v in headers:
            if n.lower() == "content-type":
                answer.type = v.encode("latin-1")
        return written.append

    chunks = application(environ, start_response)
    try:
        written.extend(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    if answer is None:
        raise RuntimeError("the application did not call start_response()")
    answer.body = b"".join(written)
    return answer


def _latin1(text):
    """A text of the request with a character for each byte: PEP 3333."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _unquote(path):
    """%xx decoded; bytes as Latin-1."""
    if "%" not in path:
        return _latin1(path)
    first, *rest = path.encode("utf-8", "surrogateescape").split(b"%")
    out = [first]
    for part in rest:
        digits = part[:2]
        # int() takes more than digits: signs, blanks.
        if len(digits) == 2 and not digits.strip(b"0123456789abcdefABCDEF"):
            out.append(bytes((int(digits, 16),)) + part[2:])
        else:
            out.append(b"%" + part)
    return b"".join(out).decode("latin-1")


class _Errors(io.TextIOBase):
    """sys.stdout, sys.stderr and wsgi.errors: lines of the log."""

    def __init__(self):
        self._line = ""

    def writable(self):
        return True

    def write(self, text):
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            _kvm.log(line)
        return len(text)

    def flush(self):
        if self._line:
            line, self._line = self._line, ""
            _kvm.log(line)


_errors = _Errors()


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the guest's own files."""

    def __init__(self, files):
        self.files = files

    def _file(self, name):
        base = name.replace(".", "/")
        for path in (base + ".py", base + "/__init__.py"):
            if path in self.files:
                return path
        return None

    def find_spec(self, name, path=None, target=None):
        file = self._file(name)
        if file is None:
            return None
        return importlib.machinery.ModuleSpec(
            name, self, origin=file,
            is_package=file.endswith("__init__.py"))

    def is_package(self, name):
        return (self._file(name) or "").endswith("__init__.py")

    def get_source(self, name):
        return self.files[self._file(name)].decode()

    def get_code(self, name):
        return compile(self.files[self._file(name)], self._file(name), "exec",
                       dont_inherit=True)


def read(name):
    """The content of one of the guest's files (in "sources"), as bytes."""
    return _files[name]


def _main():
    """Runs the main script."""
    global _files
    pairs = _kvm.files()
    _files = dict(pairs)
    sys.stdout = sys.stderr = _errors
    sys.meta_path.append(_Finder(_files))
    main, source = next((n, s) for n, s in pairs[1:] if n.endswith(".py"))
    for name, data in pairs:
        if name.endswith(".py"):
            text = data.decode()
            linecache.cache[name] = (len(data), None, text.splitlines(True),
                                     name)
    module = type(sys)("__main__")
    module.__file__ = main
    sys.modules["__main__"] = module
    exec(compile(source, main, "exec", dont_inherit=True), module.__dict__)
    if _handler is None:
        raise RuntimeError(f"{main} did not call kvm.serve()")
    _errors.flush()
    # No request lives long enough for cycles to matter, and looking for them
    # would write into every object.
    gc.collect()
    gc.freeze()
    gc.disable()


def _bytes(text):
    """What came as no UTF-8 goes out as it came."""
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")
    return text


def _dispatch(method, url, arg, type, body, headers, seed):
    random = sys.modules.get("random")
    if random is not None:
        random.seed(seed)
    answer = _handler(Request(method, url, arg, type, body, headers, seed))
    if not isinstance(answer, Response):
        answer = Response(answer)
    headers = answer.headers
    if isinstance(headers, dict):
        headers = headers.items()
    headers = [(_bytes(name), _bytes(value)) for name, value in headers]
    # Less than 0 is for the launcher: none.
    ttl = -1 if answer.ttl is None else max(0, answer.ttl)
    _errors.flush()
    _kvm.respond(answer.status, _bytes(answer.type), _bytes(answer.body),
                 headers, ttl, answer.grace, answer.keep)


def _explain(kind, value, trace):
    _errors.flush()
    if value is None:
        return "failed without an exception"
    text = "".join(traceback.format_exception(kind, value, trace))
    return text.rstrip()
