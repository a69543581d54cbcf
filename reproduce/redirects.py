"""Which redirects of a download are followed: its addresses are listed, so nobody else decides where it is from."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}

#: Protocol, host and port.
Server = tuple[str, str, int]


def follows(where: str, target: str, listed: Sequence[str], anywhere: bool = False) -> bool:
    """Whether a redirect is followed.

    On the same server, or to one of a listed address; there also from http to https, to which universities move, and
    never back.

    Parameters
    ----------
    where, target : str
        The addresses that it leads from and to.
    listed : sequence of str
        The addresses of the file.
    anywhere : bool, default False
        Whether any https address will do. For a mirror, which is the user's own word: public stores hand files out
        over servers of other names. Addresses of machines' own services, such as 169.254.169.254, speak http.
    """
    new = _server(target)
    if new is None or (urlsplit(where).scheme == "https" and new[0] != "https"):
        return False
    known = {server for address in (where, *listed) if (server := _server(address)) is not None}
    known |= {("https", host, 443) for scheme, host, port in known if (scheme, port) == ("http", 80)}
    return new in known or (anywhere and new[0] == "https")


def _server(address: str) -> Server | None:
    """None for an address that nothing is downloaded from."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or parts.hostname is None or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port
