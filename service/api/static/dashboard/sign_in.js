/** The form for the operator key. */

import { byId, find, setText } from "./dom.js";
import { survivesReload } from "./key_store.js";
import { NOT_STORED } from "./notice.js";

export class SignInForm {
  #input = find(document, "#key", HTMLInputElement);
  #button = find(document, "#sign-in button", HTMLButtonElement);

  /**
   * @param {(key: string) => Promise<string>} attempt resolves to why the service
   *   rejects the key, or to an empty string
   */
  constructor(attempt) {
    if (!survivesReload) setText(byId("key-storage"), NOT_STORED);
    find(document, "#sign-in form", HTMLFormElement).addEventListener("submit", async (event) => {
      event.preventDefault();
      if (this.#button.disabled) return;
      const key = this.#input.value.trim();
      this.#button.disabled = true;
      this.#setError(key ? await attempt(key) : "Enter a key.");
      this.#button.disabled = false;
    });
  }

  /**
   * Show the form.
   *
   * @param {string} [reason] why the operator has to sign in again
   */
  show(reason = "") {
    byId("sign-in").hidden = false;
    setText(byId("key-error"), reason);
  }

  /** Hide the form and clear the input. */
  hide() {
    byId("sign-in").hidden = true;
    this.#input.value = "";
  }

  focus() {
    this.#input.focus();
  }

  /** @param {string} error */
  #setError(error) {
    setText(byId("key-error"), error);
    if (error) {
      this.#input.setAttribute("aria-invalid", "true");
      this.#input.select();
    } else {
      this.#input.removeAttribute("aria-invalid");
    }
  }
}
