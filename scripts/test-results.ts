// The results of test runs: how many passed and were skipped, and what failed.
// In: what `results-reporter.ts` leaves in each folder. Out: their sum, the list of failures, and the closing line.

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
