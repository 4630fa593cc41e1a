// One stream of events per visible page. A hidden tab lets go of its stream, and asks for what it missed when seen again.

const NAMES = ["cycle", "cells", "hosts", "log", "moves", "layout", "reset"];
const RETRY_MS = 5000;
let source = null;
let version = document.body.dataset.version;

export function listen(handlers) {
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(`/api/v1/events?since=${encodeURIComponent(version)}`);
    for (const name of NAMES) source.addEventListener(name, (event) => tell(handlers, name, event));
    source.addEventListener("open", () => lost(false));
    source.addEventListener("error", () => {
      lost(true);
      if (source?.readyState === EventSource.CLOSED) { close(); setTimeout(open, RETRY_MS); }
    });
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
}

function close() {
  source?.close();
  source = null;
}

function tell(handlers, name, event) {
  if (event.lastEventId) version = event.lastEventId;
  if (name === "reset") { location.reload(); return; }
  const body = JSON.parse(event.data);
  for (const handler of handlers) handler[name]?.(body);
}

function lost(state) {
  document.getElementById("age")?.classList.toggle("lost", state);
}
