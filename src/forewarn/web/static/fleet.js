// The fleet page: squares and rows that changed, the log, the filter, and the keyboard's way through the grid.
import { part, renew } from "./part.js";
import { tips } from "./tips.js";

const LEVELS = ["l0", "l1", "l2", "l3", "l4", "lx", "lu"];
const grid = () => document.getElementById("grid");

export function fleet() {
  tips(grid(), ".cells a.c");
  keyboard();
  filter();
  announce();
  return {
    cycle: (cycle) => { counts(cycle.counts); ["watch", "attention", "doing"].forEach((name) => part(name, 1000)); },
    cells: (cells) => cells.forEach(cell),
    hosts: (hosts) => hosts.forEach(host),
    log: (lines) => lines.forEach(line),
    layout: (change) => { if (grid().querySelector("table")?.dataset.layout !== change.layout) part("grid"); },
  };
}

// Says aloud what stands on top of the page when it changes, and only then.
function announce() {
  const watch = document.getElementById("watch");
  const now = () => watch.querySelector("[data-announce]").dataset.announce;
  let before = now();
  watch.addEventListener("placed", () => {
    if (now() === before) return;
    before = now();
    document.getElementById("said").textContent = before;
  });
  document.addEventListener("asked", () => { renew("watch"); renew("doing"); });
}

function counts(figures) {
  for (const [name, value] of Object.entries(figures)) {
    const element = document.querySelector(`[data-count=${name}]`);
    if (!element) continue;
    element.textContent = value.toLocaleString("en");
    element.parentElement.dataset.zero = value ? "no" : "yes";
  }
}

function cell({ key, level, label, moving }) {
  const element = document.getElementById(key);
  if (!element) return; // filtered away
  const stepped = !element.classList.contains(level);
  element.classList.remove(...LEVELS, "changed");
  element.classList.add(level);
  element.classList.toggle("mv", moving);
  element.setAttribute("aria-label", label);
  if (!stepped) return;
  void element.offsetWidth; // restarts the animation
  element.classList.add("changed");
  // Rows change places only while nobody points at one of them.
  if (document.getElementById("sort").value === "risk" && !grid().matches(":hover, :focus-within")) part("grid", 4000);
}

function host(change) {
  const row = document.getElementById(change.key);
  if (!row) return;
  row.classList.remove("up", "down", "maintenance", "unknown");
  row.classList.add(change.state);
  const put = (name, text, shown = true) => {
    const element = row.querySelector(`[data-part=${name}]`);
    if (element) { element.textContent = text; element.hidden = !shown; }
  };
  put("state", change.standing, change.standing !== "up");
  put("cordoned", "cordoned", change.cordoned);
  put("vms", change.vms);
  put("high", ` (${change.vms_high})`, change.vms_high > 0);
  put("out", `${change.moving_out} →`, change.moving_out > 0);
  put("in", `→ ${change.moving_in}`, change.moving_in > 0);
  put("interrupted", `${change.vms_interrupted} down`, change.vms_interrupted > 0);
  put("worst", change.worst || "nothing known");
  const worst = row.querySelector("[data-part=worst]");
  worst.classList.remove(...LEVELS);
  worst.classList.add(change.worst_level);
}

function line({ time, clock, severity, text }) {
  const list = document.querySelector("#log .lines");
  const item = document.createElement("li");
  item.className = `${severity} new`;
  const stamp = document.createElement("time");
  stamp.dateTime = time;
  stamp.textContent = clock;
  const words = document.createElement("span");
  words.textContent = text;
  item.append(stamp, words);
  list.prepend(item);
  list.parentElement.querySelector(".empty")?.remove();
  while (list.children.length > Number(list.dataset.max)) list.lastElementChild.remove();
}

function filter() {
  const form = document.getElementById("filter");
  let timer = 0;
  const apply = () => {
    const chosen = new URLSearchParams(new FormData(form));
    for (const [name, usual] of [["q", ""], ["only", "all"], ["sort", "risk"]]) if (chosen.get(name) === usual) chosen.delete(name);
    history.replaceState(null, "", chosen.size ? `/?${chosen}` : "/");
    renew("grid");
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  form.addEventListener("change", apply);
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 200); });
}

// One stop for the tab key; arrows go on from there, Home and End to the ends of a row.
function keyboard() {
  const enter = () => { const first = grid().querySelector(".cells a.c"); if (first) first.tabIndex = 0; };
  grid().addEventListener("placed", enter);
  grid().addEventListener("focusin", ({ target }) => {
    if (!target.matches(".cells a.c")) return;
    grid().querySelectorAll(".cells a.c[tabindex='0']").forEach((e) => { e.tabIndex = -1; });
    target.tabIndex = 0;
  });
  grid().addEventListener("keydown", (event) => {
    const to = event.target.matches(".cells a.c") ? neighbour(event.target, event.key) : null;
    if (to) { event.preventDefault(); to.focus(); }
  });
  enter();
}

function neighbour(square, key) {
  const row = square.closest("tr");
  const squares = [...row.querySelectorAll(".cells a.c")];
  const at = squares.indexOf(square);
  const ends = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: squares.length - 1 };
  if (key in ends) return squares[ends[key]];
  if (key !== "ArrowUp" && key !== "ArrowDown") return null;
  const rows = [...grid().querySelectorAll("tr.host")].filter((r) => r.querySelector(".cells a.c"));
  const next = rows[rows.indexOf(row) + (key === "ArrowDown" ? 1 : -1)];
  if (!next) return null;
  const others = [...next.querySelectorAll(".cells a.c")];
  const x = square.getBoundingClientRect().left;
  return others.reduce((best, e) => (Math.abs(e.getBoundingClientRect().left - x) < Math.abs(best.getBoundingClientRect().left - x) ? e : best));
}
