/**
 * A folder for models that are not what they should be. In: a model's files. Out: what commands make of them, with what every
 * such run must hold: an end in time, and an output file that is whole or not there. For tests only; it is not published.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { openSafetensorsFile } from "@millrace/model-v3/node";
import { expect } from "vitest";

import {
  type Files,
  type Finished,
  inputIds,
  lastLine,
  problemOf,
  run,
  tensorFile,
  writeFiles,
} from "./small-model.ts";

export type CommandName = "generate" | "logits" | "verify";

export interface ModelFolder {
  readonly home: string;
  /** Where the model is put. */
  readonly model: string;
  /** What `logits` writes. */
  readonly out: string;
  /** The command over the model as it lies there. */
  run(command: CommandName): Promise<Finished>;
  /** The command over these files. */
  runOver(files: Files, command: CommandName): Promise<Finished>;
  /** The same, which must end in a problem whose line has what is `mentioned`. */
  expectProblem(
    files: Files,
    command: CommandName,
    ...mentioned: readonly (string | RegExp)[]
  ): Promise<void>;
  remove(): void;
}

export async function createModelFolder(): Promise<ModelFolder> {
  const home = mkdtempSync(join(tmpdir(), "millrace-model-"));
  const [model, ids, out] = [join(home, "model"), join(home, "ids"), join(home, "out")];
  writeFileSync(ids, await tensorFile({ input_ids: inputIds([1, 5]) }));
  const commands: Readonly<Record<CommandName, readonly string[]>> = {
    generate: ["generate", model, "--prompt-ids", "1,2", "--max-tokens", "2"],
    logits: ["logits", model, "--input", ids, "--out", out],
    verify: ["verify", model],
  };
  const folder: ModelFolder = {
    home,
    model,
    out,
    async run(command) {
      rmSync(out, { force: true });
      const begun = performance.now();
      const finished = await run(...commands[command]);
      expect(performance.now() - begun).toBeLessThan(30_000);
      expect(existsSync(out)).toBe(command === "logits" && finished.status === 0);
      if (existsSync(out)) await (await openSafetensorsFile(out)).close();
      return finished;
    },
    runOver(files, command) {
      writeFiles(model, files);
      return folder.run(command);
    },
    async expectProblem(files, command, ...mentioned) {
      const finished = await folder.runOver(files, command);
      expect(problemOf(finished), finished.stderr).toBeUndefined();
      for (const text of mentioned) expect(lastLine(finished)).toMatch(text);
    },
    remove: () => rmSync(home, { recursive: true }),
  };
  return folder;
}
