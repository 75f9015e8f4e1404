/** The ranges one can choose: what is asked of the service, and how often. */

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

// An hourly range goes back from now; a daily one is of whole UTC days, today included.
const RANGES = {
  "24h": { words: "last 24 hours", interval: "hour", days: 1, pauseSeconds: 3 },
  "7d": { words: "last 7 days", interval: "hour", days: 7, pauseSeconds: 5 },
  "30d": { words: "last 30 days", interval: "day", days: 30, pauseSeconds: 10 },
  "90d": { words: "last 90 days", interval: "day", days: 90, pauseSeconds: 20 },
};

export const DEFAULT_RANGE = "24h";

/** Return the range of a name such as `7d`; undefined where there is none. */
export function rangeOf(name) {
  return Object.hasOwn(RANGES, name) ? RANGES[name] : undefined;
}

/** Return where a range begins, in ms, but not before `oldest`. */
export function startOf(range, now, oldest) {
  const start = range.interval === "hour" ? now - range.days * DAY : now - (now % DAY) - (range.days - 1) * DAY;
  return Math.max(start, oldest);
}

/** Return the length of an interval, in ms. */
export function lengthOf(interval) {
  return interval === "hour" ? HOUR : DAY;
}
