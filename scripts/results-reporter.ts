// A vitest reporter for `npm test`: what passed, and in words what failed.
// In: the end of a run. Out: the file `.cache/test-results.json` in the folder whose tests ran, read by `test.ts`.
// Errors outside of tests (a worker that died, a promise nobody waited for) count as failures too.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Reporter, SerializedError, TestModule, Vitest } from "vitest/node";

import type { Failure, Results } from "./test-results.ts";
import { resultsFile } from "./test-results.ts";

/** The message, the difference, and the frames that are not the test runner's. */
function describe({ name, message, stack, diff, cause }: SerializedError): string {
  const text = stack?.includes(message) ? stack : `${name ?? "Error"}: ${message}\n${stack ?? ""}`;
  const own = text.split("\n").filter((line) => !/^\s+at .*node_modules/.test(line));
  if (typeof diff === "string") own.push(stripVTControlCharacters(diff));
  if (cause) own.push(`caused by ${describe(cause)}`);
  return own.join("\n");
}

// oxlint-disable-next-line import/no-default-export -- how vitest finds a reporter
export default class ResultsReporter implements Reporter {
  #folder = ".";

  onInit(vitest: Vitest): void {
    this.#folder = vitest.config.root;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const failures: Failure[] = unhandledErrors.map((error) => ({
      name: "an error outside of the tests",
      message: describe(error),
    }));
    let passed = 0;
    let skipped = 0;
    for (const module of modules) {
      const fail = (name: string, errors: readonly SerializedError[]): void => {
        const message = errors.map(describe).join("\n");
        failures.push({ name: `${module.relativeModuleId} › ${name}`, message });
      };
      if (module.errors().length > 0) fail("the file", module.errors());
      for (const suite of module.children.allSuites())
        if (suite.errors().length > 0) fail(suite.fullName, suite.errors());
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result();
        if (state === "passed") passed++;
        else if (state === "failed") fail(test.fullName, errors);
        else skipped++;
      }
    }
    const results: Results = { passed, skipped, failures };
    const file = join(this.#folder, resultsFile);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, JSON.stringify(results, undefined, 2));
  }
}
