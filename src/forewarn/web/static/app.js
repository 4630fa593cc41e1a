// Starts what this page needs. Every page works without scripts; these keep it up to date.
import { ask } from "./ask.js";
import { fleet } from "./fleet.js";
import { frame } from "./frame.js";
import { listen } from "./live.js";
import { part } from "./part.js";

const page = document.body.dataset.page;
frame();
ask();

const handlers = [frame.handlers];
if (page === "fleet") handlers.push(fleet());
if (page === "migrations") handlers.push({ moves: () => part("moves") });
if (page === "host") handlers.push({ cycle: () => part("host", 5000) });
if (document.body.dataset.version === "none") handlers.push({ cycle: () => location.reload() });
listen(handlers);
