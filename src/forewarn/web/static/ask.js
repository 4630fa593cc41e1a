// Pausing and resuming: a dialogue that asks for the reason, and one request to the API.

const TEXTS = {
  pause: ["Pause moves", "No new move starts until moves are resumed. Moves that run go on to their end."],
  resume: ["Resume moves", "Forewarn starts moves again from its next cycle on."],
};

export function ask() {
  const dialog = document.getElementById("ask");
  const button = document.querySelector("[data-ask]");
  if (!dialog || !button) return;
  const by = (name) => document.getElementById(`ask-${name}`);
  let kind = "pause";
  button.addEventListener("click", () => {
    kind = button.dataset.ask;
    [by("title").textContent, by("text").textContent] = TEXTS[kind];
    by("send").textContent = TEXTS[kind][0];
    by("error").textContent = "";
    by("reason").value = "";
    dialog.showModal();
  });
  by("cancel").addEventListener("click", () => dialog.close());
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const trouble = await send(kind, by("reason").value);
    if (trouble) { by("error").textContent = trouble; return; }
    dialog.close();
    document.getElementById("said").textContent = `Asked to ${kind} moves; the next cycle does it.`;
  });
}

// What a page of a session sends along, so that no other page can ask in its name.
function mark() {
  const meta = document.querySelector("meta[name=csrf-token]");
  return meta ? { "X-CSRF-Token": meta.content } : {};
}

async function send(kind, reason) {
  try {
    const answer = await fetch("/api/v1/requests", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...mark() },
      body: JSON.stringify({ kind, reason }),
    });
    return answer.ok ? "" : (await answer.json()).error.message;
  } catch {
    return "The server does not answer.";
  }
}
