/**
 * The run behind `millrace verify`. In: checked options. Out: what the command promises. Not wired to the libraries yet.
 */
import { UnsupportedError } from "@millrace/graph";

import type { CliContext } from "../context.ts";
import type { VerifyOptions } from "./verify.ts";

export function runVerify(
  _directory: string,
  _options: VerifyOptions,
  _context: CliContext,
): Promise<boolean> {
  throw new UnsupportedError({ what: "this command is not wired yet", where: "millrace verify" });
}
