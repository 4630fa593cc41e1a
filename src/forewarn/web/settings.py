"""The settings of the dashboard and the API, each with its unit and its reason."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class IngestSettings:
    """What agents and collecting Prometheis may send."""

    body_bytes_max: int = 4 << 20
    """Size of one body as it is sent, bytes."""
    unpacked_bytes_max: int = 32 << 20
    """Size of one body once it is decompressed, bytes; the announced size is looked at first."""
    samples_max: int = 50_000
    """Samples, and series, in one body; an agent sends 10,000, a Prometheus some thousands."""
    labels_max: int = 64
    """Labels of one series."""
    label_bytes_max: int = 2048
    """Size of the name or the value of a label, bytes."""
    series_remembered_max: int = 1_000_000
    """Series that are known again when they come again, which makes reading them some ten times as fast; about 0.8 kB
    each."""
    events_max: int = 1000
    """Events in one body."""
    event_chars_max: int = 2000
    """Length of each text of an event."""
    body_s: float = 30.0
    """Seconds in which a body must have come, so that nobody holds a place by dawdling."""
    at_once_max: int = 8
    """Bodies that are read and stored at once; one more is refused with 503 and sent again. It bounds memory."""
    bodies_per_minute: float = 600.0
    """Bodies that one sender may send in a minute. A Prometheus that collects for many hosts sends the most."""
    samples_per_minute: float = 3_000_000.0
    """Samples, and events, that one sender may send in a minute: some 150 large hosts every fifteen seconds."""
    senders_max: int = 100_000
    """Senders whose rate is known at once."""
    skew_s: float = 300.0
    """Seconds that a time may lie ahead of the server's clock; more means that a clock is wrong."""
    sample_hours_max: float = 160.0
    """Age of the oldest sample that is taken, hours: within the days for which the store keeps single samples."""
    event_days_max: float = 400.0
    """Age of the oldest event that is taken, days: a host may have booted long before its agent was first started."""


@dataclass(frozen=True)
class WebSettings:
    """Where the pages are served, and a limit on everything that they show, hold or accept."""

    host: str = "127.0.0.1"
    """Address to listen on. One that other machines reach is refused until somebody has a token to sign in with."""
    port: int = 8460
    """TCP port; 0 takes a free one."""
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")
    """Names under which the pages may be asked for; any other `Host` is refused, which stops DNS rebinding."""
    sign_in: bool | None = None
    """Whether everybody must sign in, also on this machine. Unset: `forewarn up` asks for it, the demonstration does
    not. Where it is not asked for, it is as soon as anybody but an agent has a token."""
    sign_in_failures_max: int = 10
    """Failed sign-ins of one address within `sign_in_window_s`; then it must wait, also with the right token."""
    sign_in_window_s: float = 300.0
    """Seconds for which a failed sign-in counts."""
    sign_in_addresses_max: int = 10_000
    """Addresses whose failures are remembered; beyond it the oldest are forgotten."""
    tls_cert: Path | None = None
    """Certificate chain in PEM with which the pages are served over https; unset: http."""
    tls_key: Path | None = None
    """Its private key, where that does not stand in the same file."""
    refresh_s: float = 1.0
    """Seconds between two looks at the snapshot; a cycle is on screen at most this much later."""
    stale_after_s: float = 60.0
    """Age in seconds from which the snapshot is called stale, in red, and `/api/v1/health` answers 503."""
    input_stale_after_s: float = 300.0
    """Age in seconds from which telemetry, inventory or forecasts are called too old, in red."""
    lately_hours: float = 12.0
    """Hours that the first screen looks back: a shift."""
    changes_shown_max: int = 8
    """Sentences about them; the log holds the rest."""
    clients_max: int = 100
    """Open streams of events; one more is refused with 503, so that browsers left open cannot exhaust the server."""
    client_queue_max: int = 32
    """Events that wait for one client; a slower one is dropped and comes back by itself, so nobody slows the others."""
    replay_max: int = 120
    """Cycles whose changes are kept for clients that come back; whoever was away longer loads the page anew."""
    keep_alive_s: float = 15.0
    """Seconds after which a silent stream sends a comment, so that proxies keep it open."""
    stream_s: float = 900.0
    """Seconds after which the stream of somebody who signed in ends and is asked for anew, so that whoever has lost the
    right to look sees nothing for longer."""
    hosts_shown_max: int = 1000
    """Hosts on the fleet page, the riskiest first; browsers stay quick up to here."""
    attention_max: int = 10
    """Components named in words as needing attention; a longer list is read by nobody."""
    moves_shown_max: int = 200
    """Moves in the table and the time line of the migrations page."""
    host_moves_max: int = 20
    """Moves on the page of one host."""
    requests_read: int = 200
    """Latest requests that are read to tell which move or proposal somebody has asked about already."""
    flow_hosts_max: int = 20
    """Hosts on each side of the flow between hosts; the rest is joined to one band."""
    log_lines_max: int = 60
    """Lines of the live log on a page."""
    page_size_max: int = 1000
    """Items that one answer of the API may hold; there are more behind `offset`."""
    series_points_max: int = 600
    """Points of one curve in a chart; longer series are thinned, keeping each stretch's extremes."""
    history_days: float = 30.0
    """Days of telemetry behind the charts of a host."""
    reason_chars_max: int = 500
    """Length of the reason that a request must carry."""
    request_bytes_max: int = 16384
    """Size of the body that a request may have."""
    stop_s: float = 1.0
    """Seconds that open connections get to end when the server stops."""

    ingest: IngestSettings = field(default_factory=IngestSettings)
    """What agents and collecting Prometheis may send."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}, but ports go from 0 to 65535")
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("tls_key is set without tls_cert: name the certificate too")
