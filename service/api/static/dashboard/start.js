/**
 * Shows an error when the dashboard does not start or fails later.
 *
 * This script is not a module and uses the syntax of old browsers, because it has to
 * run where modules do not. For a page without any script, the HTML contains the
 * message.
 */
(function () {
  "use strict";

  var STATIC_URL = location.origin + "/static/";
  var reason = "";

  function isStarted() {
    return document.documentElement.hasAttribute("data-started");
  }

  /**
   * @param {string} id
   * @param {string} text
   */
  function setTextOf(id, text) {
    var found = document.getElementById(id);
    if (found) found.textContent = text;
  }

  function showReason() {
    var panel = document.getElementById("failure");
    if (!panel) return; // the parser has not reached the panel: DOMContentLoaded shows it
    if (isStarted()) setTextOf("failure-title", "The dashboard reported an error");
    setTextOf("failure-reason", reason);
    panel.className = "panel shown";
    panel.hidden = false;
  }

  /**
   * Show the first error. Later errors are usually its consequences.
   *
   * @param {string} message
   */
  function fail(message) {
    if (!reason) reason = message;
    showReason();
  }

  /**
   * After the start, only errors of the dashboard's own files count. Browser extensions
   * raise errors too.
   *
   * @param {string | undefined} place a file name or a stack trace
   */
  function isRelevant(place) {
    return !isStarted() || String(place).indexOf(STATIC_URL) >= 0;
  }

  addEventListener(
    "error",
    function (event) {
      var target = event.target;
      if (target instanceof HTMLScriptElement) {
        var path = target.src.replace(location.origin, "");
        fail("The browser could not load " + path + " or a file that it imports.");
      } else if (target === window && isRelevant(event.filename)) {
        var file = String(event.filename).replace(location.origin, "");
        fail("Error: " + event.message + " (" + file + ").");
      }
    },
    true,
  );
  addEventListener("unhandledrejection", function (event) {
    var error = event.reason || {};
    if (isRelevant(error.stack)) fail("Error: " + (error.message || error) + ".");
  });
  document.addEventListener("DOMContentLoaded", function () {
    if (reason) showReason();
  });
  addEventListener("load", function () {
    if (!isStarted()) fail("This browser does not run JavaScript modules.");
  });
})();
