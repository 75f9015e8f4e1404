import assert from "node:assert/strict";
import test from "node:test";

import {
  formatBytes,
  formatDate,
  formatDay,
  formatDuration,
  formatEstimate,
  formatInteger,
  formatSentence,
  formatShare,
  formatSpan,
  formatTime,
  formatTimeWithSeconds,
} from "../../service/api/static/dashboard/format.js";

const at = Date.parse;

test("thousands are separated", () => {
  assert.equal(formatInteger(0), "0");
  assert.equal(formatInteger(1_234_567), "1,234,567");
});

test("an estimate is marked, and zero is exact", () => {
  assert.equal(formatEstimate(54_321), "≈ 54,321");
  assert.equal(formatEstimate(0), "0");
});

test("a share has one decimal, and a share of nothing is unknown", () => {
  assert.equal(formatShare(2, 51), "3.9%");
  assert.equal(formatShare(1, 1), "100.0%");
  assert.equal(formatShare(0, 0), "–");
});

test("sizes have decimal units, and one decimal below ten", () => {
  const expected = [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [9949, "9.9 kB"],
    [9950, "10 kB"],
    [999_499, "999 kB"],
    [999_500, "1.0 MB"],
    [13_000_000_000, "13 GB"],
    [5e15, "5000 TB"],
  ];
  for (const [bytes, size] of expected) assert.equal(formatBytes(bytes), size);
});

test("durations are rounded down and change their unit at 2 hours and 2 days", () => {
  const expected = [
    [0, "0 minutes"],
    [60, "1 minute"],
    [7199, "119 minutes"],
    [7200, "2 hours"],
    [172_799, "47 hours"],
    [172_800, "2 days"],
    [604_799, "6 days"],
  ];
  for (const [seconds, duration] of expected) assert.equal(formatDuration(seconds), duration);
});

test("times are in UTC on a clock of 24 hours", () => {
  const midnight = at("2026-11-26T00:00:07Z");
  assert.equal(formatTime(midnight), "00:00");
  assert.equal(formatTimeWithSeconds(midnight), "00:00:07");
  assert.equal(formatDay(midnight), "26 Nov");
  assert.equal(formatDate(midnight), "26 Nov 2026");
});

test("a span of whole days names its last day, not its end", () => {
  assert.equal(formatSpan(at("2026-11-20"), at("2026-11-28")), "20 Nov – 27 Nov, UTC days");
  assert.equal(formatSpan(at("2026-11-20"), at("2026-11-21")), "20 Nov, UTC day");
});

test("times and spans are those of a zone", () => {
  const berlin = "Europe/Berlin";
  assert.equal(formatTime(at("2026-11-26T23:30:00Z"), berlin), "00:30");
  assert.equal(formatDate(at("2026-11-26T23:30:00Z"), berlin), "27 Nov 2026");
  // The day of the change has 25 hours.
  const [start, end] = [at("2026-10-24T22:00:00Z"), at("2026-10-25T23:00:00Z")];
  assert.equal(formatSpan(start, end, berlin), "25 Oct, Europe/Berlin day");
  assert.equal(formatSpan(start, at("2026-10-27T23:00:00Z"), berlin), "25 Oct – 27 Oct, Europe/Berlin days");
  assert.equal(formatSpan(start, end), "24 Oct, 22:00 – 25 Oct, 23:00 UTC");
});

test("a span with hours names the second day only if it is another one", () => {
  const start = at("2026-11-20T06:00:00Z");
  assert.equal(formatSpan(start, at("2026-11-20T18:00:00Z")), "20 Nov, 06:00 – 18:00 UTC");
  assert.equal(formatSpan(start, at("2026-11-21T00:00:00Z")), "20 Nov, 06:00 – 21 Nov, 00:00 UTC");
});

test("a sentence has a capital letter and one period", () => {
  assert.equal(formatSentence("set appendonly yes"), "Set appendonly yes.");
  assert.equal(formatSentence("Exact."), "Exact.");
  assert.equal(formatSentence("maxmemory-policy may evict"), "maxmemory-policy may evict.");
});
