/**
 * Stores the operator key in sessionStorage, which the browser clears when the tab is
 * closed.
 *
 * A browser that blocks cookies also blocks storage. The key is then only in the state
 * of the page, and the operator signs in again after a reload.
 */

const NAME = "jay-tracking-operator-key";
const PROBE = "jay-tracking-probe";

const storage = findStorage();

/** Whether the key is available after a reload. */
export const survivesReload = storage !== null;

/**
 * Return the stored key, or an empty string.
 *
 * @returns {string}
 */
export function readKey() {
  return storage?.getItem(NAME) ?? "";
}

/** @param {string} key */
export function storeKey(key) {
  storage?.setItem(NAME, key);
}

export function forgetKey() {
  storage?.removeItem(NAME);
}

/**
 * Return the storage, or null. Depending on the browser, blocked storage throws on the
 * first access, is null, or throws on a write.
 *
 * @returns {Storage | null}
 */
function findStorage() {
  try {
    const { sessionStorage } = window;
    sessionStorage.setItem(PROBE, "");
    sessionStorage.removeItem(PROBE);
    return sessionStorage;
  } catch {
    return null;
  }
}
