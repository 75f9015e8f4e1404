/**
 * The content of the chart: the largest sources as separate series, the rest as one.
 */

import { formatDate, formatDay, formatTime } from "./format.js";

/** The number of colors that a reader can distinguish. `dashboard.css` defines them. */
export const SLOTS = 8;

/**
 * The colors of the sources. A source keeps its color while it is one of the largest,
 * so that no bar changes its color when the figures change.
 */
export class Slots {
  /** @type {Map<string, number>} */
  #slotBySource = new Map();

  /**
   * Return the slot (1 to SLOTS) of each source, ordered by slot.
   *
   * @param {string[]} sources at most SLOTS sources
   * @returns {Map<string, number>}
   */
  assign(sources) {
    for (const source of this.#slotBySource.keys()) {
      if (!sources.includes(source)) this.#slotBySource.delete(source);
    }
    const used = new Set(this.#slotBySource.values());
    let next = 1;
    for (const source of sources) {
      if (this.#slotBySource.has(source)) continue;
      while (used.has(next)) next += 1;
      used.add(next);
      this.#slotBySource.set(source, next);
    }
    return new Map([...this.#slotBySource].sort((one, other) => one[1] - other[1]));
  }
}

/**
 * Return the sources ordered by sessions created, most first. Ties are ordered by
 * active sessions, then by name.
 *
 * @param {import("./types.js").SourceTotals[]} sources
 * @returns {import("./types.js").SourceTotals[]}
 */
export function rankSources(sources) {
  return [...sources].sort(
    (one, other) =>
      other.created - one.created || other.active - one.active || (one.source < other.source ? -1 : 1),
  );
}

/**
 * Return the content of the chart. The series `other` merges the sources without a slot
 * and is the last one. Created sessions have a value per interval, active sessions one
 * per start of an interval that is known, and one for now.
 *
 * @param {import("./types.js").SessionsAnswer} answer
 * @param {Slots} slots
 * @param {import("./types.js").Figure} figure
 * @returns {import("./types.js").Stack}
 */
export function createStack(answer, slots, figure) {
  const isActive = figure === "active";
  const points = answer.series.filter((point) => point[figure] !== null);
  const [asOfMs, endMs] = [answer.as_of, answer.to].map(Date.parse);
  const startsMs = points.map(({ start }) => Date.parse(start));
  const totals = points.map((point) => point[figure] ?? 0);
  if (isActive) {
    startsMs.push(asOfMs);
    totals.push(answer.totals.active);
  }
  const all = rankSources(answer.sources)
    .map(({ source, active }) => {
      const values = points.map((point) => valueOf(point, source, figure));
      return { label: source, values: isActive ? [...values, active] : values };
    })
    .filter(({ values }) => values.some(Boolean));
  const largest = new Map(all.slice(0, SLOTS).map(({ label, values }) => [label, values]));
  /** @type {import("./types.js").Series[]} */
  const series = [...slots.assign([...largest.keys()])].map(([label, slot]) => ({
    label,
    slot,
    values: largest.get(label) ?? [],
  }));
  const others = all.length - series.length;
  if (others > 0) series.push(mergeOthers(others, totals, series));
  return { figure, interval: answer.interval, zone: answer.tz, startsMs, endMs, totals, series, asOfMs };
}

/**
 * Return the value of a source in an interval. A source can have a name such as
 * `constructor`, so inherited properties do not count.
 *
 * @param {import("./types.js").Point} point
 * @param {string} source
 * @param {import("./types.js").Figure} figure
 * @returns {number}
 */
function valueOf(point, source, figure) {
  return (Object.hasOwn(point.sources, source) && point.sources[source][figure]) || 0;
}

/**
 * @param {number} count the number of merged sources
 * @param {number[]} totals
 * @param {import("./types.js").Series[]} series
 * @returns {import("./types.js").Series}
 */
function mergeOthers(count, totals, series) {
  const values = totals.map((total, index) => series.reduce((rest, one) => rest - one.values[index], total));
  return { label: count > 1 ? `${count} other sources` : "1 other source", slot: "other", values };
}

/**
 * Return the heights of the stacked series, the top series first. The chart draws each
 * series over the one before. A bar of height 0 is null, which draws nothing.
 *
 * @param {import("./types.js").Stack} stack
 * @returns {(number | null)[][]}
 */
export function stackHeights({ figure, totals, series }) {
  /** @type {(number | null)[][]} */
  const heights = [];
  let below = totals.map(() => 0);
  for (const { values } of series) {
    below = values.map((value, index) => value + below[index]);
    heights.unshift(figure === "active" ? below : below.map((height) => height || null));
  }
  return heights;
}

/**
 * Return the end of an interval.
 *
 * @param {import("./types.js").Stack} stack
 * @param {number} index
 * @returns {number}
 */
export function endOf({ startsMs, endMs }, index) {
  return startsMs[index + 1] ?? endMs;
}

/**
 * Return an interval of a stack as a string, or a time for active sessions. `so far`
 * marks an interval that has not ended.
 *
 * @param {import("./types.js").Stack} stack
 * @param {number} index
 * @param {string} [suffix] appended to the time
 * @returns {string}
 */
export function formatInterval(stack, index, suffix = "") {
  const { figure, interval, zone, startsMs, asOfMs } = stack;
  const start = startsMs[index];
  const time = `${formatDay(start, zone)}, ${formatTime(start, zone)}`;
  if (figure === "active") return `${time}${suffix}${start === asOfMs ? ", now" : ""}`;
  const end = endOf(stack, index);
  const span = interval === "hour" ? `${time}–${formatTime(end, zone)}` : formatDate(start, zone);
  return `${span}${suffix}${end > asOfMs ? ", so far" : ""}`;
}
