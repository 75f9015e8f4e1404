/** The chart over time: bars stacked by source, drawn by uPlot. Hover, touch and arrow keys show the real values. */

/* global uPlot */

import { byId, element, fit, setText } from "./dom.js";
import { intervalOf } from "./tables.js";
import { day, hour, integer } from "./text.js";

const DAY_SECONDS = 86_400;
const HOUR_SECONDS = 3600;
const LEAST_TOP = 4; // so that an axis of few sessions has whole numbers
const TIP_GAP = 12;
const LABEL_PIXELS = 56; // room for `26 Nov`
const FONT = "12px system-ui, sans-serif";
const WHOLE_NUMBERS = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
const TIME_STEPS = [1, 2, 3, 6, 12, 24, 48, 72, 168, 336, 720].map((hours) => hours * HOUR_SECONDS);

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class Chart {
  #element = byId("chart");
  #tip = byId("chart-tip");
  #stack = null;
  #plot = null;
  #drawn = ""; // the series that the plot was made for

  constructor() {
    new ResizeObserver(() => this.#resize()).observe(this.#element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#stack && this.#create());
    this.#element.addEventListener("keydown", (event) => this.#onKey(event));
    this.#element.addEventListener("blur", () => this.#point(-1));
  }

  /** Show a stack (see series.js). Only other series make another plot; other numbers change this one. */
  show(stack) {
    this.#stack = stack;
    const wanted = JSON.stringify([stack.step, ...stack.series.map((one) => one.slot)]);
    if (wanted === this.#drawn) this.#plot.setData(this.#data());
    else this.#create();
    this.#drawn = wanted;
    byId("nothing").hidden = stack.series.length > 0;
    this.#showLegend();
    this.#showTip();
  }

  /** Forget everything. */
  clear() {
    this.#plot?.destroy();
    this.#plot = this.#stack = null;
    this.#drawn = "";
    this.#tip.hidden = byId("nothing").hidden = true;
    byId("legend").replaceChildren();
  }

  /** Series as sums from the bottom up, the highest first: each is drawn over those behind it. Zero is no bar. */
  #data() {
    const { starts, step, totals, series } = this.#stack;
    const sums = [];
    let below = totals.map(() => 0);
    for (const { values } of series) {
      below = values.map((value, index) => value + below[index]);
      sums.unshift(below.map((sum) => sum || null));
    }
    return [starts.map((start) => (start + step / 2) / 1000), ...sums];
  }

  #create() {
    this.#plot?.destroy();
    const { step, series } = this.#stack;
    const paths = uPlot.paths.bars({ size: [0.84, 40], radius: 0 });
    const look = { paths, width: 0, points: { show: false } };
    const bars = series.map(({ slot }) => ({ ...look, fill: colour(`series-${slot}`) }));
    const options = {
      ...this.#size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      series: [{}, ...bars.reverse()],
      scales: {
        x: { range: () => this.#bounds() },
        y: { range: (_, low, high) => [0, Math.max(LEAST_TOP, (high ?? 0) * 1.04)] },
      },
      axes: axes(step),
      legend: { show: false },
      padding: [8, 8, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      hooks: { setCursor: [() => this.#showTip()] },
    };
    this.#plot = new uPlot(options, this.#data(), this.#element);
  }

  #bounds() {
    const { starts, step } = this.#stack;
    return [starts[0] / 1000, (starts.at(-1) + step) / 1000];
  }

  #size() {
    return { width: this.#element.clientWidth, height: this.#element.clientHeight };
  }

  #resize() {
    const { width, height } = this.#size();
    if (this.#plot && width) this.#plot.setSize({ width, height });
  }

  #showLegend() {
    const { series, totals } = this.#stack;
    const items = fit(byId("legend"), series.length, () =>
      element("li", {}, element("span", { class: "swatch" }), element("bdi")),
    );
    for (const [index, { label, slot }] of series.entries()) {
      items[index].dataset.slot = slot;
      setText(items[index].lastElementChild, label);
    }
    const sum = integer(totals.reduce((one, other) => one + other, 0));
    const words =
      `Sessions created by source, stacked over time: ${sum} in all. ` +
      "The arrow keys show single values; all stand in the table below.";
    if (this.#element.getAttribute("aria-label") !== words) this.#element.setAttribute("aria-label", words);
  }

  /** Show the values under the cursor, beside it. */
  #showTip() {
    const index = this.#plot?.cursor.idx ?? null;
    this.#tip.hidden = index === null || this.#plot.cursor.left < 0 || index >= this.#stack.starts.length;
    if (this.#tip.hidden) return;
    const { series, totals } = this.#stack;
    const there = series.filter((one) => one.values[index]).reverse();
    if (!this.#tip.childElementCount) this.#tip.append(element("p"), element("ul"));
    setText(this.#tip.firstElementChild, `${intervalOf(this.#stack, index)} UTC`);
    const items = fit(this.#tip.lastElementChild, there.length + 1, tipItem);
    fillItem(items[0], "", "All sources", totals[index]);
    for (const [row, { slot, label, values }] of there.entries()) {
      fillItem(items[row + 1], slot, label, values[index]);
    }
    this.#placeTip(index);
  }

  #placeTip(index) {
    const left = this.#plot.over.offsetLeft + this.#plot.valToPos(this.#plot.data[0][index], "x");
    const { offsetWidth: width } = this.#tip;
    const room = this.#element.clientWidth;
    const right = left + TIP_GAP;
    const x = right + width <= room ? right : Math.max(0, left - TIP_GAP - width);
    this.#tip.style.transform = `translateX(${Math.round(Math.min(x, Math.max(0, room - width)))}px)`;
  }

  #onKey(event) {
    if (!this.#stack) return;
    const last = this.#stack.starts.length - 1;
    const isOut = this.#plot.cursor.left < 0;
    const now = isOut ? last + 1 : (this.#plot.cursor.idx ?? last + 1);
    const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, Escape: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.#point(event.key === "Escape" ? -1 : Math.max(0, Math.min(last, next)));
  }

  /** Put the cursor on an interval; -1 takes it away. */
  #point(index) {
    if (!this.#plot) return;
    const left = index < 0 ? -10 : this.#plot.valToPos(this.#plot.data[0][index], "x");
    this.#plot.setCursor({ left, top: index < 0 ? -10 : 1 });
  }
}

/** Days are named under their bars; hours stand between the bars, where they begin. */
function axes(step) {
  const lines = { stroke: colour("line"), width: 1 };
  const text = { font: FONT, stroke: colour("muted"), gap: 6 };
  const isDaily = step === DAY_SECONDS * 1000;
  const label = (ms) => (isDaily || ms % (DAY_SECONDS * 1000) === 0 ? day(ms) : hour(ms));
  const times = (plot, splits) =>
    splits.map((seconds) => (seconds === plot.scales.x.max ? "" : label(seconds * 1000)));
  const middles = (plot) => {
    const every = Math.ceil((plot.data[0].length * LABEL_PIXELS) / Math.max(1, plot.over.clientWidth));
    return plot.data[0].filter((_, index) => index % every === 0);
  };
  const width = (_, values) => 14 + 7.5 * Math.max(...(values ?? [""]).map((value) => value.length));
  return [
    {
      ...text,
      ...(isDaily ? { splits: middles } : { incrs: TIME_STEPS }),
      values: times,
      space: LABEL_PIXELS,
      size: 28,
      grid: { show: false },
      ticks: { ...lines, size: 4 },
    },
    {
      ...text,
      incrs: WHOLE_NUMBERS,
      values: (_, splits) => splits.map(integer),
      space: 40,
      size: width,
      grid: lines,
      ticks: { show: false },
    },
  ];
}

function tipItem() {
  const value = element("span", { class: "number" });
  return element("li", {}, element("span", { class: "swatch" }), element("bdi"), value);
}

function fillItem(item, slot, label, value) {
  item.dataset.slot = slot;
  setText(item.children[1], label);
  setText(item.children[2], integer(value));
}
