/**
 * The state of the dashboard in one object.
 *
 * `dashboard.js` creates it once and passes it on. No other module keeps state that
 * outlives a call, apart from the open tooltip, the chart's canvas and the timer of the
 * poller.
 */

import { DEFAULT_RANGE } from "./ranges.js";
import { Slots } from "./series.js";

/**
 * Return the state of a page that shows nothing yet.
 *
 * @param {string} key
 * @returns {import("./types.js").State}
 */
export function createState(key) {
  return {
    key,
    rangeName: DEFAULT_RANGE,
    oldestMs: 0,
    asOfMs: 0,
    clockSkewMs: 0,
    slots: new Slots(),
    stack: null,
  };
}

/**
 * Remove the key and all figures. The range and the clock skew stay.
 *
 * @param {import("./types.js").State} state
 */
export function clearFigures(state) {
  const { rangeName, clockSkewMs } = state;
  Object.assign(state, createState(""), { rangeName, clockSkewMs });
}
