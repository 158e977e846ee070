// Everything `npm test` stands for: types, boundaries, documents, package tests, the scripts' own tests.
// In: the repository. Out: the output of every step, then the closing line `N passed, N failed`.
// A step that fails without a failed test in it (a type error, a broken boundary) counts as one
// failure, so the closing line never reads "0 failed" when the exit status is not 0.
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { addCounts, closingLine, countTests, type Counts } from "./test-counts.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const resultsFile = ".cache/test-results.json";

/** Runs one step with its output shown, and says whether it succeeded. */
function succeeds(title: string, command: string, args: readonly string[]): boolean {
  console.log(`\n== ${title}: ${command} ${args.join(" ")}`);
  const shell = process.platform === "win32";
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit", shell });
  if (error !== undefined) console.error(error.message);
  return status === 0;
}

/** The counts of the test run in a folder, from the file that vitest leaves there. */
function readCounts(folder: string): Counts {
  const file = join(root, folder, resultsFile);
  if (existsSync(file)) return countTests(JSON.parse(readFileSync(file, "utf8")));
  console.error(`${folder}: the tests left no results in ${resultsFile}`);
  return { passed: 0, failed: 1, skipped: 0 };
}

const folders = globSync(["packages/*/package.json", "examples/*/package.json"], { cwd: root })
  .filter((path) => JSON.parse(readFileSync(join(root, path), "utf8")).scripts?.test !== undefined)
  .map((path) => path.slice(0, -"/package.json".length))
  .toSorted();
// Results of an earlier run must not count for this one; nx puts those of unchanged packages back.
for (const folder of [...folders, "scripts"])
  rmSync(join(root, folder, resultsFile), { force: true });

let total: Counts = { passed: 0, failed: 0, skipped: 0 };
const add = (counts: Counts, ok: boolean): void => {
  total = addCounts(total, counts.failed === 0 && !ok ? { ...counts, failed: 1 } : counts);
};
const none: Counts = { passed: 0, failed: 0, skipped: 0 };

add(
  none,
  succeeds("types", "nx", ["run-many", "-t", "build", "--nxBail=false", "--output-style=static"]),
);
add(none, succeeds("types of the scripts", "tsc", ["-p", "scripts"]));
add(none, succeeds("boundaries", "node", ["scripts/check-boundaries.ts"]));
add(none, succeeds("examples in documents", "node", ["scripts/check-docs.ts"]));
add(none, succeeds("tables in documents", "node", ["scripts/generate-tables.ts"]));

const packagesPass = succeeds("package tests", "nx", [
  "run-many",
  "-t",
  "test",
  "--nxBail=false",
  "--output-style=static",
]);
add(folders.map(readCounts).reduce(addCounts, none), packagesPass);

const scriptsPass = succeeds("tests of the scripts", "vitest", [
  "run",
  "--root=scripts",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${resultsFile}`,
]);
add(readCounts("scripts"), scriptsPass);

if (total.skipped > 0) console.log(`\n${total.skipped} tests skipped`);
console.log(`\n${closingLine(total)}`);
process.exitCode = total.failed === 0 ? 0 : 1;
