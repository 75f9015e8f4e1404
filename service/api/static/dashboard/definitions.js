/** What each figure means, as the answers say it: a tooltip by hover, by focus and by touch; Escape closes it. */

import { byId, element, setText } from "./dom.js";

const MARGIN = 8;
const GRACE_MS = 150; // to get from the term into its tooltip

/** Fill the tooltips; `definitions` by the names that the ids of the tooltips end with. */
export function define(definitions) {
  for (const [name, { meaning, kind, error }] of Object.entries(definitions)) {
    const tip = byId(`definition-${name}`);
    if (!tip) continue;
    if (!tip.childElementCount) tip.append(element("p"), element("p", { class: "hint" }));
    setText(tip.firstElementChild, `${sentence(meaning)}.`);
    setText(tip.lastElementChild, `${sentence(kind)}. Error: ${error}.`);
  }
}

/** Make every term of the page show its tooltip. */
export function listen() {
  let shown = null; // the term, while its tooltip is there
  let timer = 0;
  const tipOf = (term) => byId(term.getAttribute("aria-describedby"));
  const hide = () => {
    clearTimeout(timer);
    if (shown) tipOf(shown).hidden = true;
    shown = null;
  };
  const show = (term) => {
    hide();
    if (!tipOf(term).childElementCount) return; // nothing was answered yet
    shown = term;
    tipOf(term).hidden = false;
    place(tipOf(term), term.getBoundingClientRect());
  };
  const hideSoon = () => (timer = setTimeout(hide, GRACE_MS));
  for (const term of document.querySelectorAll(".term")) {
    for (const event of ["pointerenter", "focus", "click"]) term.addEventListener(event, () => show(term));
    term.addEventListener("pointerleave", hideSoon);
    term.addEventListener("blur", hide);
  }
  for (const tip of document.querySelectorAll("[role=tooltip]")) {
    tip.addEventListener("pointerenter", () => clearTimeout(timer));
    tip.addEventListener("pointerleave", hideSoon);
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("pointerdown", (event) => event.target.closest(".term, [role=tooltip]") || hide());
  // Focus may scroll the page to the term: the tooltip goes along.
  const follow = () => shown && place(tipOf(shown), shown.getBoundingClientRect());
  document.addEventListener("scroll", follow, { passive: true });
}

/** Put a tooltip under its term, or above where there is no room; never beyond the window. */
function place(tip, term) {
  const { clientWidth, clientHeight } = document.documentElement;
  const left = Math.max(MARGIN, Math.min(term.left, clientWidth - tip.offsetWidth - MARGIN));
  const below = term.bottom + MARGIN;
  const fits = below + tip.offsetHeight <= clientHeight;
  tip.style.left = `${left}px`;
  tip.style.top = `${fits ? below : Math.max(MARGIN, term.top - tip.offsetHeight - MARGIN)}px`;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
