/**
 * The run behind `millrace generate`. In: checked options. Out: what the command promises. Not wired to the libraries yet.
 */
import { UnsupportedError } from "@millrace/graph";

import type { CliContext } from "../context.ts";
import type { GenerateOptions } from "./generate.ts";

export function runGenerate(
  _directory: string,
  _options: GenerateOptions,
  _context: CliContext,
): Promise<void> {
  throw new UnsupportedError({ what: "this command is not wired yet", where: "millrace generate" });
}
