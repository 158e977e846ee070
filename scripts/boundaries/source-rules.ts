// Rules on single files: names that say something, and errors that name the remedy.
// In: source files. Out: one message per broken rule.

import { isTest, type SourceFile } from "./source-file.ts";

const emptyNames = /^(?:utils?|helpers?|common|base|types|misc|shared)(?:\.test)?\.ts$/;

/** No file whose name says nothing, and no index.ts besides a package's public one. */
export function checkFileNames(paths: readonly string[]): string[] {
  const problems: string[] = [];
  for (const path of paths) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (emptyNames.test(name)) {
      problems.push(`${path}: the name says nothing. Name the file after what it holds.`);
    }
    if (name === "index.ts" && !/^packages\/[^/]+\/src\/index\.ts$/.test(path)) {
      problems.push(`${path}: only a package's public entry is called index.ts.`);
    }
  }
  return problems;
}

const plainError = /\bnew\s+(?:Error|TypeError|RangeError)\s*\(/;
const commentLine = /^\s*(?:\/\/|\/?\*)/;

/** Published code throws the classes of errors.ts, whose messages name the place and the remedy. */
export function checkThrownErrors(files: readonly SourceFile[]): string[] {
  const problems: string[] = [];
  for (const file of files) {
    if (isTest(file.path) || file.path.endsWith("/errors.ts")) continue;
    for (const [index, line] of file.text.split("\n").entries()) {
      if (plainError.test(line) && !commentLine.test(line)) {
        problems.push(
          `${file.path}:${index + 1}: a plain error. Use a class of packages/graph/src/errors.ts.`,
        );
      }
    }
  }
  return problems;
}
