/**
 * What only Node has: winners of tuning on disk. In: a directory. Out: a cache with a file for each name. A file is written whole or not
 * at all: it is renamed into its place, so processes that tune side by side do not see halves.
 */
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hashText } from "@millrace/graph";
import type { TuneCache } from "./tune/tune.ts";

/** A cache for `createWgslBackend({ tune: { cache } })`. */
export function fileCache(directory: string): TuneCache {
  const place = (name: string): string => join(directory, `${hashText(name)}.json`);
  return {
    async read(name): Promise<string | undefined> {
      try {
        const entry = JSON.parse(await readFile(place(name), "utf8")) as {
          name?: unknown;
          text?: unknown;
        };
        return entry.name === name && typeof entry.text === "string" ? entry.text : undefined;
      } catch {
        // Not there, or not readable: it is measured again and written anew.
        return undefined;
      }
    },
    async write(name, text): Promise<void> {
      await mkdir(directory, { recursive: true });
      const whole = place(name);
      const part = `${whole}.${process.pid}.part`;
      try {
        await writeFile(part, JSON.stringify({ name, text }));
        await rename(part, whole);
      } catch (error) {
        await rm(part, { force: true });
        throw error;
      }
    },
  };
}
