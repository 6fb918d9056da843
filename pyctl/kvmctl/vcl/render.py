# SPDX-License-Identifier: BSD-2-Clause
"""edge.toml to VCL, through the templates in vcl/ and the user's own."""

import hmac
import traceback
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import jinja2
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from kvmctl import __version__, paths
from kvmctl.errors import KvmctlError, ManifestError
from kvmctl.policy import ErrorPage
from kvmctl.site import Route, Site
from kvmctl.vcl import escape, origin, snippets


def condition(route: Route, request: str = "req") -> str:
    """The route's VCL condition; "true" when it takes everything.

    request is the VCL object that is looked at: req or bereq.
    """
    parts = []
    if route.host is not None:
        parts.append(f"{request}.http.host ~ "
                     + escape.regex(escape.host_regex(route.host)))
    if route.path_kind != "any":
        pattern = escape.path_regex(route.path_kind, route.path)
        parts.append(f"{request}.url ~ " + escape.regex(pattern))
    if route.methods:
        # Whoever may GET may ask for the HEAD of it.
        allowed = dict.fromkeys(
            route.methods + (("HEAD",) if "GET" in route.methods else ()))
        names = "|".join(escape.literal(m) for m in allowed)
        parts.append(f"{request}.method ~ " + escape.regex(f"^({names})$"))
    return " && ".join(parts) or "true"


def _string(value: str) -> str:
    return escape.string(value).replace("\n", origin.KEEP)


def _statuses(page: ErrorPage, response: str) -> str:
    return " || ".join(f"{response}.status == {s}" for s in page.status)


def _parameters(names: tuple[str, ...]) -> str:
    """The pattern of these parameters in a query."""
    each = [escape.literal(n[:-1]) + "[^=&]*" if n.endswith("*")
            else escape.literal(n) for n in names]
    return "([?&])(" + "|".join(each) + ")(=[^&]*)?(?=&|$)"


def _cacheable(route: Route) -> bool:
    """Does the route say anything about what is fetched?"""
    return (route.ttl is not None or route.grace is not None
            or route.keep is not None or route.strip_cookies or route.esi)


@jinja2.pass_context
def _hint(context: jinja2.runtime.Context, name: str) -> str:
    """The backend of an origin or director."""
    site: Site = context["site"]
    if any(d.name == name for d in site.policy.directors):
        kind = next(d.kind for d in site.policy.directors if d.name == name)
        return (f"director_{name}.backend("
                + ("req.url" if kind == "hash" else "") + ")")
    return f"origin_{name}"


def _used(site: Site) -> dict[str, set[str]]:
    """VCL refuses backends and ACLs that nothing names."""
    origins = {r.origin for r in site.routes if r.origin}
    origins |= set(site.policy.health_origins)
    for director in site.policy.directors:
        origins |= set(director.origins)
    acls = {r.acl for r in site.routes if r.acl}
    if site.policy.purge:
        acls.add(site.policy.purge)
    return {"origins_used": origins, "acls_used": acls}


class _Sandbox(SandboxedEnvironment):
    """Templates write VCL. Whoever made them runs nothing here by that.

    They see the fields of a site, not what its classes do; of a path its name.
    """

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, PurePath):
            return attr == "name"
        ours = type(obj).__module__.partition(".")[0] == "kvmctl"
        return not (ours and callable(value)) \
            and super().is_safe_attribute(obj, attr, value)


@lru_cache(maxsize=8)
def _environment(own: Path | None, templates: Path,
                 names: tuple[str, ...] = ()) -> Environment:
    """names are those of own's templates: a new one makes another choice."""
    directories = [d for d in (own, templates) if d is not None]
    env = _Sandbox(
        loader=ChoiceLoader([FileSystemLoader(d) for d in directories]),
        autoescape=False, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
        extensions=[origin.Marks])
    env.filters |= {
        "vcl": _string, "comment": escape.comment,
        "duration": escape.duration, "condition": condition,
        "hint": _hint, "regex": escape.regex, "literal": escape.literal,
        "real": escape.real, "statuses": _statuses, "parameters": _parameters}
    env.tests["cacheable"] = _cacheable
    return env


def _rendered(env: Environment, template: str, own: bool = False,
              **values: Any) -> str:
    """own: some templates are the user's, and so may be what is wrong."""
    try:
        return env.get_template(template).render(version=__version__, **values)
    except jinja2.TemplateSyntaxError as e:
        raise ManifestError(f"{e.filename or e.name}, line {e.lineno}: "
                            f"{e.message}") from None
    except KvmctlError:
        raise
    except Exception as e:
        theirs = isinstance(e, jinja2.TemplateError)
        if not (own or theirs):
            raise
        where = [f"{frame.filename}, line {frame.lineno}" for frame in
                 traceback.extract_tb(e.__traceback__)
                 if frame.filename.endswith(".j2")]
        kind = ("there is no template " if isinstance(e, jinja2.TemplateNotFound)
                else "" if theirs else f"{type(e).__name__}: ")
        raise ManifestError(f"the template {(where or [template])[-1]}: "
                            f"{kind}{e}") from None


def mark_of(token: str, release: str) -> str:
    """By what a release knows kvmctl's own requests, once they are in it.

    Its programs may see it: it opens no other release, and tells no token.
    """
    return hmac.new(token.encode(), release.encode(),
                    "sha256").hexdigest()[:32]


def marked(site: Site, library: Path | None, release: str,
           vmod: Path | None = None, token: str = "", space: str = "") -> str:
    """As render(), with the marks of origin.lines()."""
    own = site.vcl if site.vcl and site.vcl.is_dir() else None
    names = tuple(sorted(p.name for p in own.glob("*.j2"))) if own else ()
    env = _environment(own, paths.templates(), names)
    token = token or "none"
    return _rendered(
        env, "site.vcl.j2", own=bool(names), site=site,
        library=str(library) if library else None, release=release,
        vmod=str(vmod) if vmod else None, token=token,
        mark=mark_of(token, release), space=space,
        snippets=lambda: snippets.text(site.vcl), **_used(site))


def render(site: Site, library: Path | None, release: str,
           vmod: Path | None = None, token: str = "", space: str = "") -> str:
    """The VCL of a site.

    library is the programs file that the VCL names; vmod the shared object to
    import when it is not in vmod_path; token what kvmctl's own requests carry;
    space, when not empty, keeps its part of the cache apart.
    """
    return origin.strip(marked(site, library, release, vmod, token, space))


def render_router(site: str, token: str, labels: dict[str, str],
                  percent: float = 0, header: tuple[str, str] | None = None,
                  cookie: str = "") -> str:
    """The VCL that passes requests on to the labels stable, probe, canary."""
    share = max(0, min(2 ** 32, round(percent / 100 * 2 ** 32)))
    return origin.strip(_rendered(
        _environment(None, paths.templates()), "router.vcl.j2", site=site,
        token=token, labels=labels, percent=f"{percent:g}" if percent else "",
        share=share, header=header, cookie=cookie))
