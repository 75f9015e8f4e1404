/**
 * Polls the service: one request at a time, none in a hidden tab, less often after
 * errors.
 */

const FIRST_RETRY_SECONDS = 2;
const MAX_RETRY_SECONDS = 15;

/**
 * Return the pause after a number of failures in a row: 2, 4, 8 and then 15 seconds.
 *
 * @param {number} failures at least 1
 * @returns {number}
 */
export function retrySeconds(failures) {
  return Math.min(MAX_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (failures - 1));
}

export class Poller {
  #poll;
  #pauseSeconds;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {AbortController | null} */
  #controller = null;
  #failures = 0;
  #isRunning = false;

  /**
   * @param {(signal: AbortSignal) => Promise<boolean>} poll requests and shows the
   *   figures, and resolves to whether it succeeded
   * @param {() => number} pauseSeconds returns the pause after a success
   */
  constructor(poll, pauseSeconds) {
    this.#poll = poll;
    this.#pauseSeconds = pauseSeconds;
    document.addEventListener("visibilitychange", () => this.#wake());
    window.addEventListener("online", () => this.#wake());
  }

  /** Poll now and from then on. Aborts a request that is in progress. */
  start() {
    this.stop();
    this.#isRunning = true;
    this.#failures = 0;
    this.#wake();
  }

  /** Abort a request that is in progress and send no more. */
  stop() {
    this.#isRunning = false;
    clearTimeout(this.#timer);
    this.#controller?.abort();
    this.#controller = null;
  }

  #wake() {
    clearTimeout(this.#timer);
    if (this.#isRunning && !this.#controller && !document.hidden) this.#run();
  }

  async #run() {
    const controller = new AbortController();
    this.#controller = controller;
    const isSuccess = await this.#poll(controller.signal);
    if (controller !== this.#controller) return; // start() or stop() was called meanwhile
    this.#controller = null;
    this.#failures = isSuccess ? 0 : this.#failures + 1;
    const pause = isSuccess ? this.#pauseSeconds() : retrySeconds(this.#failures);
    if (!document.hidden) this.#timer = setTimeout(() => this.#wake(), pause * 1000);
  }
}
