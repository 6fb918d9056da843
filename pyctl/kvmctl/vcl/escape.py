# SPDX-License-Identifier: BSD-2-Clause
"""Values of users as VCL: nothing can break out of a string."""

import re

from kvmctl.errors import ManifestError

_PLAIN = re.compile(r'[^"\n\r]*')
#: Quotes and controls, with a backslash of their own if they have one; other
#: characters behind a backslash are passed over with it.
_UNSAFE_IN_REGEX = re.compile(r'\\?(["\x00-\x1f\x7f])|\\.', re.S)
_META = re.compile(r"[\\^$.|?*+()\[\]{}]")
# U+FDD0 to U+FDD2 are the marks of origin.py.
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff\ufdd0-\ufdd2]")
_COMMENT_UNSAFE = re.compile(r"[^\x20-\x7e]|\*/")


def string(value: str) -> str:
    """A VCL STRING expression with this value.

    VCL knows no escapes. A short string holds no quote and no line break; a
    long one, {"..."}, not its own end. Quotes therefore stand alone in long
    strings of one character, between the other pieces.
    """
    if _UNWRITABLE.search(value):
        raise ManifestError("a NUL byte, a surrogate or a noncharacter cannot "
                            "be written in VCL")
    if _PLAIN.fullmatch(value):
        return f'"{value}"'
    pieces = []
    for piece in re.split(r'(")', value):
        if piece == '"':
            pieces.append('{"""}')
        elif piece and _PLAIN.fullmatch(piece):
            pieces.append(f'"{piece}"')
        elif piece:
            pieces.append('{"' + piece + '"}')
    return " + ".join(pieces)


def regex(pattern: str) -> str:
    """A VCL regular expression literal: quotes and controls as \\xNN."""
    if _UNWRITABLE.search(pattern.replace("\0", "")):
        raise ManifestError("a surrogate or a noncharacter cannot be written "
                            "in VCL")
    safe = _UNSAFE_IN_REGEX.sub(
        lambda m: f"\\x{ord(m[1]):02x}" if m[1] else m[0], pattern)
    return f'"{safe}"'


def duration(seconds: float) -> str:
    """A VCL DURATION: no exponents, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def real(value: float) -> str:
    """A VCL REAL: no exponent."""
    return f"{value:.6f}".rstrip("0") + ("0" if float(value).is_integer()
                                         else "")


def literal(text: str) -> str:
    """Text that a regular expression matches as it is."""
    return _META.sub(lambda m: "\\" + m.group(), text)


def comment(text: str) -> str:
    """Text that stays within a # comment."""
    return _COMMENT_UNSAFE.sub("?", text)


def host_regex(host: str) -> str:
    """The pattern of a host name, *.example.com included; any port."""
    parts = [literal(p) for p in host.split("*")]
    return "(?i)^" + "[^.:]+".join(parts) + "(:[0-9]+)?$"


def path_regex(kind: str, path: str) -> str:
    """The pattern of req.url for a route's path."""
    if kind == "exact":
        return "^" + literal(path) + r"(\?|$)"
    if kind == "prefix":
        return "^" + literal(path)
    return path
