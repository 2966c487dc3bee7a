"""Images from addresses that a request names, and never from this machine or its network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urljoin, urlsplit

from beholder.serve.refusal import Refusal

_MOST_HOPS = 3
_PORTS = {"http": 80, "https": 443}


async def fetch(url: str, most_bytes: int, seconds: float, param: str) -> bytes:
    """The content. Raises Refusal (400) for a private address, whatever name leads there and after every redirection,
    and for what is too large, too slow, or not there.

    The address is looked up once and connected to by number, so that a name cannot mean another address the second time
    (DNS rebinding).
    """
    try:
        async with asyncio.timeout(seconds):
            for _ in range(_MOST_HOPS + 1):
                status, headers, content = await _get(url, most_bytes, param)
                if status in (301, 302, 303, 307, 308) and "location" in headers:
                    url = urljoin(url, headers["location"])
                    continue
                if status != 200:
                    raise _refused(param, f"the address answered {status}")
                return content
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
        raise _refused(param, "the address does not answer, or not in time") from error
    raise _refused(param, "the address leads from one to another without end")


async def _get(url: str, most_bytes: int, param: str) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise _refused(param, "only plain http and https addresses are fetched")
    port = parts.port or _PORTS[parts.scheme]
    number = await _public_address(parts.hostname, port, param)
    is_safe = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        number, port, ssl=True if is_safe else None, server_hostname=parts.hostname if is_safe else None
    )
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if any(ord(letter) <= 32 or ord(letter) > 126 for letter in target + parts.netloc):
            raise _refused(param, "the address has letters that are not written in addresses")
        lines = (f"GET {target} HTTP/1.0", f"Host: {parts.netloc}", "Accept: image/*", "User-Agent: beholder", "", "")
        writer.write("\r\n".join(lines).encode("ascii"))
        await writer.drain()
        status, headers = _head(await reader.readuntil(b"\r\n\r\n"))
        content = b""
        while piece := await reader.read(1 << 16):
            content += piece
            if len(content) > most_bytes:
                raise _refused(param, f"what lies there is larger than {most_bytes:,} bytes")
        return status, headers, content
    finally:
        writer.close()


async def _public_address(host: str, port: int, param: str) -> str:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    numbers = [str(one[4][0]) for one in found]
    for number in numbers:
        if not is_public(number):
            raise _refused(param, "the address is a private one")
    return numbers[0]


def is_public(number: str) -> bool:
    """Whether an address is of the open internet: not this machine, its network, or one that stands for these."""
    address = ipaddress.ip_address(number.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is not None and not is_public(str(inner)):
            return False
        if address in ipaddress.ip_network("64:ff9b::/96"):  # an IPv4 address behind a translator
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
    return address.is_global and not address.is_multicast


def _head(text: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = text.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return int(first.split()[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _refused(param: str, reason: str) -> Refusal:
    return Refusal(400, f"{param}: {reason}.", param=param, code="invalid_image_url")
