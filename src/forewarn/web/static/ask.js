// Whatever a button asks of the control loop: a dialogue that asks for the reason, and one request to the API.

const TEXTS = {
  pause: () => ["Pause moves", "No new move starts until moves are resumed. Moves that run go on to their end."],
  resume: () => ["Resume moves", "Forewarn starts moves again from its next cycle on."],
  abort_move: (subject) => ["Abort this move", `${subject}: the copy ends, and the VM runs on where it is now.`],
  approve: (subject) => ["Approve this move", `${subject}: it starts within one of the next cycles, if it still fits then.`],
  clear_breaker: () => ["Clear the breaker", "Moves start again from the next cycle on. What turned risky before counts no more towards tripping it. Nothing that was decided before is repeated."],
};

export function ask() {
  const dialog = document.getElementById("ask");
  if (!dialog) return;
  const by = (name) => document.getElementById(`ask-${name}`);
  let asked = {};
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-ask]");
    if (!button) return;
    const { ask: kind, args, subject } = button.dataset;
    const [title, text] = TEXTS[kind](subject);
    asked = { kind, args: JSON.parse(args), title, opener: button.id };
    by("title").textContent = by("send").textContent = title;
    by("text").textContent = text;
    by("error").textContent = "";
    by("reason").value = "";
    dialog.showModal();
  });
  // What opened the dialogue may have been renewed meanwhile, so it is looked up again.
  dialog.addEventListener("close", () => (document.getElementById(asked.opener) ?? document.getElementById("main")).focus());
  by("cancel").addEventListener("click", () => dialog.close());
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const trouble = await send(asked.kind, by("reason").value, asked.args);
    if (trouble) { by("error").textContent = trouble; return; }
    dialog.close();
    document.getElementById("said").textContent = `${asked.title}: asked. The next cycle does it.`;
    document.dispatchEvent(new Event("asked"));
  });
}

async function send(kind, reason, args) {
  try {
    const answer = await fetch("/api/v1/requests", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ kind, reason, args }),
    });
    return answer.ok ? "" : (await answer.json()).error.message;
  } catch {
    return "The server does not answer.";
  }
}
