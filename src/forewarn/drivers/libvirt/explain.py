"""What libvirt's errors mean for whoever runs the cluster: one of ours, that names host or VM and says what to do.

Only codes decide, never libvirt's words, which follow the locale of its daemon; they are passed on.
"""

import libvirt

from forewarn.errors import DriverUnavailable, ForewarnError, MoveRefused, VmGone

REFUSED_SIGN_IN = frozenset(
    {
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_ACCESS_DENIED,
    }
)
NOT_POSSIBLE = frozenset(
    {
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_MIGRATE_UNSAFE,
        libvirt.VIR_ERR_INVALID_ARG,
    }
)
WRONG_URI = frozenset({libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_NO_CONNECT})
LOST = frozenset({libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN})
REPAIRED_BY_PEOPLE_S = 60.0  # before what only a person can mend is tried again


def opening(error: libvirt.libvirtError, host: str, uri: str) -> DriverUnavailable:
    """Why `host` cannot be connected to at `uri`."""
    code = error.get_error_code()
    if code in REFUSED_SIGN_IN:
        remedy = f"libvirt on {host} refuses the sign-in at {uri}; give this user access there (polkit, SASL or keys)"
    elif code in WRONG_URI:
        remedy = f"{uri} is no address of libvirt for {host}; correct libvirt.hosts.{host}"
    else:
        remedy = f"{host} cannot be reached at {uri}; {_see(uri)}"
    return DriverUnavailable(f"{remedy}: {said(error)}", REPAIRED_BY_PEOPLE_S)


def _see(uri: str) -> str:
    """What may be wrong on the way; libvirt gives a refused key or certificate no code of its own."""
    scheme = uri.partition(":")[0]
    if scheme.endswith(("+ssh", "+libssh", "+libssh2")):
        return "see that ssh lets this user in there without a password, and that libvirtd or virtqemud runs"
    if scheme.endswith("+tls"):
        return "see that libvirtd listens there with TLS and takes this machine's certificate"
    return "see that libvirtd or virtqemud runs and listens there"


def calling(error: libvirt.libvirtError, host: str, what: str, vm: str = "") -> ForewarnError:
    """Why the call that was to `what` (as in "read the memory") failed on `host`, or for `vm` there."""
    code, whom = error.get_error_code(), f"{vm} on {host}" if vm else host
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return VmGone(f"libvirt on {host} has no VM {vm or '(of that name)'} any more; the next inventory shows where")
    if code == libvirt.VIR_ERR_OPERATION_DENIED:
        return MoveRefused(f"{whom}: the connection may only read; it cannot {what}")
    if code in REFUSED_SIGN_IN:
        text = f"{whom}: libvirt does not let this user {what}; give it that right there: {said(error)}"
        return DriverUnavailable(text, REPAIRED_BY_PEOPLE_S)
    if code in NOT_POSSIBLE:
        return MoveRefused(f"{whom}: libvirt cannot {what}: {said(error)}")
    if code in LOST:
        return DriverUnavailable(f"{host} lost the connection while asked to {what}; it is opened anew: {said(error)}")
    return DriverUnavailable(f"{whom}: libvirt failed to {what}: {said(error)}")


def said(error: libvirt.libvirtError) -> str:
    """Libvirt's own words on one line."""
    return " ".join(str(error).split())
