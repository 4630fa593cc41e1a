"""Every exception that Forewarn raises on purpose.

    ForewarnError
    ├── TemporaryError          worth another try, after `retry_after_s`
    │   ├── StoreUnavailable    the telemetry store or the state database does not answer
    │   │   └── QueryTooLarge   an answer would go past a limit of the store: ask for less
    │   ├── DriverUnavailable   the VM placement service does not answer
    │   ├── NotLeading          another controller acts on this state database; this one waits
    │   ├── SourceAbsent        a source of telemetry that this host does not have, or that may not be read
    │   └── ReceiverUnavailable whoever is sent alerts or telemetry does not take them
    └── PermanentError          the same call will fail again
        ├── ConfigurationError  a setting or an option is wrong; names the key and the nearest right one
        ├── RecordingError      a recorded file cannot be read; names file, place and what was expected
        ├── TelemetryError      samples that a store refuses
        │   └── StoreDamaged    a store's file that cannot be read any more
        ├── RemoteWriteError    a body of remote write that is none, or that is past a limit
        ├── EventError          reported events that are none, or that are past a limit
        ├── FrameError          a feature frame lacks what a model or a catalogue asks for
        ├── ModelError          a model directory is damaged, foreign or made for another catalogue
        ├── InventoryError      a document of the placement service that cannot be read; the text says which and where
        ├── CordonRefused       a driver will not cordon this host; the text says why
        ├── MoveRefused         a driver or a guard will not start this move; the text says why
        │   └── VmGone          the placement service knows no such VM any more
        ├── CredentialRefused   a token that may not be made as asked, or that is not known
        ├── LaboratoryError     a laboratory that cannot be raised or used here; the text says what to do
        └── StateError          the state database is foreign, too new or in use

Foreign exceptions are caught where a library is called and chained (`raise ... from`). `code` is stable: the API and
the command line print it, so that scripts can tell errors apart.
"""


class ForewarnError(Exception):
    """The root of every error that is raised on purpose; its text is one sentence for a person."""

    code = "error"


class TemporaryError(ForewarnError):
    """Something that may work when tried again after `retry_after_s` seconds."""

    code = "temporary"

    def __init__(self, message: str, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreUnavailable(TemporaryError):
    """The telemetry store or the state database does not answer."""

    code = "store_unavailable"


class QueryTooLarge(StoreUnavailable):
    """An answer of the store would go past a limit, its own or ours: ask for a shorter span or fewer series."""

    code = "query_too_large"


class DriverUnavailable(TemporaryError):
    """The VM placement service does not answer."""

    code = "driver_unavailable"


class NotLeading(TemporaryError):
    """Another controller acts on this state database; this one waits, and starts nothing."""

    code = "not_leading"


class SourceAbsent(TemporaryError):
    """A source of telemetry that this host does not have, or that may not be read; the text says which and why."""

    code = "source_absent"


class ReceiverUnavailable(TemporaryError):
    """Whoever is sent alerts or telemetry does not take them; the text says why, without addresses or secrets."""

    code = "receiver_unavailable"


class PermanentError(ForewarnError):
    """Something that will fail again when tried again."""

    code = "permanent"


class ConfigurationError(PermanentError):
    """A setting or an option is wrong."""

    code = "configuration"


class RecordingError(PermanentError):
    """A recorded file cannot be read as what it claims to be."""

    code = "recording"


class TelemetryError(PermanentError):
    """Samples that a store refuses."""

    code = "telemetry"


class StoreDamaged(TelemetryError):
    """A telemetry store's file that cannot be read any more."""

    code = "store_damaged"


class RemoteWriteError(PermanentError):
    """A body of remote write that is none (`malformed`), or that is past a limit (`too_large`)."""

    def __init__(self, message: str, code: str = "malformed") -> None:
        super().__init__(message)
        self.code = code


class EventError(PermanentError):
    """Reported events that are none (`malformed`), wrong in a field (`invalid_request`), or too many (`too_large`)."""

    def __init__(self, message: str, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.code = code


class FrameError(PermanentError):
    """A feature frame lacks what a model or a catalogue asks for."""

    code = "frame"


class ModelError(PermanentError):
    """A model directory is damaged, foreign, or made for another catalogue."""

    code = "model"


class InventoryError(PermanentError):
    """A document of the placement service that cannot be read."""

    code = "inventory"


class MoveRefused(PermanentError):
    """A driver or a guard will not start this move."""

    code = "move_refused"


class VmGone(MoveRefused):
    """The placement service knows no such VM, or not any more."""

    code = "vm_gone"


class CordonRefused(PermanentError):
    """A driver will not cordon this host."""

    code = "cordon_refused"


class CredentialRefused(PermanentError):
    """A token that may not be made as asked, or that is not known."""

    code = "credential"


class LaboratoryError(PermanentError):
    """A laboratory that cannot be raised or used on this machine; the text says what to do."""

    code = "laboratory"


class StateError(PermanentError):
    """The state database is foreign, too new, or in use."""

    code = "state"
