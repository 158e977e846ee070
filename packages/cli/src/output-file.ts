/**
 * The file that a command writes, at a path of the user's. In: a path. Out: whether it can be made, asked before the work, so that a bad place
 * costs nothing; and the file, whole or not at all, after it.
 */
import { basename, dirname } from "node:path";

import { type WritableFile, writeFiles } from "@millrace/model-v3";
import { nodeDirectory } from "@millrace/model-v3/node";

/** Rejects if the file cannot be made, and leaves nothing. */
export async function tryOutput(path: string): Promise<void> {
  const file = await nodeDirectory(dirname(path)).create(basename(path));
  await file.discard();
}

/** Writes it; a full disk leaves what was there. */
export function writeOutput(
  path: string,
  write: (file: WritableFile) => Promise<void>,
): Promise<void> {
  return writeFiles(nodeDirectory(dirname(path)), [basename(path)], write);
}
