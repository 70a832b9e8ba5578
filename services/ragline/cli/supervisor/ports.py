"""Whether the ports of the service are free, said before anything is started."""

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ragline.cli.failures import CannotStart

__all__ = ["Port", "PortTaken", "check_ports"]


class PortTaken(CannotStart):
    """At least one port cannot be used; the message has a sentence for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port that a part will listen on.

    Attributes
    ----------
    setting
        Name of the setting that moves it.
    """

    number: int
    owner: str
    setting: str
    host: str = "127.0.0.1"


def check_ports(ports: Sequence[Port]) -> None:
    """Listen on all of them for a moment, so that two parts with one port are found too.

    Raises
    ------
    PortTaken
        Naming each port that cannot be used.
    """
    problems = []
    with ExitStack() as listening:
        for port in ports:
            try:
                listening.enter_context(_listen(port))
            except OSError as error:
                problems.append(_sentence(port, error))
    if problems:
        raise PortTaken("\n".join(problems))


def _listen(port: Port) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(port.host, port.number, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # Otherwise connections of a service that just stopped would keep the port for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _sentence(port: Port, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port.number} ({port.owner}) is taken; set {port.setting} or stop the other program"
    return f"Port {port.number} ({port.owner}) cannot be used on {port.host}: {error.strerror}; set {port.setting}"
