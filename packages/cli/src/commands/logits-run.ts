/**
 * The run behind `millrace logits`. In: checked options. Out: what the command promises. Not wired to the libraries yet.
 */
import { UnsupportedError } from "@millrace/graph";

import type { CliContext } from "../context.ts";
import type { LogitsOptions } from "./logits.ts";

export function runLogits(
  _directory: string,
  _options: LogitsOptions,
  _context: CliContext,
): Promise<void> {
  throw new UnsupportedError({ what: "this command is not wired yet", where: "millrace logits" });
}
