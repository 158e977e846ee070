/**
 * Plans kept in files, so that a second start of the same model plans nothing. In: a folder, and what the compiler is. Out: a cache:
 * one file a name, written beside and then put in place, so that it is there whole or not at all; the oldest are removed when
 * there are too many. A folder that cannot be read or written only costs the time of planning. `MILLRACE_CACHE` names another folder, or
 * is `off`.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import type { PlanCache } from "@millrace/graph";

/** Files that stay; a model takes two for each of its programs. */
const MOST_FILES = 64;

/** The folder of plans, or undefined where they are not to be kept. */
export function cacheFolder(environment: NodeJS.ProcessEnv): string | undefined {
  const own = environment["MILLRACE_CACHE"];
  if (own === "off") return undefined;
  if (own) return own;
  const base = environment["XDG_CACHE_HOME"] || join(homedir(), ".cache");
  return join(base, "millrace");
}

/** Names what plans depend on beside the graph: the code of the packages that make them. */
export async function compilerIdentity(
  entries: readonly string[] = ["@millrace/graph", "@millrace/kernels-cpu"],
): Promise<string> {
  const hash = createHash("sha256");
  for (const entry of entries) {
    const folder = dirname(fileURLToPath(import.meta.resolve(entry)));
    const files = await readdir(folder, { recursive: true });
    for (const file of files.toSorted()) {
      if (!/\.[jt]s$/.test(file) || file.includes("node_modules")) continue;
      const { size, mtimeMs } = await stat(join(folder, file));
      hash.update(`${entry} ${file} ${size} ${mtimeMs}\n`);
    }
  }
  return hash.digest("hex").slice(0, 16);
}

/** A cache in `folder`; of plans that another compiler put there it knows nothing. */
export function fileCache(
  folder: string,
  identity: string,
  mostFiles: number = MOST_FILES,
): PlanCache {
  const suffix = `.${identity}.plan`;
  const fileOf = (name: string): string => join(folder, name + suffix);
  return {
    get: async (name) => {
      try {
        const bytes = await readFile(fileOf(name));
        const now = new Date();
        await utimes(fileOf(name), now, now).catch(() => undefined);
        return new Uint8Array(bytes);
      } catch {
        return undefined;
      }
    },
    put: async (name, bytes) => {
      const beside = join(folder, `${randomUUID()}.part`);
      try {
        await mkdir(folder, { recursive: true });
        await writeFile(beside, bytes, { flag: "wx" });
        await rename(beside, fileOf(name));
        await removeOldest(folder, mostFiles);
      } catch {
        await rm(beside, { force: true }).catch(() => undefined);
      }
    },
  };
}

/** Plans that were used longest ago, and what writers that were interrupted have left. */
async function removeOldest(folder: string, keep: number): Promise<void> {
  const names = (await readdir(folder)).filter((name) => /\.(plan|part)$/.test(name));
  if (names.length <= keep) return;
  const files = await Promise.all(
    names.map(async (name) => {
      const found = await stat(join(folder, name)).catch(() => undefined);
      return { name, used: found?.mtimeMs ?? 0 };
    }),
  );
  const old = files.toSorted((a, b) => b.used - a.used).slice(keep);
  for (const { name } of old) await rm(join(folder, name), { force: true });
}

/** The cache of this process, or undefined: also where there is no home, or the compiler's files cannot be found. */
export async function processCache(): Promise<PlanCache | undefined> {
  try {
    const folder = cacheFolder(process.env);
    return folder === undefined ? undefined : fileCache(folder, await compilerIdentity());
  } catch {
    return undefined;
  }
}
