/**
 * The state of the dashboard in one object.
 *
 * `dashboard.js` creates it once and passes it on. No other module keeps state that
 * outlives a call, apart from the open tooltip, the chart's canvas and the timer of the
 * poller.
 */

import { DEFAULT_RANGE } from "./ranges.js";
import { Slots } from "./series.js";
import { UTC } from "./zones.js";

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
    zone: UTC,
    figure: "created",
    oldestMs: 0,
    asOfMs: 0,
    clockSkewMs: 0,
    slots: new Slots(),
    sessions: null,
    stack: null,
  };
}

/**
 * Remove the key and all figures. The choices and the clock skew stay.
 *
 * @param {import("./types.js").State} state
 */
export function clearFigures(state) {
  const { rangeName, zone, figure, clockSkewMs } = state;
  Object.assign(state, createState(""), { rangeName, zone, figure, clockSkewMs });
}
