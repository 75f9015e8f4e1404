/**
 * The tooltips that define the figures. A term shows its tooltip on hover, focus and
 * tap. Escape closes it. Most definitions come from the answers of the API.
 */

import { byId, element, setText } from "./dom.js";
import { formatSentence } from "./format.js";

const MARGIN_PIXELS = 8;
const HIDE_DELAY_MS = 150; // time to move the pointer from the term into its tooltip

/**
 * Fill the tooltips.
 *
 * @param {Record<string, import("./types.js").Definition>} definitions by the last part
 *   of the tooltip's id
 */
export function setDefinitions(definitions) {
  for (const [name, { meaning, kind, error }] of Object.entries(definitions)) {
    const tooltip = document.getElementById(`definition-${name}`);
    if (!tooltip) continue;
    if (!tooltip.childElementCount) tooltip.append(element("p"), element("p", { class: "hint" }));
    setText(tooltip.firstElementChild, formatSentence(meaning));
    setText(tooltip.lastElementChild, `${formatSentence(kind)} ${formatSentence(`error: ${error}`)}`);
  }
}

/** Opens and closes the tooltips. At most one is open. */
export class Tooltips {
  /** @type {{ term: Element, tooltip: HTMLElement } | null} */
  #open = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** Connect each term of the page with its tooltip. */
  constructor() {
    for (const term of document.querySelectorAll(".term")) {
      const tooltip = byId(term.getAttribute("aria-describedby") ?? "");
      for (const event of ["pointerenter", "focus", "click"]) {
        term.addEventListener(event, () => this.#show(term, tooltip));
      }
      term.addEventListener("pointerleave", () => this.#hideLater());
      term.addEventListener("blur", () => this.#hide());
    }
    for (const tooltip of document.querySelectorAll("[role=tooltip]")) {
      tooltip.addEventListener("pointerenter", () => clearTimeout(this.#timer));
      tooltip.addEventListener("pointerleave", () => this.#hideLater());
    }
    document.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") this.#hide();
    });
    document.addEventListener("pointerdown", ({ target }) => {
      if (!(target instanceof Element && target.closest(".term, [role=tooltip]"))) this.#hide();
    });
    // A focused term can scroll into view. Its tooltip has to follow.
    document.addEventListener("scroll", () => this.#place(), { passive: true });
  }

  /**
   * @param {Element} term
   * @param {HTMLElement} tooltip
   */
  #show(term, tooltip) {
    this.#hide();
    if (!tooltip.childElementCount) return; // the definitions have not arrived
    this.#open = { term, tooltip };
    tooltip.hidden = false;
    this.#place();
  }

  #hide() {
    clearTimeout(this.#timer);
    if (this.#open) this.#open.tooltip.hidden = true;
    this.#open = null;
  }

  #hideLater() {
    this.#timer = setTimeout(() => this.#hide(), HIDE_DELAY_MS);
  }

  /**
   * Put the tooltip below its term, or above it where the window ends, but inside it.
   */
  #place() {
    if (!this.#open) return;
    const { tooltip } = this.#open;
    const term = this.#open.term.getBoundingClientRect();
    const { clientWidth, clientHeight } = document.documentElement;
    const rightmost = clientWidth - tooltip.offsetWidth - MARGIN_PIXELS;
    const below = term.bottom + MARGIN_PIXELS;
    const above = Math.max(MARGIN_PIXELS, term.top - tooltip.offsetHeight - MARGIN_PIXELS);
    tooltip.style.left = `${Math.max(MARGIN_PIXELS, Math.min(term.left, rightmost))}px`;
    tooltip.style.top = `${below + tooltip.offsetHeight <= clientHeight ? below : above}px`;
  }
}
