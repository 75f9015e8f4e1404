/**
 * The operator key: in sessionStorage, which is this tab until it is closed. A browser that blocks cookies blocks storage
 * too; the key is then in memory, and a reload of the page asks for it again.
 */

const NAME = "jay-tracking-operator-key";
const PROBE = "jay-tracking-probe";

const storage = usableStorage();
let inMemory = null;

/** Whether the key is still there after a reload. */
export const survivesReload = storage !== null;

export const storedKey = () => (storage ? storage.getItem(NAME) : inMemory);

export function keepKey(key) {
  if (storage) storage.setItem(NAME, key);
  else inMemory = key;
}

export function forgetKey() {
  storage?.removeItem(NAME);
  inMemory = null;
}

/** Return the storage, or null. Blocked storage throws at the first access, is null, or throws when it is written. */
function usableStorage() {
  try {
    const { sessionStorage } = window;
    sessionStorage.setItem(PROBE, "");
    sessionStorage.removeItem(PROBE);
    return sessionStorage;
  } catch {
    return null;
  }
}
