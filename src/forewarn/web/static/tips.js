// The sentence of a square, shown beside it while it is pointed at or focused.

export function tips(holder, selector) {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true"); // the square's own label says the same
  document.body.append(tip);
  const show = ({ target }) => {
    const square = target.closest?.(selector);
    if (!square) { tip.hidden = true; return; }
    tip.textContent = square.getAttribute("aria-label");
    tip.hidden = false;
    const at = square.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const below = at.bottom + 8 + size.height < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(innerWidth - size.width - 8, at.left + at.width / 2 - size.width / 2))}px`;
    tip.style.top = `${below ? at.bottom + 8 : at.top - size.height - 8}px`;
  };
  const hide = () => { tip.hidden = true; };
  holder.addEventListener("mouseover", show);
  holder.addEventListener("mouseleave", hide);
  holder.addEventListener("focusin", show);
  holder.addEventListener("focusout", hide);
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", hide, { passive: true });
}
