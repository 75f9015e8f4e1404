/**
 * The chart of created or active sessions, drawn by uPlot: bars or areas, stacked by
 * source. The pointer and the arrow keys show the values of an interval.
 */

import { RIGHT_PADDING_PIXELS, createAxes, cssColor } from "./chart_axes.js";
import { byId, element, resizeChildren, setText } from "./dom.js";
import { formatInteger } from "./format.js";
import { endOf, formatInterval, stackHeights } from "./series.js";

const MIN_TOP = 4; // with few sessions, the axis still has whole numbers
const TOOLTIP_GAP_PIXELS = 12;
const OUTSIDE = -10; // a position at which uPlot shows no cursor

export class Chart {
  #element = byId("chart");
  #tooltip = byId("chart-tip");
  /** @type {import("./types.js").Stack | null} */
  #stack = null;
  /** @type {uPlot | null} */
  #plot = null;
  /** The choices and the slots that the plot was created for. */
  #layout = "";

  constructor() {
    new ResizeObserver(() => this.#resize()).observe(this.#element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      if (this.#stack) this.#createPlot(this.#stack);
    });
    this.#element.addEventListener("keydown", (event) => this.#onKey(event));
    this.#element.addEventListener("blur", () => this.#moveCursor(-1));
  }

  /**
   * Show a stack. The plot is created again only for other choices or slots.
   *
   * @param {import("./types.js").Stack} stack
   */
  show(stack) {
    this.#stack = stack;
    const { figure, interval, zone, series } = stack;
    const layout = JSON.stringify([figure, interval, zone, ...series.map(({ slot }) => slot)]);
    if (this.#plot && layout === this.#layout) this.#plot.setData(dataOf(stack));
    else this.#createPlot(stack);
    this.#layout = layout;
    byId("chart-empty").hidden = series.length > 0;
    setText(byId("chart-empty"), `No sessions were ${figure} in this range.`);
    this.#showLegend(stack);
    this.#describe(stack);
    this.#showTooltip();
  }

  /** Remove everything that was shown. */
  clear() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#stack = null;
    this.#layout = "";
    this.#tooltip.hidden = true;
    byId("chart-empty").hidden = true;
    byId("legend").replaceChildren();
  }

  /** @param {import("./types.js").Stack} stack */
  #createPlot(stack) {
    this.#plot?.destroy();
    const paths = stack.figure === "active" ? undefined : uPlot.paths.bars?.({ size: [0.84, 40], radius: 0 });
    const bars = stack.series.map(({ slot }) => ({
      paths,
      width: 0,
      points: { show: false },
      fill: cssColor(`series-${slot}`),
    }));
    /** @type {uPlot.Options} */
    const options = {
      ...this.#size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), stack.zone),
      series: [{}, ...bars.reverse()],
      scales: {
        x: { range: () => this.#bounds() },
        y: { range: (_plot, _low, high) => [0, Math.max(MIN_TOP, (high ?? 0) * 1.04)] },
      },
      axes: createAxes(stack),
      legend: { show: false },
      padding: [8, RIGHT_PADDING_PIXELS, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      hooks: { setCursor: [() => this.#showTooltip()] },
    };
    this.#plot = new uPlot(options, dataOf(stack), this.#element);
  }

  /** @returns {[number, number]} the start and the end of the stack in seconds */
  #bounds() {
    if (!this.#stack) return [0, 1];
    const { startsMs, endMs } = this.#stack;
    return [startsMs[0] / 1000, endMs / 1000];
  }

  #size() {
    return { width: this.#element.clientWidth, height: this.#element.clientHeight };
  }

  #resize() {
    const { width, height } = this.#size();
    if (this.#plot && width) this.#plot.setSize({ width, height });
  }

  /** @param {import("./types.js").Stack} stack */
  #showLegend({ series }) {
    const items = resizeChildren(byId("legend"), series.length, () =>
      element("li", {}, element("span", { class: "swatch" }), element("bdi")),
    );
    for (const [index, { label, slot }] of series.entries()) {
      items[index].dataset.slot = String(slot);
      setText(items[index].lastElementChild, label);
    }
  }

  /**
   * Set the description for screen readers. An unchanged one is not announced again.
   *
   * @param {import("./types.js").Stack} stack
   */
  #describe({ figure, totals }) {
    const number =
      figure === "active"
        ? `${formatInteger(Math.max(0, ...totals))} at most`
        : `${formatInteger(totals.reduce((total, one) => total + one, 0))} in total`;
    const description =
      `Sessions ${figure} over time, stacked by source: ${number}. ` +
      "Use the arrow keys to read single intervals, or open the table below.";
    if (this.#element.ariaLabel !== description) this.#element.ariaLabel = description;
  }

  /** Show the values of the interval under the cursor. */
  #showTooltip() {
    const { idx: index, left } = this.#plot?.cursor ?? {};
    const stack = this.#stack;
    this.#tooltip.hidden = !stack || typeof index !== "number" || (left ?? 0) < 0 || index >= stack.startsMs.length;
    if (this.#tooltip.hidden || !stack || typeof index !== "number") return;
    const visible = stack.series.filter(({ values }) => values[index]).reverse();
    if (!this.#tooltip.childElementCount) this.#tooltip.append(element("p"), element("ul"));
    const [title, list] = this.#tooltip.children;
    setText(title, formatInterval(stack, index, ` ${stack.zone}`));
    const items = resizeChildren(list, visible.length + 1, createTooltipItem);
    fillTooltipItem(items[0], { slot: "", label: "All sources", value: stack.totals[index] });
    for (const [row, { slot, label, values }] of visible.entries()) {
      fillTooltipItem(items[row + 1], { slot, label, value: values[index] });
    }
    this.#placeTooltip(index);
  }

  /**
   * Put the tooltip beside the cursor, at the right where it fits.
   *
   * @param {number} index
   */
  #placeTooltip(index) {
    if (!this.#plot) return;
    const cursor = this.#plot.over.offsetLeft + this.#positionOf(this.#plot, index);
    const { offsetWidth: width } = this.#tooltip;
    const available = this.#element.clientWidth;
    const right = cursor + TOOLTIP_GAP_PIXELS;
    const left = right + width <= available ? right : Math.max(0, cursor - TOOLTIP_GAP_PIXELS - width);
    const inside = Math.min(left, Math.max(0, available - width));
    this.#tooltip.style.transform = `translateX(${Math.round(inside)}px)`;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (!this.#stack || !this.#plot) return;
    const last = this.#stack.startsMs.length - 1;
    const { idx, left = OUTSIDE } = this.#plot.cursor;
    const index = left < 0 ? last + 1 : (idx ?? last + 1);
    /** @type {Record<string, number>} */
    const targets = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: last };
    if (event.key === "Escape") this.#moveCursor(-1);
    else if (event.key in targets) this.#moveCursor(Math.max(0, Math.min(last, targets[event.key])));
    else return;
    event.preventDefault();
  }

  /**
   * Move the cursor to an interval. -1 removes it.
   *
   * @param {number} index
   */
  #moveCursor(index) {
    if (!this.#plot) return;
    const left = index < 0 ? OUTSIDE : this.#positionOf(this.#plot, index);
    this.#plot.setCursor({ left, top: index < 0 ? OUTSIDE : 1 });
  }

  /**
   * @param {uPlot} plot
   * @param {number} index
   * @returns {number} the horizontal position of an interval in pixels
   */
  #positionOf(plot, index) {
    return plot.valToPos(plot.data[0][index], "x");
  }
}

/**
 * Return the data of the plot: the middles of the bars, or the times of the areas, in
 * seconds, then the heights of each series.
 *
 * @param {import("./types.js").Stack} stack
 * @returns {uPlot.AlignedData}
 */
function dataOf(stack) {
  const { figure, startsMs } = stack;
  const places = startsMs.map((start, index) => (figure === "active" ? start : (start + endOf(stack, index)) / 2));
  return [places.map((ms) => ms / 1000), ...stackHeights(stack)];
}

/** @returns {HTMLElement} */
function createTooltipItem() {
  const value = element("span", { class: "number" });
  return element("li", {}, element("span", { class: "swatch" }), element("bdi"), value);
}

/**
 * @param {HTMLElement} item
 * @param {{ slot: import("./types.js").Slot, label: string, value: number }} content
 */
function fillTooltipItem(item, { slot, label, value }) {
  item.dataset.slot = String(slot);
  setText(item.children[1], label);
  setText(item.children[2], formatInteger(value));
}
