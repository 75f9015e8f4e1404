/**
 * Shows a notice when the dashboard does not start, or meets an error later. Not a module and in old syntax, because it
 * has to run where the modules do not. The page itself holds the notice for the case that no script runs at all.
 */
(function () {
  "use strict";

  var OURS = location.origin + "/static/";
  var reason = "";

  function isStarted() {
    return document.documentElement.hasAttribute("data-started");
  }

  function show() {
    var notice = document.getElementById("failure");
    if (!notice) return; // the page is not parsed yet; shown at DOMContentLoaded
    if (isStarted()) {
      document.getElementById("failure-title").textContent = "The dashboard has met an error";
    }
    document.getElementById("failure-reason").textContent = reason;
    notice.className = "panel shown";
    notice.hidden = false;
  }

  /** The first reason counts: later errors follow from it. */
  function fail(words) {
    if (!reason) reason = words;
    show();
  }

  /** After the start, errors of other scripts such as those of browser extensions are none of the dashboard's. */
  function counts(place) {
    return !isStarted() || String(place).indexOf(OURS) >= 0;
  }

  addEventListener(
    "error",
    function (event) {
      var target = event.target;
      if (target && target.tagName === "SCRIPT") {
        fail("This file, or one that it needs, was not loaded: " + target.src.replace(location.origin, "") + ".");
      } else if (target === window && counts(event.filename)) {
        fail("Error: " + event.message + " (" + String(event.filename).replace(location.origin, "") + ").");
      }
    },
    true,
  );
  addEventListener("unhandledrejection", function (event) {
    var error = event.reason || {};
    if (counts(error.stack)) fail("Error: " + (error.message || error) + ".");
  });
  document.addEventListener("DOMContentLoaded", function () {
    if (reason) show();
  });
  addEventListener("load", function () {
    if (!isStarted()) fail("This browser does not run JavaScript modules.");
  });
})();
