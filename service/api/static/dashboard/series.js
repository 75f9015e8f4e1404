/** From an answer to what is drawn: the largest sources each by itself, the rest as one. */

import { lengthOf } from "./ranges.js";

export const SLOTS = 8; // colours that can be told apart; see dashboard.css
export const OTHERS = "other";

/** Remembers which source has which colour, so that none changes its colour while figures change. */
export class Slots {
  #bySource = new Map();

  /** Return a map from source to slot (1 to SLOTS), in the order of the slots, for at most SLOTS sources. */
  assign(names) {
    for (const name of this.#bySource.keys()) if (!names.includes(name)) this.#bySource.delete(name);
    const taken = new Set(this.#bySource.values());
    const free = Array.from({ length: SLOTS }, (_, index) => index + 1).filter((slot) => !taken.has(slot));
    for (const name of names) if (!this.#bySource.has(name)) this.#bySource.set(name, free.shift());
    return new Map([...this.#bySource].sort((one, other) => one[1] - other[1]));
  }
}

/** Return the sources, those with the most sessions created first. */
export function ranked(sources) {
  return [...sources].sort(
    (one, other) => other.created - one.created || other.active - one.active || (one.source < other.source ? -1 : 1),
  );
}

/**
 * Return the chart's content: `starts` (ms) and `step`, `totals`, and `series` from the bottom up, each with its
 * label, slot and values. Others come last.
 */
export function stackOf(answer, slots) {
  const step = lengthOf(answer.interval);
  const starts = answer.series.map((point) => Date.parse(point.start));
  const totals = answer.series.map((point) => point.created);
  const drawn = ranked(answer.sources).filter((figures) => figures.created);
  const series = [...slots.assign(drawn.slice(0, SLOTS).map((figures) => figures.source))].map(([source, slot]) => ({
    label: source,
    slot,
    values: answer.series.map((point) => createdOf(point, source)),
  }));
  const others = drawn.length - series.length;
  if (others > 0) {
    const values = totals.map((total, index) => total - series.reduce((sum, one) => sum + one.values[index], 0));
    series.push({ label: others > 1 ? `${others} other sources` : "1 other source", slot: OTHERS, values });
  }
  return { starts, step, totals, series, as_of: Date.parse(answer.as_of) };
}

/** A source may be called `constructor`: only what the answer itself has counts. */
function createdOf(point, source) {
  return Object.hasOwn(point.sources, source) ? point.sources[source].created : 0;
}
