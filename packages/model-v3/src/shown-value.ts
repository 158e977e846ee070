/**
 * A value of an untrusted file as part of a message. In: any JSON value. Out: its text, never longer than a line; values nested
 * so deeply that they cannot be written are called what they are.
 */

/** At most 60 characters; `(missing)` for no value. */
export function shownValue(value: unknown): string {
  const text = textOf(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function textOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "(missing)";
  } catch {
    return Array.isArray(value) ? "a list of lists" : "an object of objects";
  }
}
