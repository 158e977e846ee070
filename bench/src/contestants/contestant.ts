/**
 * What is measured against what. In: a task. Out: something that runs it again and again. Each contestant lives in a
 * process of its own (`serve.ts`); one that cannot do a task throws `Absent` with the reason, which the table repeats.
 */
import { readFileSync } from "node:fs";
import type { Task } from "../case.ts";

/** A task that a contestant does not do, or a package that is not installed. */
export class Absent extends Error {
  override readonly name = "Absent";
}

/** A task made ready: everything is loaded and compiled, results are correct or will be found out. */
export interface Prepared {
  /** One run. Called many times; the clock runs around several of them. */
  run(): void | Promise<void>;
  /** All elements of the result, of which some are compared. Called once, after one run. */
  result(): ArrayLike<number> | Promise<ArrayLike<number>>;
  /** Worth knowing beside the time, such as bytes or a number of nodes. */
  readonly facts?: Readonly<Record<string, number>>;
  release(): void | Promise<void>;
}

export interface Contestant {
  /** Of the library. */
  readonly version: string;
  prepare(task: Task): Promise<Prepared>;
}

/** Makes a contestant that uses so many threads. */
export type Enter = (threads: number) => Promise<Contestant>;

/** Loads a package that may be absent; its types are stated where it is used, so that nothing depends on it. */
export async function optionalPackage<T>(name: string): Promise<T> {
  try {
    return (await import(name)) as T;
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND")
      throw new Absent(`${name} is not installed`);
    throw cause;
  }
}

/** Version of an installed package, by the bench's own folder. */
export function versionOf(name: string): string {
  const manifest = new URL(`../../node_modules/${name}/package.json`, import.meta.url);
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}
