// The head of every page: the cycle's sentence, the mode, the pause, and the age of the snapshot, which goes on growing.

const body = document.body;
const startedAt = performance.now();
const startedNow = Date.parse(body.dataset.now);
let time = Date.parse(body.dataset.time);

export function frame() {
  age();
  setInterval(() => { age(); ages(); }, 1000);
}

frame.handlers = {
  cycle(cycle) {
    time = Date.parse(cycle.time);
    fill("sentence", cycle.sentence);
    fill("cycle", cycle.cycle.toLocaleString("en"));
    fill("clock", cycle.time.slice(11, 19));
    fill("mode", cycle.mode);
    fill("paused", cycle.paused);
    for (const badge of document.querySelectorAll("[data-shown=paused]")) badge.hidden = !cycle.paused;
    const button = document.getElementById("pause");
    if (button) {
      button.dataset.ask = cycle.paused ? "resume" : "pause";
      button.textContent = cycle.paused ? "Resume moves" : "Pause moves";
    }
    age();
  },
};

function fill(field, text) {
  for (const element of document.querySelectorAll(`[data-field=${field}]`)) {
    if (element.textContent !== text) element.textContent = text;
  }
}

// What decisions rest on grows old too, each thing by its own measure.
function ages() {
  for (const element of document.querySelectorAll("[data-at]")) {
    const seconds = Math.max(0, (startedNow + performance.now() - startedAt - Date.parse(element.dataset.at)) / 1000);
    const stale = seconds > Number(element.dataset.staleAfter);
    element.classList.toggle("stale", stale);
    element.textContent = `${words(seconds)} old${stale ? ": too old" : ""}`;
  }
}

// By the server's clock, carried on by the time that passed here: the two machines' clocks may differ.
function age() {
  const badge = document.getElementById("age");
  if (!badge) return;
  const seconds = Math.max(0, (startedNow + performance.now() - startedAt - time) / 1000);
  const stale = seconds > Number(body.dataset.staleAfter);
  badge.classList.toggle("stale", stale);
  badge.querySelector("span").textContent = `${words(seconds)} old${stale ? ": stale" : ""}`;
}

function words(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
