// Renews one piece of the page from the server, which alone knows how things are said. The piece's id is its name.

const waiting = new Map();

export function part(name, everyMs = 400) {
  const state = waiting.get(name) ?? { last: 0, timer: 0 };
  waiting.set(name, state);
  if (state.timer) return;
  const due = Math.max(0, state.last + everyMs - performance.now());
  state.timer = setTimeout(() => { state.timer = 0; state.last = performance.now(); renew(name); }, due);
}

export async function renew(name, address = location.href) {
  const url = new URL(address, location.href);
  url.searchParams.set("part", name);
  let text;
  try {
    const answer = await fetch(url, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    text = await answer.text();
  } catch { return; } // the server is gone for now; the age of the snapshot tells
  place(document.getElementById(name), text);
}

// Scroll positions and the focused element survive. Parsed as a document of its own, so nothing in it can run.
function place(holder, text) {
  const focused = holder.contains(document.activeElement) ? document.activeElement.id : "";
  const scrolled = [...holder.querySelectorAll(".scroll, .lines")].map((e) => [e.scrollLeft, e.scrollTop]);
  const open = [...holder.querySelectorAll("details")].map((e) => e.open);
  const parsed = new DOMParser().parseFromString(text, "text/html");
  holder.replaceChildren(...parsed.body.childNodes);
  [...holder.querySelectorAll(".scroll, .lines")].forEach((e, i) => { if (scrolled[i]) [e.scrollLeft, e.scrollTop] = scrolled[i]; });
  [...holder.querySelectorAll("details")].forEach((e, i) => { e.open = open[i] ?? false; });
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  holder.dispatchEvent(new CustomEvent("placed", { bubbles: true }));
}
