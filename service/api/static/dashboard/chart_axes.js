/** The axes of the chart: times below, numbers of sessions at the left. */

import { formatDay, formatInteger, formatTime } from "./format.js";

const HOUR_SECONDS = 3600;
const LABEL_PIXELS = 56; // room for `26 Nov`

/** The space at the right of the bars, in which a label can extend. */
export const RIGHT_PADDING_PIXELS = 8;

const NUMBER_LABEL_PIXELS = 14; // the space beside a number
const DIGIT_PIXELS = 7.5;
const FONT = "12px system-ui, sans-serif";
const WHOLE_NUMBERS = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
const TIME_STEPS = [1, 2, 3, 6, 12, 24, 48, 72, 168, 336, 720].map((hours) => hours * HOUR_SECONDS);

/**
 * Return the value of a color of `dashboard.css`.
 *
 * @param {string} name
 * @returns {string}
 */
export function cssColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/**
 * Return the options of both axes. A day's label is below its bar. An hour's label is
 * at the start of the hour, which is between two bars.
 *
 * @param {import("./types.js").Stack} stack
 * @returns {uPlot.Axis[]}
 */
export function createAxes({ interval, zone }) {
  const lines = { stroke: cssColor("line"), width: 1 };
  const labels = { font: FONT, stroke: cssColor("muted"), gap: 6 };
  const isDaily = interval === "day";
  return [
    {
      ...labels,
      ...(isDaily ? { splits: middlesOfDays } : { incrs: TIME_STEPS }),
      values: (plot, splits) => timeLabels(plot, splits, isDaily, zone),
      space: LABEL_PIXELS,
      size: 28,
      grid: { show: false },
      ticks: { ...lines, size: 4 },
    },
    {
      ...labels,
      incrs: WHOLE_NUMBERS,
      values: (_, splits) => splits.map(formatInteger),
      space: 40,
      size: (_, values) => widthOf(values ?? []),
      grid: lines,
      ticks: { show: false },
    },
  ];
}

/**
 * Return the width of an axis in pixels.
 *
 * @param {string[]} labels
 * @returns {number}
 */
function widthOf(labels) {
  return NUMBER_LABEL_PIXELS + DIGIT_PIXELS * Math.max(0, ...labels.map(({ length }) => length));
}

/**
 * Return the middle of every day, or of every nth day where there is no room for all.
 *
 * @param {uPlot} plot
 * @returns {number[]}
 */
function middlesOfDays(plot) {
  const middles = [...plot.data[0]];
  const every = Math.ceil((middles.length * LABEL_PIXELS) / Math.max(1, plot.over.clientWidth));
  return middles.filter((_, index) => index % every === 0);
}

/**
 * Return a label for each time. A time close to the right edge gets none, because the
 * canvas would cut off its label.
 *
 * @param {uPlot} plot
 * @param {number[]} splits in seconds
 * @param {boolean} isDaily
 * @param {string} zone
 * @returns {string[]}
 */
function timeLabels(plot, splits, isDaily, zone) {
  const rightmost = plot.over.clientWidth + RIGHT_PADDING_PIXELS - LABEL_PIXELS / 2;
  return splits.map((seconds) => {
    const ms = seconds * 1000;
    if (plot.valToPos(seconds, "x") > rightmost) return "";
    const time = formatTime(ms, zone);
    return isDaily || time === "00:00" ? formatDay(ms, zone) : time;
  });
}
