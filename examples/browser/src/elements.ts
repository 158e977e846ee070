/** The elements of the page. In: an id and what the element must be. Out: the element, or an error that names what is missing. */
import { InternalError } from "@millrace/graph";

/** The element of that id. */
export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.querySelector(`#${id}`);
  if (found instanceof type) return found;
  throw new InternalError({ what: `the page has no ${type.name} "${id}"`, where: "index.html" });
}

/** Text where there may be nothing. */
export function showText(id: string, text: string): void {
  element(id, HTMLElement).textContent = text;
}

/** An error in words; nothing takes it away. */
export function showError(message: string | undefined): void {
  const place = element("error", HTMLParagraphElement);
  place.hidden = message === undefined;
  place.textContent = message ?? "";
}
