/**
 * The choices of the operator: range, time zone and figure of the chart. The fragment of
 * the address keeps them, such as `#7d&local&active`.
 */

import { byId, find, setText } from "./dom.js";
import { DEFAULT_RANGE, isRange } from "./ranges.js";
import { UTC, browserZone } from "./zones.js";

const local = browserZone();

/**
 * Set the choices of the state from the address, and check their controls.
 *
 * @param {import("./types.js").State} state
 */
export function readChoices(state) {
  const [name, ...options] = location.hash.slice(1).split("&");
  state.rangeName = isRange(name) ? name : DEFAULT_RANGE;
  state.zone = options.includes("local") ? local : UTC;
  state.figure = options.includes("active") ? "active" : "created";
  state.oldestMs = 0;
  check("ranges", state.rangeName);
  check("zones", state.zone === UTC ? UTC : "local");
  check("chart-figures", state.figure);
}

/**
 * @param {string} id
 * @param {string} value
 */
function check(id, value) {
  find(byId(id), `[value="${value}"]`, HTMLInputElement).checked = true;
}

/**
 * Show or hide the choices. There is no choice of a zone where the browser uses UTC.
 *
 * @param {boolean} isShown
 */
export function showChoices(isShown) {
  byId("ranges").hidden = !isShown;
  byId("zones").hidden = !isShown || local === UTC;
}

/**
 * Call a function after a choice, and write the choices to the address.
 *
 * @param {import("./types.js").State} state
 * @param {() => void} onQuery called after a choice of range or zone, and for a new
 *   address
 * @param {() => void} onFigure called after a choice of the figure
 */
export function watchChoices(state, onQuery, onFigure) {
  setText(byId("local-zone"), local);
  for (const id of ["ranges", "zones", "chart-figures"]) {
    byId(id).addEventListener("change", () => {
      const [range, zone, figure] = ["range", "zone", "figure"].map(
        (name) => find(document, `[name="${name}"]:checked`, HTMLInputElement).value,
      );
      const options = [range, zone === "local" && zone, figure === "active" && figure];
      history.replaceState(null, "", `#${options.filter(Boolean).join("&")}`);
      const { oldestMs } = state;
      readChoices(state);
      if (id === "chart-figures") state.oldestMs = oldestMs;
      (id === "chart-figures" ? onFigure : onQuery)();
    });
  }
  window.addEventListener("hashchange", () => {
    readChoices(state);
    onQuery();
  });
}
