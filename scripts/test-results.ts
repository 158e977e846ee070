// The results of test runs: how many passed and were skipped, and what failed.
// In: what `results-reporter.ts` leaves in each folder. Out: their sum, the list of failures, and the closing line.
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Where the tests of a folder leave their results. */
export const resultsFile = ".cache/test-results.json";

export interface Failure {
  /** File and test, or what else went wrong. */
  readonly name: string;
  readonly message: string;
}

export interface Results {
  readonly passed: number;
  readonly skipped: number;
  readonly failures: readonly Failure[];
}

/** The packages and examples that have tests. */
export function testedFolders(root: string): readonly string[] {
  const manifests = globSync(["packages/*/package.json", "examples/*/package.json"], { cwd: root });
  return manifests
    .filter((path) => JSON.parse(readFileSync(join(root, path), "utf8")).scripts?.test)
    .map((path) => path.slice(0, -"/package.json".length))
    .toSorted();
}

/** The results of the tests of a folder; that there are none is a failure. */
export function readResults(root: string, folder: string): Results {
  const file = join(root, folder, resultsFile);
  if (existsSync(file)) {
    const { failures, ...counts } = JSON.parse(readFileSync(file, "utf8")) as Results;
    const named = failures.map(({ name, message }) => ({ name: `${folder}/${name}`, message }));
    return { ...counts, failures: named };
  }
  const message = `The tests left no results in ${resultsFile}.`;
  return { passed: 0, skipped: 0, failures: [{ name: folder, message }] };
}

/** Adds the results of several runs. */
export function addResults(all: readonly Results[]): Results {
  return {
    passed: all.reduce((sum, { passed }) => sum + passed, 0),
    skipped: all.reduce((sum, { skipped }) => sum + skipped, 0),
    failures: all.flatMap(({ failures }) => failures),
  };
}

/** Lines of a message that are shown: enough to see what was expected and where. */
const shownLines = 40;

/** What failed, at the end of the output, where one looks first. */
export function describeFailures(failures: readonly Failure[]): string {
  return failures
    .map(({ name, message }) => {
      const lines = message.trim().split("\n");
      const shown = lines.slice(0, shownLines).map((line) => `    ${line}`);
      const rest = lines.length - shown.length;
      return [`FAILED ${name}`, ...shown, ...(rest > 0 ? [`    (${rest} more lines)`] : [])].join(
        "\n",
      );
    })
    .join("\n\n");
}

/** The line that ends the output and that continuous integration reads. */
export function closingLine({ passed, failures }: Results): string {
  return `${passed} passed, ${failures.length} failed`;
}
