// Starts what this page needs. Every page works without scripts; these keep it up to date.
import { ask } from "./ask.js";
import { fleet } from "./fleet.js";
import { frame } from "./frame.js";
import { listen } from "./live.js";
import { part } from "./part.js";

const page = document.body.dataset.page;
frame();
ask();

const PAGES = {
  fleet,
  migrations: () => ({ moves: () => part("moves") }),
  host: () => ({ cycle: () => part("host", 5000) }),
};
const WAITING = { cycle: () => location.reload() };

if (page !== "error" && page !== "plain") {
  const waiting = document.body.dataset.version === "none";
  listen(waiting ? [WAITING] : [frame.handlers, PAGES[page]?.() ?? {}]);
}
