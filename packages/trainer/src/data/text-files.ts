/**
 * Text files as documents; Node only. In: globs or paths. Out: documents in a fixed order (by path). A pattern that
 * names an existing file is that file, whatever characters are in it; a directory means everything below it.
 */
import { readFile, stat } from "node:fs/promises";
import { relative, resolve, sep } from "node:path";

import { CheckpointError } from "@millrace/graph";
import { glob } from "tinyglobby";

import {
  buildTokenDataset,
  type TextDocument,
  type TokenDataset,
  type TokenDatasetOptions,
} from "./token-dataset.ts";

/** The files that `patterns` name, sorted by path, each once. */
export async function findTextFiles(
  patterns: readonly string[],
  directory: string = process.cwd(),
): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const pattern of patterns) {
    const literal = resolve(directory, pattern);
    const files = (await isFile(literal))
      ? [literal]
      : await glob([sep === "\\" ? pattern.replaceAll("\\", "/") : pattern], {
          absolute: true,
          cwd: directory,
        });
    if (files.length === 0)
      throw new CheckpointError({
        what: "no file matches the data pattern",
        where: pattern,
        hint: "Check the path, and quote the pattern so that the shell leaves it alone.",
      });
    for (const file of files) found.add(resolve(file));
  }
  return [...found].sort();
}

/** Each file as a document, read anew whenever asked. */
export function textDocuments(
  files: readonly string[],
  directory: string = process.cwd(),
): readonly TextDocument[] {
  return files.map((file) => {
    const fromHere = relative(directory, file);
    const name = fromHere.startsWith("..") ? file : fromHere;
    return {
      name,
      async read() {
        try {
          return await readFile(file);
        } catch (cause) {
          throw new CheckpointError({
            what: `the data file cannot be read (${(cause as NodeJS.ErrnoException).code ?? "unknown"})`,
            where: name,
            hint: "Check that it exists and may be read.",
            cause,
          });
        }
      },
    };
  });
}

/** Everything from patterns to packed tokens. */
export async function readTokenDataset(
  patterns: readonly string[],
  options: TokenDatasetOptions,
): Promise<TokenDataset> {
  return buildTokenDataset(textDocuments(await findTextFiles(patterns)), options);
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.isFile(),
    () => false,
  );
}
