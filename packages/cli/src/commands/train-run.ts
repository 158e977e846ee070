/**
 * The run behind `millrace train`. In: checked options. Out: what the command promises. Not wired to the libraries yet.
 */
import { UnsupportedError } from "@millrace/graph";

import type { CliContext } from "../context.ts";
import type { TrainOptions } from "./train.ts";

export function runTrain(_options: TrainOptions, _context: CliContext): Promise<void> {
  throw new UnsupportedError({ what: "this command is not wired yet", where: "millrace train" });
}
