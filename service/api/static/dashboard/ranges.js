/** The ranges that the operator can select: their length, interval and refresh rate. */

import { dateIn } from "./zones.js";

const DAY_MS = 86_400_000;

/**
 * An hourly range ends now. A daily range consists of whole days of the selected time
 * zone and includes today. Longer ranges cost the service more and change more slowly, so they refresh
 * less often.
 *
 * @type {Record<string, import("./types.js").Range>}
 */
const RANGES = {
  "24h": { label: "last 24 hours", interval: "hour", days: 1, pauseSeconds: 3 },
  "7d": { label: "last 7 days", interval: "hour", days: 7, pauseSeconds: 5 },
  "30d": { label: "last 30 days", interval: "day", days: 30, pauseSeconds: 10 },
  "90d": { label: "last 90 days", interval: "day", days: 90, pauseSeconds: 20 },
};

export const DEFAULT_RANGE = "24h";

/**
 * Return whether a range has this name.
 *
 * @param {string} name
 * @returns {boolean}
 */
export function isRange(name) {
  return Object.hasOwn(RANGES, name);
}

/**
 * Return the range of a name such as `7d`.
 *
 * @param {string} name
 * @returns {import("./types.js").Range}
 * @throws {RangeError} if no range has this name
 */
export function getRange(name) {
  if (!isRange(name)) throw new RangeError(`There is no range ${name}`);
  return RANGES[name];
}

/**
 * Return the start of a range as the API takes it: a date or a time. It is `oldestMs`
 * if that is later.
 *
 * @param {import("./types.js").Range} range
 * @param {number} nowMs
 * @param {number} oldestMs
 * @param {string} zone
 * @returns {string}
 */
export function startOf({ interval, days }, nowMs, oldestMs, zone) {
  if (interval === "hour") return timeOf(Math.max(nowMs - days * DAY_MS, oldestMs));
  const today = Date.parse(dateIn(nowMs, zone));
  const first = new Date(today - (days - 1) * DAY_MS).toISOString().slice(0, 10);
  return oldestMs && dateIn(oldestMs, zone) >= first ? timeOf(oldestMs) : first;
}

/**
 * @param {number} ms
 * @returns {string}
 */
function timeOf(ms) {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
