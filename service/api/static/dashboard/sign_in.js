/** The form for the operator key. The key is kept in sessionStorage: in this tab, until it is closed. */

import { byId, setText } from "./dom.js";

const STORED = "jay-tracking-operator-key";

export const storedKey = () => sessionStorage.getItem(STORED);
export const keepKey = (key) => sessionStorage.setItem(STORED, key);
export const forgetKey = () => sessionStorage.removeItem(STORED);

export class SignIn {
  #form = byId("sign-in").querySelector("form");
  #input = byId("key");
  #button = this.#form.querySelector("button");

  /** `attempt(key)` resolves to why the key is refused, in words, or to nothing. */
  constructor(attempt) {
    this.#form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (this.#button.disabled) return;
      const key = this.#input.value.trim();
      this.#button.disabled = true;
      this.#refuse((key ? await attempt(key) : "Enter a key.") ?? "");
      this.#button.disabled = false;
    });
  }

  /** Show the form, with a reason if there is one. */
  show(reason = "") {
    byId("sign-in").hidden = false;
    setText(byId("key-error"), reason);
  }

  /** Take the form away, and what was typed. */
  hide() {
    byId("sign-in").hidden = true;
    this.#input.value = "";
  }

  /** Put the cursor where one types. */
  focus() {
    this.#input.focus();
  }

  #refuse(reason) {
    setText(byId("key-error"), reason);
    if (reason) {
      this.#input.setAttribute("aria-invalid", "true");
      this.#input.select();
    } else {
      this.#input.removeAttribute("aria-invalid");
    }
  }
}
