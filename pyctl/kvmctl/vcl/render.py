# SPDX-License-Identifier: BSD-2-Clause
"""edge.toml to VCL, through the templates in vcl/."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kvmctl import __version__, paths
from kvmctl.site import Route, Site
from kvmctl.vcl import escape


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


def render(site: Site, library: Path | None, release: str,
           vmod: Path | None = None) -> str:
    """The VCL of a site.

    library is the programs file that the VCL names; vmod the shared object to
    import when it is not in vmod_path.
    """
    env = Environment(
        loader=FileSystemLoader(paths.templates()), autoescape=False,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True)
    env.filters["vcl"] = escape.string
    env.filters["comment"] = escape.comment
    env.filters["duration"] = escape.duration
    env.filters["condition"] = condition
    return env.get_template("site.vcl.j2").render(
        site=site, library=str(library) if library else None,
        release=release, vmod=str(vmod) if vmod else None,
        version=__version__)
