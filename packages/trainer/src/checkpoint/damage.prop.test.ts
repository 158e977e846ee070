import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { findTrainingCheckpoint } from "./load.ts";
import { saveTrainingCheckpoint } from "./save.ts";

let directory = "";
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "millrace-damage-"));
  for (const step of [1, 2])
    await saveTrainingCheckpoint(directory, {
      state: { step, seed: step, dataFingerprint: "f", options: { precision: "f32" } },
      writeModel: (into) =>
        Promise.resolve(writeFileSync(join(into, "config.json"), `{"s":${step}}`)),
      writeTraining: (into) =>
        Promise.resolve(writeFileSync(join(into, "moments.safetensors"), Buffer.alloc(40, step))),
    });
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("a damaged checkpoint", () => {
  it("is never used: the one before it is, and the warning names the file", async () => {
    const newest = join(directory, "training", "step-2");
    const files = readdirSync(newest);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.oneof(
          fc.constant("cut" as const),
          fc.constant("insert" as const),
          fc.integer({ min: 1, max: 255 }),
        ),
        async (file, at, how) => {
          const path = join(newest, file);
          const good = readFileSync(path);
          const offset = Math.floor(at * good.length);
          const bad =
            how === "cut"
              ? good.subarray(0, offset)
              : how === "insert"
                ? Buffer.concat([good.subarray(0, offset), Buffer.from("7"), good.subarray(offset)])
                : Buffer.from(good.map((byte, i) => (i === offset ? byte ^ how : byte)));
          writeFileSync(path, bad);
          const warnings: string[] = [];
          try {
            const found = await findTrainingCheckpoint(directory, (text) => warnings.push(text));
            // A manifest with other white space still says the same.
            if (file === "manifest.json" && found?.state.step === 2)
              expect(found.state.seed).toBe(2);
            else {
              expect(found?.state.step).toBe(1);
              expect(warnings.join()).toContain(path);
            }
          } finally {
            writeFileSync(path, good);
          }
        },
      ),
      { numRuns: 150 },
    );
    expect((await findTrainingCheckpoint(directory, () => undefined))?.state.step).toBe(2);
  });
});
