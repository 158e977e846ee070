/**
 * What the model writes, as it comes. In: a prompt, pieces of text, the result. Out: the text in the page, with what the MTP module
 * drafted marked, and a line of counts.
 */
import type { GenerationResult } from "@millrace/runtime";

import { element, showText } from "./elements.ts";
import type { WrittenPiece } from "./session.ts";

const place = (): HTMLElement => element("written", HTMLPreElement);

/** A fresh page with the prompt on it. */
export function beginText(prompt: string): void {
  const written = document.createElement("b");
  written.textContent = prompt;
  place().replaceChildren(written);
  showText("written-note", "Writing …");
}

export function addPiece({ text, drafted }: WrittenPiece): void {
  if (drafted > 0) {
    const mark = document.createElement("mark");
    mark.textContent = text.slice(0, drafted);
    place().append(mark);
  }
  place().append(text.slice(drafted));
  place().scrollTop = place().scrollHeight;
}

/** The counts of a finished text; nothing if it was stopped. */
export function endText(result: GenerationResult | undefined): void {
  if (!result) {
    showText("written-note", "Stopped.");
    return;
  }
  const { tokens, drafted, accepted, decodeTokensPerSecond } = result;
  const drafts =
    drafted > 0
      ? `${accepted} of ${drafted} drafts accepted (${Math.round((100 * accepted) / drafted)} %), marked in the text`
      : "no drafts";
  showText(
    "written-note",
    `${tokens.length} bytes, ${drafts}, ${Math.round(decodeTokensPerSecond)} bytes per second.`,
  );
}
