"""The settings of the dashboard and the API, each with its unit and its reason."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WebSettings:
    """Where the pages are served, and a limit on everything that they show, hold or accept."""

    host: str = "127.0.0.1"
    """Address to listen on. Only loopback is accepted: until people can sign in, nobody else may pause moves."""
    port: int = 8460
    """TCP port; 0 takes a free one."""
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")
    """Names under which the pages may be asked for; any other `Host` is refused, which stops DNS rebinding."""
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

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}, but ports go from 0 to 65535")
