/**
 * The run behind `millrace compile`. In: checked options. Out: what the command promises. Not wired to the libraries yet.
 */
import { UnsupportedError } from "@millrace/graph";

import type { CliContext } from "../context.ts";
import type { CompileOptions } from "./compile.ts";

export function runCompile(
  _directory: string | undefined,
  _options: CompileOptions,
  _context: CliContext,
): Promise<void> {
  throw new UnsupportedError({ what: "this command is not wired yet", where: "millrace compile" });
}
