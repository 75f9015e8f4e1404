/** Numbers, sizes, durations and times as strings. Times are in UTC or another zone. */

import { UTC } from "./zones.js";

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
/** @type {Record<string, Intl.DateTimeFormatOptions>} */
const PARTS = {
  time: { hour: "2-digit", minute: "2-digit" },
  timeWithSeconds: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  day: { day: "numeric", month: "short" },
  date: { day: "numeric", month: "short", year: "numeric" },
};
/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/**
 * @param {string} parts a key of `PARTS`
 * @param {number} ms
 * @param {string} timeZone
 * @returns {string}
 */
function formatParts(parts, ms, timeZone) {
  const key = `${parts} ${timeZone}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(LOCALE, { timeZone, hourCycle: "h23", ...PARTS[parts] });
    formats.set(key, format);
  }
  return format.format(ms);
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
 * @param {string} [zone]
 * @returns {string}
 */
export function formatTime(ms, zone = UTC) {
  return formatParts("time", ms, zone);
}

/**
 * Return a time such as `18:00:12`.
 *
 * @param {number} ms
 * @param {string} [zone]
 * @returns {string}
 */
export function formatTimeWithSeconds(ms, zone = UTC) {
  return formatParts("timeWithSeconds", ms, zone);
}

/**
 * Return a day such as `26 Nov`.
 *
 * @param {number} ms
 * @param {string} [zone]
 * @returns {string}
 */
export function formatDay(ms, zone = UTC) {
  return formatParts("day", ms, zone);
}

/**
 * Return a date such as `26 Nov 2026`.
 *
 * @param {number} ms
 * @param {string} [zone]
 * @returns {string}
 */
export function formatDate(ms, zone = UTC) {
  return formatParts("date", ms, zone);
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
 * @param {string} [zone]
 * @returns {string}
 */
export function formatSpan(fromMs, toMs, zone = UTC) {
  const [start, end] = [fromMs, toMs].map((ms) => formatTime(ms, zone));
  const [firstDay, lastDay] = [fromMs, toMs - 1].map((ms) => formatDay(ms, zone));
  if (start === "00:00" && end === "00:00") {
    return firstDay === lastDay ? `${firstDay}, ${zone} day` : `${firstDay} – ${lastDay}, ${zone} days`;
  }
  const endDay = formatDay(toMs, zone);
  return `${firstDay}, ${start} – ${firstDay === endDay ? "" : `${endDay}, `}${end} ${zone}`;
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
