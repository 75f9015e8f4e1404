/** Asks again and again: one question at a time, none in a hidden tab, later and later while it fails. */

const FIRST_RETRY_SECONDS = 2;
const LONGEST_RETRY_SECONDS = 15;

export class Poller {
  #round;
  #pauseSeconds;
  #timer = 0;
  #controller = null;
  #failures = 0;
  #runs = false;

  /** `round(signal)` asks and shows, and tells whether it was answered; `pauseSeconds()` is until the next. */
  constructor(round, pauseSeconds) {
    this.#round = round;
    this.#pauseSeconds = pauseSeconds;
    document.addEventListener("visibilitychange", () => this.#wake());
    window.addEventListener("online", () => this.#wake());
  }

  /** Begin, with a question at once; one under way is given up. */
  start() {
    this.stop();
    this.#runs = true;
    this.#failures = 0;
    this.#wake();
  }

  /** End; nothing is shown any more. */
  stop() {
    this.#runs = false;
    clearTimeout(this.#timer);
    this.#controller?.abort();
    this.#controller = null;
  }

  #wake() {
    clearTimeout(this.#timer);
    if (this.#runs && !this.#controller && !document.hidden) this.#ask();
  }

  async #ask() {
    const controller = new AbortController();
    this.#controller = controller;
    const isAnswered = await this.#round(controller.signal);
    if (controller !== this.#controller) return; // another one was started meanwhile, or none is wanted
    this.#controller = null;
    this.#failures = isAnswered ? 0 : this.#failures + 1;
    if (!document.hidden) this.#timer = setTimeout(() => this.#wake(), this.#waitSeconds() * 1000);
  }

  #waitSeconds() {
    if (!this.#failures) return this.#pauseSeconds();
    return Math.min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (this.#failures - 1));
  }
}
