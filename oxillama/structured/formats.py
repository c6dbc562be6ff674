"""What the `format` of a JSON schema's string is held to: a pattern of its own, stricter than the standard where a
pattern cannot say all of it (a host name's length, who may write a leap second)."""

from __future__ import annotations

_DATE = (
    r"[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    # The years that have a 29th of February.
    r"|(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+\-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_CLOCK_PARTS = r"(?:[0-9]{1,3}H(?:[0-9]{1,3}M(?:[0-9]{1,3}S)?)?|[0-9]{1,3}M(?:[0-9]{1,3}S)?|[0-9]{1,3}S)"
_DAY_PARTS = r"(?:[0-9]{1,3}Y(?:[0-9]{1,3}M(?:[0-9]{1,3}D)?)?|[0-9]{1,3}M(?:[0-9]{1,3}D)?|[0-9]{1,3}D)"
_LABEL = r"[a-z0-9](?:-?[a-z0-9]){0,30}"
_HOST = rf"(?:{_LABEL}\.){{0,5}}[a-z](?:-?[a-z0-9]){{0,30}}"
_LOCAL_PART = r"[A-Za-z0-9_+]{1,20}(?:[.\-][A-Za-z0-9_+]{1,20}){0,2}"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_BYTE}\.){{3}}{_BYTE}"
_WORD = r"[0-9a-fA-F]{1,4}"


def _shortened(n_left: int) -> str:
    left = rf"{_WORD}(?::{_WORD}){{{n_left - 1}}}" if n_left else ""
    n_right = 7 - n_left
    right = rf"(?:{_WORD}(?::{_WORD}){{0,{n_right - 1}}})?" if n_right else ""
    return f"{left}::{right}"


_IPV6 = "|".join([rf"(?:{_WORD}:){{7}}{_WORD}", *map(_shortened, range(8))])
_SEGMENT = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@\-]|%[0-9A-F]{2})"
_AUTHORITY = rf"(?:{_HOST}|{_IPV4})(?::[1-9][0-9]{{0,3}})?"
_QUERY = rf"(?:\?(?:{_SEGMENT}|[/?])*)?(?:#(?:{_SEGMENT}|[/?])*)?"
_URI = rf"[a-z][a-z0-9+.\-]{{0,30}}:(?://{_AUTHORITY}(?:/{_SEGMENT}*)*|{_SEGMENT}+(?:/{_SEGMENT}*)*){_QUERY}"
_FIRST_SEGMENT = r"(?:[A-Za-z0-9._~!$&'()*+,;=@\-]|%[0-9A-F]{2})"
_REFERENCE = rf"{_URI}|(?:/|/?{_FIRST_SEGMENT}+(?:/{_SEGMENT}*)*)?{_QUERY}"
_POINTER = r"(?:/(?:[^~/]|~[01])*)*"
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"
_REGEX = r"\^?(?:(?:[A-Za-z0-9_ :/]|\\[dwsDWS.]|\.|\[[A-Za-z0-9_]+\])[*+?]?)*\$?"

STRING_FORMATS = {
    "date": _DATE,
    "date-time": rf"(?:{_DATE})T{_TIME}",
    "time": _TIME,
    "duration": rf"P(?:{_DAY_PARTS}(?:T{_CLOCK_PARTS})?|T{_CLOCK_PARTS}|[0-9]{{1,3}}W)",
    "email": rf"{_LOCAL_PART}@{_HOST}",
    "idn-email": rf"{_LOCAL_PART}@{_HOST}",
    "hostname": _HOST,
    "idn-hostname": _HOST,
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "ipvanyaddress": rf"{_IPV4}|{_IPV6}",
    "uuid": r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",
    "uri": _URI,
    "iri": _URI,
    "uri-reference": _REFERENCE,
    "iri-reference": _REFERENCE,
    "uri-template": rf"(?:{_SEGMENT}|[/?#]|\{{[A-Za-z_][A-Za-z0-9_]*\}})*",
    "json-pointer": _POINTER,
    "relative-json-pointer": rf"[0-9](?:#|{_POINTER})",
    "regex": _REGEX,
    "byte": _BASE64,
    "base64": _BASE64,
}
# They tell who shows or stores a value how to, and nothing about which texts it may be.
FREE_FORMATS = frozenset({"password", "binary", "path", "file-path", "directory-path"})
# Of numbers, from OpenAPI's registry of formats.
INTEGER_FORMATS = {
    "int8": (-(2**7), 2**7 - 1),
    "uint8": (0, 2**8 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    # Beyond 2**53 readers that have only floating-point numbers would read another value.
    "int64": (-(2**53), 2**53),
    "uint64": (0, 2**53),
}
