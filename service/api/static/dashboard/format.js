/** Numbers, sizes, durations and times as strings. All times are in UTC. */

import { DAY_MS } from "./ranges.js";

/** Shown instead of an unknown value. */
export const UNKNOWN = "–";

const LOCALE = "en-GB";
const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB"];
const HOUR_SECONDS = 3600;
const DAY_SECONDS = 86_400;

const integers = new Intl.NumberFormat(LOCALE);
const percentages = new Intl.NumberFormat(LOCALE, {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
const times = utcFormat({ hour: "2-digit", minute: "2-digit" });
const timesWithSeconds = utcFormat({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const days = utcFormat({ day: "numeric", month: "short" });
const dates = utcFormat({ day: "numeric", month: "short", year: "numeric" });

/**
 * @param {Intl.DateTimeFormatOptions} options
 * @returns {Intl.DateTimeFormat}
 */
function utcFormat(options) {
  return new Intl.DateTimeFormat(LOCALE, { timeZone: "UTC", hourCycle: "h23", ...options });
}

/**
 * Return an integer with separated thousands: `1,234`.
 *
 * @param {number} number
 * @returns {string}
 */
export function formatInteger(number) {
  return integers.format(number);
}

/**
 * Return an estimated count: `≈ 1,234`. Zero is never an estimate.
 *
 * @param {number} number
 * @returns {string}
 */
export function formatEstimate(number) {
  return number ? `≈ ${integers.format(number)}` : "0";
}

/**
 * Return a part of a whole in percent: `3.9%`.
 *
 * @param {number} part
 * @param {number} whole
 * @returns {string}
 */
export function formatShare(part, whole) {
  return whole ? percentages.format(part / whole) : UNKNOWN;
}

/**
 * Return a time such as `18:00`.
 *
 * @param {number} ms
 * @returns {string}
 */
export function formatTime(ms) {
  return times.format(ms);
}

/**
 * Return a time such as `18:00:12`.
 *
 * @param {number} ms
 * @returns {string}
 */
export function formatTimeWithSeconds(ms) {
  return timesWithSeconds.format(ms);
}

/**
 * Return a day such as `26 Nov`.
 *
 * @param {number} ms
 * @returns {string}
 */
export function formatDay(ms) {
  return days.format(ms);
}

/**
 * Return a date such as `26 Nov 2026`.
 *
 * @param {number} ms
 * @returns {string}
 */
export function formatDate(ms) {
  return dates.format(ms);
}

/**
 * Return a size in decimal units: `1.2 MB`.
 *
 * @param {number} bytes
 * @returns {string}
 */
export function formatBytes(bytes) {
  let size = bytes;
  let unit = 0;
  for (; size >= 999.5 && unit < BYTE_UNITS.length - 1; unit += 1) size /= 1000;
  return `${size < 9.95 && unit ? size.toFixed(1) : Math.round(size)} ${BYTE_UNITS[unit]}`;
}

/**
 * Return a duration, rounded down: `90 minutes`, `5 hours`, `3 days`. `jay-tracking
 * doctor` changes the unit at the same limits.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function formatDuration(seconds) {
  if (seconds < 2 * HOUR_SECONDS) return countUnits(seconds / 60, "minute");
  if (seconds < 2 * DAY_SECONDS) return countUnits(seconds / HOUR_SECONDS, "hour");
  return countUnits(seconds / DAY_SECONDS, "day");
}

/**
 * @param {number} number
 * @param {string} unit
 * @returns {string}
 */
function countUnits(number, unit) {
  const whole = Math.floor(number);
  return `${formatInteger(whole)} ${unit}${whole === 1 ? "" : "s"}`;
}

/**
 * Return a time span that excludes its end. Whole days are shown without hours.
 *
 * @param {number} fromMs
 * @param {number} toMs
 * @returns {string}
 */
export function formatSpan(fromMs, toMs) {
  const firstDay = fromMs - (fromMs % DAY_MS);
  const endDay = toMs - (toMs % DAY_MS);
  if (fromMs !== firstDay || toMs !== endDay) {
    const end = firstDay === endDay ? formatTime(toMs) : `${formatDay(toMs)}, ${formatTime(toMs)}`;
    return `${formatDay(fromMs)}, ${formatTime(fromMs)} – ${end} UTC`;
  }
  const lastDay = toMs - DAY_MS;
  return lastDay > fromMs
    ? `${formatDay(fromMs)} – ${formatDay(lastDay)}, UTC days`
    : `${formatDay(fromMs)}, UTC day`;
}

/**
 * Return a string as a sentence, with a capital letter and a period. A first word such
 * as `maxmemory-policy` is the name of a setting and keeps its case.
 *
 * @param {string} string
 * @returns {string}
 */
export function formatSentence(string) {
  const isName = /^\w+-/.test(string);
  const start = isName ? string : `${string.charAt(0).toUpperCase()}${string.slice(1)}`;
  return start.endsWith(".") ? start : `${start}.`;
}
