/**
 * Sections of a document that a program writes. In: Markdown with pairs of marks. Out: the same with the text between one
 * pair replaced; everything else is left to people.
 */
import { InputError } from "@millrace/graph";

const opening = (name: string): string => `<!-- bench: ${name} -->`;
const CLOSING = "<!-- bench: end -->";

/** Names of the sections, in order. */
export function sectionNames(document: string): string[] {
  return [...document.matchAll(/<!-- bench: ([a-z]+) -->/g)]
    .map((match) => match[1]!)
    .filter((name) => name !== "end");
}

/** `document` with `text` between the marks of `name`. */
export function replaceSection(document: string, name: string, text: string): string {
  const mark = opening(name);
  const start = document.indexOf(mark);
  const end = document.indexOf(CLOSING, start);
  if (start < 0 || end < 0)
    throw new InputError({
      what: `the document has no section ${name}`,
      where: "docs/performance.md",
      hint: `Put ${mark} and ${CLOSING} on lines of their own where it belongs.`,
    });
  const before = document.slice(0, start + mark.length);
  return `${before}\n\n${text.trim()}\n\n${document.slice(end)}`;
}
