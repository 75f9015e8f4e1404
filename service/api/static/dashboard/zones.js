/** The time zones that the operator can select: UTC and that of the browser. */

export const UTC = "UTC";

const DAY_MS = 86_400_000;
const MINUTES_IN_HOUR = 60;
const LONGEST_RANGE_DAYS = 90;

/**
 * Return the time zone of the browser, or UTC when there is nothing to select. The
 * service counts by hours of UTC, so it rejects zones with other offsets.
 *
 * @returns {string} a name of the tz database
 */
export function browserZone() {
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  const now = Date.now();
  const offsets = [now, now - LONGEST_RANGE_DAYS * DAY_MS].map((ms) => new Date(ms).getTimezoneOffset());
  const isSelectable = offsets.every((minutes) => minutes % MINUTES_IN_HOUR === 0);
  return isSelectable && timeZone && !/^(Etc\/)?(UTC|GMT|UCT|Zulu)$/.test(timeZone) ? timeZone : UTC;
}

/**
 * Return the date of a time in a zone, such as `2026-01-31`.
 *
 * @param {number} ms
 * @param {string} timeZone
 * @returns {string}
 */
export function dateIn(ms, timeZone) {
  const format = new Intl.DateTimeFormat("en-US", { timeZone, year: "numeric", month: "2-digit", day: "2-digit" });
  const parts = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]));
  return `${parts.year}-${parts.month}-${parts.day}`;
}
