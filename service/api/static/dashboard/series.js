/**
 * The content of the chart: the largest sources as separate series, the rest as one.
 */

import { formatDate, formatDay, formatTime } from "./format.js";
import { DAY_MS, lengthOf } from "./ranges.js";

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
 * and is the last one.
 *
 * @param {import("./types.js").SessionsAnswer} answer
 * @param {Slots} slots
 * @returns {import("./types.js").Stack}
 */
export function createStack(answer, slots) {
  const ranked = rankSources(answer.sources).filter(({ created }) => created);
  const largest = ranked.slice(0, SLOTS).map(({ source }) => source);
  /** @type {import("./types.js").Series[]} */
  const series = [...slots.assign(largest)].map(([source, slot]) => ({
    label: source,
    slot,
    values: answer.series.map((point) => createdBy(point, source)),
  }));
  const totals = answer.series.map(({ created }) => created);
  const others = ranked.length - series.length;
  if (others > 0) series.push(mergeOthers(others, totals, series));
  return {
    startsMs: answer.series.map(({ start }) => Date.parse(start)),
    stepMs: lengthOf(answer.interval),
    totals,
    series,
    asOfMs: Date.parse(answer.as_of),
  };
}

/**
 * Return the sessions that a source created in an interval. A source can have a name
 * such as `constructor`, so inherited properties do not count.
 *
 * @param {import("./types.js").Point} point
 * @param {string} source
 * @returns {number}
 */
function createdBy(point, source) {
  return Object.hasOwn(point.sources, source) ? point.sources[source].created : 0;
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
 * Return the heights of the stacked bars, the top series first. The chart draws each
 * series over the one before. A height of 0 is null, which draws no bar.
 *
 * @param {import("./types.js").Stack} stack
 * @returns {(number | null)[][]}
 */
export function stackHeights({ totals, series }) {
  /** @type {(number | null)[][]} */
  const heights = [];
  let below = totals.map(() => 0);
  for (const { values } of series) {
    below = values.map((value, index) => value + below[index]);
    heights.unshift(below.map((height) => height || null));
  }
  return heights;
}

/**
 * Return an interval of a stack as a string. `so far` marks one that has not ended.
 *
 * @param {import("./types.js").Stack} stack
 * @param {number} index
 * @param {string} [zone] appended to the time
 * @returns {string}
 */
export function formatInterval({ startsMs, stepMs, asOfMs }, index, zone = "") {
  const start = startsMs[index];
  const end = start + stepMs;
  const interval =
    stepMs < DAY_MS ? `${formatDay(start)}, ${formatTime(start)}–${formatTime(end)}` : formatDate(start);
  return `${interval}${zone}${end > asOfMs ? ", so far" : ""}`;
}
