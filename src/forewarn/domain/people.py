"""Who asks: a person, a program or an agent, and what its role allows."""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase


class Role(StrEnum):
    """What somebody may do. The first three stand in order: each may do what the ones before it may."""

    VIEWER = "viewer"  # look
    OPERATOR = "operator"  # pause, abort, approve, cordon, judge failures
    ADMIN = "admin"  # modes, tokens
    AGENT = "agent"  # write the telemetry and the events of its own hosts, and nothing else


_RANK = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has shown who they are. `hosts` are patterns of the hosts for which an agent may speak."""

    name: str
    role: Role
    hosts: tuple[str, ...] = ()

    def may(self, needed: Role) -> bool:
        """Whether the role covers what `needed` may do. Agents only cover agents, and nobody else covers those.

        >>> Principal("ann", Role.ADMIN).may(Role.OPERATOR), Principal("ann", Role.ADMIN).may(Role.AGENT)
        (True, False)
        """
        if Role.AGENT in (needed, self.role):
            return needed is self.role
        return _RANK[self.role] >= _RANK[needed]

    def speaks_for(self, host: str) -> bool:
        """Whether this is an agent that may write about `host`.

        >>> Principal("rack 1", Role.AGENT, ("rack1-*",)).speaks_for("rack1-07")
        True
        """
        return self.role is Role.AGENT and any(fnmatchcase(host, pattern) for pattern in self.hosts)
