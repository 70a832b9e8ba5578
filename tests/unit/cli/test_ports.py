import socket
from collections.abc import Iterator

import pytest

from ragline.cli.supervisor.ports import Port, PortTaken, check_ports
from tests.support.servers import free_port


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_free_ports_are_free_afterwards_too() -> None:
    ports = [Port(number=free_port(), owner="API", setting="API_PORT")]
    check_ports(ports)
    check_ports(ports)


def test_a_taken_port_is_named_with_its_setting(taken_port: int) -> None:
    with pytest.raises(PortTaken) as failure:
        check_ports([Port(number=taken_port, owner="API", setting="API_PORT")])
    assert str(failure.value) == f"Port {taken_port} (API) is taken; set API_PORT or stop the other program"


def test_every_taken_port_is_named(taken_port: int) -> None:
    ports = [
        Port(number=taken_port, owner="Valkey", setting="REDIS_PORT"),
        Port(number=taken_port, owner="Chroma", setting="CHROMA_PORT"),
    ]
    with pytest.raises(PortTaken, match=r"(?s)Valkey.*\n.*Chroma"):
        check_ports(ports)


def test_two_parts_cannot_have_one_port() -> None:
    number = free_port()
    ports = [Port(number=number, owner=name, setting=f"{name.upper()}_PORT") for name in ("API", "Chroma")]
    with pytest.raises(PortTaken, match=r"^Port \d+ \(Chroma\) is taken; set CHROMA_PORT"):
        check_ports(ports)


def test_an_address_of_another_computer_is_refused() -> None:
    with pytest.raises(PortTaken, match=r"\(API\) cannot be used on 192\.0\.2\.1: .*; set API_PORT"):
        check_ports([Port(number=free_port(), owner="API", setting="API_PORT", host="192.0.2.1")])
