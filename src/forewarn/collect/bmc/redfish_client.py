"""DMTF's own client `redfish` for one poll of a BMC: certificate, login, and its many errors as one sentence each.

No sentence quotes what the client or the BMC says beyond a reason of TLS: it could hold a password or a session's key.
"""

import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from forewarn.collect.bmc.settings import BmcSettings, BmcTarget, Login
from forewarn.errors import SourceAbsent


class Client:
    """A client that has logged in. Every call raises SourceAbsent, with what to do, where the BMC gives nothing."""

    def __init__(self, target: BmcTarget, settings: BmcSettings) -> None:
        try:
            import redfish  # here, for it loads what an agent without Redfish has no need of
        except ImportError as missing:
            raise SourceAbsent("the package redfish is not installed: pip install 'forewarn[redfish]'") from missing
        if target.insecure:
            _silence_urllib3()
        logging.getLogger("redfish").setLevel(logging.CRITICAL)  # it tells of sessions, their keys and whole documents
        self._target, self._timeout_s = target, settings.timeout_s
        self._client = self._reached(
            lambda: redfish.redfish_client(
                target.address,
                target.username or None,
                target.password() or None,
                cafile=_certificates(target),
                timeout=settings.timeout_s,
                max_retry=1,
            )
        )

    def log_in(self) -> None:
        """Tell who asks, where the target names an account."""
        if self._target.username:
            self._reached(lambda: self._client.login(auth=str(self._target.login)))

    def get(self, path: str) -> tuple[int, str]:
        """The HTTP status and the text of a document."""
        answered = self._reached(lambda: self._client.get(path))
        return int(answered.status), str(answered.text)

    def close(self) -> None:
        """End the session, where there is one, and the connection."""
        try:
            if self._target.login is Login.SESSION:
                self._reached(self._client.logout)
        except SourceAbsent:
            logging.getLogger(__name__).debug("the session at %s was not closed", self._target.address)
        finally:
            self._client._session.close()

    def _reached(self, call: Callable[[], Any]) -> Any:
        from redfish.messages import RedfishPasswordChangeRequiredError
        from redfish.rest import v1
        from requests import RequestException

        known = (
            v1.RetriesExhaustedError, v1.InvalidCredentialsError, v1.SessionCreationError, RequestException, ValueError,
            v1.ServerDownOrUnreachableError, v1.JsonDecodingError, v1.DecompressResponseError, v1.BadRequestError,
            RedfishPasswordChangeRequiredError,
        )  # fmt: skip
        try:
            return call()
        except known as problem:
            raise SourceAbsent(f"no answer by Redfish: {self._why(problem)}") from problem

    def _why(self, problem: Exception) -> str:
        from redfish.messages import RedfishPasswordChangeRequiredError
        from redfish.rest import v1
        from requests import ConnectionError as Unreached
        from requests import Timeout

        causes = tuple(_causes(problem))
        distrust = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
        if distrust is not None:
            reason = distrust.verify_message.partition(",")[0].rstrip(".")
            return f"its certificate is not trusted ({reason}): name who vouches for it in ca_file, or set insecure"
        sentences: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
            ((ssl.SSLError,), "it speaks no TLS at this address: is that the port of https?"),
            ((v1.InvalidCredentialsError,), "it refuses the account: wrong username or password"),
            ((RedfishPasswordChangeRequiredError,), "the password of the account must be changed first"),
            ((v1.SessionCreationError, v1.BadRequestError), 'it opens or closes no session: try login = "basic"'),
            ((Timeout,), f"nothing within {self._timeout_s:g} s"),
            ((Unreached,), "the connection is refused or lost: wrong address, or no Redfish service there"),
            ((v1.JsonDecodingError,), "its root document is no JSON: no Redfish service there"),
        )
        for kinds, sentence in sentences:
            if any(isinstance(cause, kinds) for cause in causes):
                return sentence
        return type(problem).__name__


def _silence_urllib3() -> None:
    """It warns at each request that the certificate is not looked at, as the operator has said."""
    import urllib3

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """An error and what it came of, the last first."""
    seen: list[BaseException] = []
    waiting = [problem]
    while waiting:
        cause = waiting.pop(0)
        if cause not in seen:
            seen.append(cause)
            waiting += [each for each in (cause.__cause__, cause.__context__) if each is not None]
    return iter(seen)


@contextmanager
def client(target: BmcTarget, settings: BmcSettings) -> Iterator[Client]:
    """A client that has logged in, and is closed afterwards. Raises SourceAbsent."""
    made = Client(target, settings)
    try:
        made.log_in()
        yield made
    finally:
        made.close()


def _certificates(target: BmcTarget) -> str | None:
    """The file of certificates that the client checks against; it would check none where this were None."""
    if target.insecure or target.address.startswith("http://"):
        return None
    if target.ca_file is not None:
        if not target.ca_file.is_file():
            raise SourceAbsent(f"ca_file {target.ca_file} is not there")
        return str(target.ca_file)
    if found := ssl.get_default_verify_paths().cafile:
        return found
    import certifi

    return certifi.where()
