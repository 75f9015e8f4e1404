/** Numbers and times as they are read: thousands separated, times in UTC. */

export const UNKNOWN = "–";

const LANGUAGE = "en-GB";
const integers = new Intl.NumberFormat(LANGUAGE);
const oneDigit = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
const shares = new Intl.NumberFormat(LANGUAGE, { style: "percent", ...oneDigit });
const utc = (options) => new Intl.DateTimeFormat(LANGUAGE, { timeZone: "UTC", hourCycle: "h23", ...options });
const hours = utc({ hour: "2-digit", minute: "2-digit" });
const seconds = utc({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const days = utc({ day: "numeric", month: "short" });
const wholeDays = utc({ day: "numeric", month: "short", year: "numeric" });

/** Each takes a number, and gives its text. */
export const integer = (number) => integers.format(number);
export const about = (number) => (number ? `≈ ${integers.format(number)}` : "0");
export const share = (part, whole) => (whole ? shares.format(part / whole) : UNKNOWN);

/** Each takes milliseconds since the epoch. */
export const hour = (ms) => hours.format(ms);
export const second = (ms) => seconds.format(ms);
export const day = (ms) => days.format(ms);
export const dayOfYear = (ms) => wholeDays.format(ms);

/** Return a size in decimal units: `1.2 MB`. */
export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; size >= 999.5 && unit < units.length - 1; unit += 1) size /= 1000;
  return `${size < 9.95 && unit ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

/** Return a duration, rounded down: `90 minutes`, `5 hours`, `3 days`. The doctor uses the same steps. */
export function duration(seconds) {
  const steps = [
    [2 * 3600, 60, "minute"],
    [2 * 86_400, 3600, "hour"],
    [Infinity, 86_400, "day"],
  ];
  const [, size, unit] = steps.find(([below]) => seconds < below);
  const number = Math.floor(seconds / size);
  return `${integer(number)} ${unit}${number === 1 ? "" : "s"}`;
}

/** Return a stretch of time, `to` not included: whole days by their names, else with hours. */
export function span(from, to) {
  const DAY = 86_400_000;
  if (from % DAY || to % DAY) {
    const end = from - (from % DAY) === to - (to % DAY) ? hour(to) : `${day(to)}, ${hour(to)}`;
    return `${day(from)}, ${hour(from)} – ${end} UTC`;
  }
  const last = to - DAY;
  return last > from ? `${day(from)} – ${day(last)}, UTC days` : `${day(from)}, UTC day`;
}
