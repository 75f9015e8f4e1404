/**
 * Reads and changes elements of the page.
 *
 * Strings are only set as text content, never as HTML, because clients choose the names
 * of sources and users.
 */

/**
 * Return the element with an id.
 *
 * @param {string} id
 * @returns {HTMLElement}
 * @throws {Error} if the page has no such element
 */
export function byId(id) {
  return find(document, `#${id}`, HTMLElement);
}

/**
 * Return the first element that matches a selector.
 *
 * @template {Element} T
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {new () => T} type the class of the element
 * @returns {T}
 * @throws {Error} if no element of this class matches
 */
export function find(parent, selector, type) {
  const found = parent.querySelector(selector);
  if (found instanceof type) return found;
  throw new Error(`The page has no ${type.name} ${selector}`);
}

/**
 * Return a new element.
 *
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {HTMLElement}
 */
export function element(name, attributes = {}, ...children) {
  const created = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) created.setAttribute(attribute, value);
  created.append(...children);
  return created;
}

/**
 * Set the text content of a node if it changed. An unchanged node is not painted again,
 * and a selection in it stays.
 *
 * @param {Node | null} node
 * @param {string} value
 */
export function setText(node, value) {
  if (node && node.textContent !== value) node.textContent = value;
}

/**
 * Add or remove children at the end until `parent` has `count` of them.
 *
 * @param {Element} parent
 * @param {number} count
 * @param {() => HTMLElement} create
 * @returns {HTMLElement[]} the children
 */
export function resizeChildren(parent, count, create) {
  while (parent.childElementCount > count) parent.lastElementChild?.remove();
  while (parent.childElementCount < count) parent.append(create());
  return /** @type {HTMLElement[]} */ ([...parent.children]);
}
