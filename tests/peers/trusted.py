"""What a client of the throw-away authorities believes: the servers that they certify, by the lists that they keep."""

from passevue.national.servers import Servers
from tests.peers.pki import Pki


def servers_of(pki: Pki) -> Servers:
    return Servers("registry.authority", pki.authority, pki.lists)
