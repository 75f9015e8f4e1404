/** The form for the operator key. */

import { byId, setText } from "./dom.js";
import { survivesReload } from "./key_store.js";
import { NOT_STORED } from "./notice.js";

export class SignIn {
  #form = byId("sign-in").querySelector("form");
  #input = byId("key");
  #button = this.#form.querySelector("button");

  /** `attempt(key)` resolves to why the key is refused, in words, or to nothing. */
  constructor(attempt) {
    if (!survivesReload) setText(byId("key-kept"), NOT_STORED);
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
