// Everything `npm test` stands for: types, boundaries, documents, package tests, those of the WebAssembly backend once more with
// 256-bit registers where the engine has them, tests of the bench's arithmetic, the scripts' own.
// In: the repository. Out: the output of every step, then the closing line `N passed, N failed`.
// A step that fails without a failed test in it (a type error, a broken boundary) counts as one
// failure, so the closing line never reads "0 failed" when the exit status is not 0.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import {
  addResults,
  closingLine,
  describeFailures,
  readResults,
  type Results,
  resultsFile,
  testedFolders,
} from "./test-results.ts";
import { canRevectorize, revectorizedTests } from "./revectorized-tests.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const nothing: Results = { passed: 0, skipped: 0, failures: [] };

/** Runs one step with its output shown, and says whether it succeeded. */
function succeeds(title: string, command: string, args: readonly string[]): boolean {
  console.log(`\n== ${title}: ${command} ${args.join(" ")}`);
  const shell = process.platform === "win32";
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit", shell });
  if (error !== undefined) console.error(error.message);
  return status === 0;
}

const folders = testedFolders(root);
// Results of an earlier run must not count for this one; nx puts those of unchanged packages back.
for (const folder of folders) rmSync(join(root, folder, resultsFile), { force: true });

const runs: Results[] = [];
/** Keeps the results of a step; one that fails without a failed test in it is a failure of its own. */
const add = (title: string, ok: boolean, results: Results = nothing): void => {
  const unexplained = { name: title, message: "See its output above." };
  runs.push(
    results.failures.length === 0 && !ok ? { ...results, failures: [unexplained] } : results,
  );
};
/** Runs a step that has no tests of its own. */
const check = (title: string, command: string, args: readonly string[]): void =>
  add(title, succeeds(title, command, args));

const everywhere = ["--nxBail=false", "--output-style=static"];
check("types", "nx", ["run-many", "-t", "build", ...everywhere]);
check("types of the scripts", "tsc", ["-p", "scripts"]);
check("boundaries", "node", ["scripts/check-boundaries.ts"]);
check("examples in documents", "node", ["scripts/check-docs.ts"]);
check("tables in documents", "node", ["scripts/generate-tables.ts"]);

const packagesPass = succeeds("package tests", "nx", ["run-many", "-t", "test", ...everywhere]);
add("package tests", packagesPass, addResults(folders.map((folder) => readResults(root, folder))));

const reporter = `--reporter=${join(root, "scripts/results-reporter.ts")}`;
/** Runs the tests of a folder, in a process of their own. */
const testFolder = (title: string, folder: string, args: readonly string[] = []): void => {
  rmSync(join(root, folder, resultsFile), { force: true });
  const options = ["run", ...args, `--root=${folder}`, "--reporter=default", reporter];
  add(title, succeeds(title, "vitest", options), readResults(root, folder));
};
if (canRevectorize(process.execPath))
  testFolder("tests of the WebAssembly backend, 256-bit registers", "packages/kernels-cpu", [
    "src/wasm",
    ...revectorizedTests,
  ]);
testFolder("tests of the bench", "bench");
testFolder("tests of the scripts", "scripts");

const total = addResults(runs);
if (total.failures.length > 0) console.log(`\n${describeFailures(total.failures)}`);
if (total.skipped > 0) console.log(`\n${total.skipped} tests skipped`);
console.log(`\n${closingLine(total)}`);
process.exitCode = total.failures.length === 0 ? 0 : 1;
