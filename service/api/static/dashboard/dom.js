/** Elements made and changed in place. Texts are only ever set as text: a source or a user id is never HTML. */

/** Return the element of an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Return a new element; `attributes` as in HTML, `children` elements or texts. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

/** Set a text unless it stands there already: what does not change is not painted, and a selection stays. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Give `parent` exactly so many children, keeping those there are; return them. */
export function fit(parent, count, create) {
  while (parent.childElementCount > count) parent.lastElementChild.remove();
  while (parent.childElementCount < count) parent.append(create());
  return parent.children;
}
