/** The ranges that the operator can select: their length, interval and refresh rate. */

const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/**
 * An hourly range ends now. A daily range consists of whole UTC days and includes
 * today. Longer ranges cost the service more and change more slowly, so they refresh
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
 * Return the start of a range in ms, or `oldestMs` if that is later.
 *
 * @param {import("./types.js").Range} range
 * @param {number} nowMs
 * @param {number} oldestMs
 * @returns {number}
 */
export function startOf({ interval, days }, nowMs, oldestMs) {
  const today = nowMs - (nowMs % DAY_MS);
  const start = interval === "hour" ? nowMs - days * DAY_MS : today - (days - 1) * DAY_MS;
  return Math.max(start, oldestMs);
}

/**
 * Return the length of an interval in ms.
 *
 * @param {import("./types.js").Interval} interval
 * @returns {number}
 */
export function lengthOf(interval) {
  return interval === "hour" ? HOUR_MS : DAY_MS;
}
