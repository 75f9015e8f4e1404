import assert from "node:assert/strict";
import test from "node:test";

import { getRange, isRange, lengthOf, startOf } from "../../service/api/static/dashboard/ranges.js";

const now = Date.parse("2026-03-01T17:30:00Z");

test("an hourly range begins a number of whole days before now", () => {
  assert.equal(startOf(getRange("7d"), now, 0), Date.parse("2026-02-22T17:30:00Z"));
});

test("a daily range begins at midnight UTC and includes today", () => {
  assert.equal(startOf(getRange("30d"), now, 0), Date.parse("2026-01-31"));
});

test("no range begins before the oldest counts", () => {
  const oldest = Date.parse("2026-02-27");
  assert.equal(startOf(getRange("90d"), now, oldest), oldest);
  assert.equal(startOf(getRange("24h"), now, oldest), now - 86_400_000);
});

test("inherited properties are not ranges", () => {
  assert.equal(isRange("24h"), true);
  for (const name of ["", "1d", "constructor", "__proto__"]) {
    assert.equal(isRange(name), false);
    assert.throws(() => getRange(name), RangeError);
  }
});

test("intervals are an hour and a day long", () => {
  assert.deepEqual([lengthOf("hour"), lengthOf("day")], [3_600_000, 86_400_000]);
});
