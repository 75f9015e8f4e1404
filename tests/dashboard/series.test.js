import assert from "node:assert/strict";
import test from "node:test";

import {
  SLOTS,
  Slots,
  createStack,
  endOf,
  formatInterval,
  rankSources,
  stackHeights,
} from "../../service/api/static/dashboard/series.js";
import { sessionsAnswer } from "./fixtures.js";

test("sources are ranked by created, then by active, then by name", () => {
  const sources = [
    { source: "d", created: 1, active: 0 },
    { source: "c", created: 1, active: 0 },
    { source: "b", created: 1, active: 5 },
    { source: "a", created: 9, active: 0 },
  ];
  assert.deepEqual(rankSources(sources).map(({ source }) => source), ["a", "b", "c", "d"]);
  assert.equal(sources[0].source, "d");
});

test("a source keeps its slot, and a new one gets the lowest free slot", () => {
  const slots = new Slots();
  assert.deepEqual([...slots.assign(["a", "b", "c"])], [["a", 1], ["b", 2], ["c", 3]]);
  assert.deepEqual([...slots.assign(["c", "d", "b"])], [["d", 1], ["b", 2], ["c", 3]]);
  assert.deepEqual([...slots.assign(["e", "f"])], [["e", 1], ["f", 2]]);
});

test("a stack has a series for each source in the order of slots", () => {
  const stack = createStack(sessionsAnswer({ web: [1, 2], tv: [5, 0] }), new Slots(), "created");
  assert.deepEqual(stack.series, [
    { label: "tv", slot: 1, values: [5, 0] },
    { label: "web", slot: 2, values: [1, 2] },
  ]);
  assert.deepEqual(stack.totals, [6, 2]);
  assert.equal(stack.interval, "hour");
});

test("sources without sessions are not drawn", () => {
  assert.deepEqual(createStack(sessionsAnswer({ web: [0, 0] }), new Slots(), "created").series, []);
});

test("sources without a slot are merged into one series", () => {
  const created = Object.fromEntries(Array.from({ length: SLOTS }, (_, index) => [`large-${index}`, [10, 10]]));
  const one = createStack(sessionsAnswer({ ...created, small: [3, 0] }), new Slots(), "created");
  assert.deepEqual(one.series.at(-1), { label: "1 other source", slot: "other", values: [3, 0] });
  const two = createStack(sessionsAnswer({ ...created, small: [3, 0], tiny: [1, 1] }), new Slots(), "created");
  assert.deepEqual(two.series.at(-1), { label: "2 other sources", slot: "other", values: [4, 1] });
});

test("a source can have the name of an inherited property", () => {
  const stack = createStack(sessionsAnswer({ constructor: [0, 1], toString: [2, 0] }), new Slots(), "created");
  assert.deepEqual(stack.series.map(({ values }) => values), [[2, 0], [0, 1]]);
});

test("heights are cumulative, the top series is first, and zero draws no bar", () => {
  const series = [{ values: [5, 0] }, { values: [1, 2] }];
  assert.deepEqual(stackHeights({ figure: "created", totals: [6, 2], series }), [[6, 2], [5, null]]);
  assert.deepEqual(stackHeights({ figure: "created", totals: [0, 0], series: [] }), []);
});

test("active sessions have a value at each start and one for now", () => {
  const answer = sessionsAnswer({ web: [1, 2], tv: [5, 0] });
  const stack = createStack(answer, new Slots(), "active");
  assert.deepEqual(stack.startsMs, [...answer.series.map(({ start }) => Date.parse(start)), Date.parse(answer.as_of)]);
  assert.deepEqual(stack.totals, [12, 4, 2]);
  assert.deepEqual(stack.series, [
    { label: "tv", slot: 1, values: [10, 0, 0] },
    { label: "web", slot: 2, values: [2, 4, 2] },
  ]);
  assert.deepEqual(stackHeights(stack), [[12, 4, 2], [10, 0, 0]]);
});

test("a start whose active sessions are not known is left out", () => {
  const answer = sessionsAnswer({ web: [1, 2] });
  answer.series[0].active = null;
  assert.deepEqual(createStack(answer, new Slots(), "active").totals, [4, 2]);
  assert.deepEqual(createStack(answer, new Slots(), "created").totals, [1, 2]);
});

test("the current interval is marked", () => {
  const hourly = createStack(sessionsAnswer({}), new Slots(), "created");
  assert.equal(formatInterval(hourly, 0, " UTC"), "31 Jan, 16:00–17:00 UTC");
  assert.equal(formatInterval(hourly, 1, " UTC"), "31 Jan, 17:00–18:00 UTC, so far");
  const active = createStack(sessionsAnswer({}), new Slots(), "active");
  assert.equal(formatInterval(active, 1, " UTC"), "31 Jan, 17:00 UTC");
  assert.equal(formatInterval(active, 2, " UTC"), "31 Jan, 17:30 UTC, now");
});

test("intervals have the times of the zone", () => {
  const daily = createStack(sessionsAnswer({}, "day", "Europe/Berlin"), new Slots(), "created");
  assert.equal(formatInterval(daily, 0), "31 Jan 2026");
  assert.equal(formatInterval(daily, 1), "1 Feb 2026, so far");
  const hourly = createStack(sessionsAnswer({}, "hour", "Europe/Berlin"), new Slots(), "created");
  assert.equal(formatInterval(hourly, 0), "31 Jan, 17:00–18:00");
  assert.equal(endOf(hourly, 1), Date.parse("2026-01-31T18:00:00Z"));
});
