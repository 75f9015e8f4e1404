import assert from "node:assert/strict";
import test from "node:test";

import { getRange, isRange, startOf } from "../../service/api/static/dashboard/ranges.js";
import { dateIn } from "../../service/api/static/dashboard/zones.js";

const now = Date.parse("2026-03-01T17:30:00Z");

test("an hourly range begins a number of whole days before now", () => {
  assert.equal(startOf(getRange("7d"), now, 0, "UTC"), "2026-02-22T17:30:00Z");
  assert.equal(startOf(getRange("7d"), now, 0, "Asia/Tokyo"), "2026-02-22T17:30:00Z");
});

test("a daily range begins with a day of the zone and includes today", () => {
  assert.equal(startOf(getRange("30d"), now, 0, "UTC"), "2026-01-31");
  assert.equal(startOf(getRange("30d"), now, 0, "Asia/Tokyo"), "2026-02-01");
  assert.equal(startOf(getRange("30d"), Date.parse("2026-04-01T22:30:00Z"), 0, "Europe/Berlin"), "2026-03-04");
});

test("no range begins before the oldest counts", () => {
  const oldest = Date.parse("2026-02-27");
  assert.equal(startOf(getRange("90d"), now, oldest, "UTC"), "2026-02-27T00:00:00Z");
  assert.equal(startOf(getRange("24h"), now, oldest, "UTC"), "2026-02-28T17:30:00Z");
  const inTokyo = Date.parse("2026-02-27T15:00:00Z");
  assert.equal(startOf(getRange("90d"), now, inTokyo, "Asia/Tokyo"), "2026-02-27T15:00:00Z");
  assert.equal(startOf(getRange("30d"), now, Date.parse("2026-01-01"), "UTC"), "2026-01-31");
});

test("a date is that of the zone", () => {
  assert.equal(dateIn(now, "UTC"), "2026-03-01");
  assert.equal(dateIn(now, "Asia/Tokyo"), "2026-03-02");
  assert.equal(dateIn(Date.parse("2026-03-01T04:59:59Z"), "America/New_York"), "2026-02-28");
});

test("inherited properties are not ranges", () => {
  assert.equal(isRange("24h"), true);
  for (const name of ["", "1d", "constructor", "__proto__"]) {
    assert.equal(isRange(name), false);
    assert.throws(() => getRange(name), RangeError);
  }
});
