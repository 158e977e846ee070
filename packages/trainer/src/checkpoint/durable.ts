/**
 * File operations that a kill or a power cut cannot leave half done; Node only. In: paths and bytes. Out: files that are
 * either there whole or not there. The recipe: write under another name, flush the file, rename, flush the directory.
 */
import { createHash } from "node:crypto";
import { copyFile, link, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import type { ManifestFile } from "./manifest.ts";

/** Flushes a file's content, or a directory's entries, to the disk. */
export async function flush(path: string): Promise<void> {
  let handle;
  try {
    handle = await open(path, "r");
  } catch (cause) {
    // Windows does not open directories; its renames are durable without.
    if (process.platform === "win32") return;
    throw cause;
  }
  try {
    await handle.sync();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    // Some network file systems and Windows do not flush what is open for reading.
    if (code !== "EINVAL" && code !== "EPERM" && code !== "ENOTSUP") throw cause;
  } finally {
    await handle.close();
  }
}

/** Puts `content` at `path` whole. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = temporaryBeside(path);
  try {
    const handle = await open(temporary, "w");
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw cause;
  }
  await flush(dirname(path));
}

/** Makes `path` the same file as `source`: by a hard link where the file system has them, else by a copy. */
export async function publishWhole(source: string, path: string): Promise<void> {
  const temporary = temporaryBeside(path);
  await rm(temporary, { force: true });
  try {
    await link(source, temporary);
  } catch {
    await copyFile(source, temporary);
    await flush(temporary);
  }
  await rename(temporary, path);
  // Renaming one link of a file onto another link of it does nothing and leaves both.
  await rm(temporary, { force: true });
}

/** Size and SHA-256 of a file, read in pieces. */
export async function measureFile(path: string): Promise<ManifestFile> {
  const handle = await open(path, "r");
  try {
    const hash = createHash("sha256");
    const buffer = Buffer.alloc(1 << 20);
    let bytes = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      bytes += bytesRead;
    }
    return { bytes, sha256: hash.digest("hex") };
  } finally {
    await handle.close();
  }
}

/** Names of files that a killed process left behind begin with this. */
export const temporaryPrefix = ".tmp-";

function temporaryBeside(path: string): string {
  return join(dirname(path), `${temporaryPrefix}${process.pid}-${basename(path)}`);
}
