/**
 * What is made of a program before it is placed, and its module when it is: emitted, or taken from a cache where the same program
 * lay at the same addresses in an earlier start. In: a program, its name in the cache. Out: what it needs, and the module's bytes.
 */
import type { Dim, PlanCache, Program } from "@millrace/graph";
import { decodeBlocks, encodeBlocks } from "@millrace/graph";
import type { TeamConfiguration } from "./configure/divide.ts";
import { dividedWork, teamFrom } from "./configure/schedule.ts";
import type { EmitOptions } from "./emit/emit.ts";
import { configureProgram, emitProgram, scratchBytes } from "./emit/emit.ts";

/** How a program is to be run. */
export interface RunSettings {
  readonly threads: number;
  readonly relaxed: boolean;
  readonly revectorize: boolean;
  readonly shared: boolean;
  readonly divideFrom: number;
}

/** What is known of a program before its addresses are. */
interface Needs {
  /** Bytes that products pack into, for each thread. */
  readonly scratch: number;
  /** Nanoseconds of divided work, and from how many on threads are called. */
  readonly work: Dim;
  readonly from: number;
}

export interface EmittedModule extends Needs {
  /** The module's bytes. */
  emit(options: EmitOptions): Uint8Array<ArrayBuffer>;
  /** Puts what was emitted first into the cache, if it was not found there. */
  keep(): Promise<void>;
}

interface Kept {
  readonly needs: Needs;
  /** The options as text: addresses and all. */
  readonly options: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Changes whenever the same program and options give another module. */
const VERSION = 3;

function nameOf(
  key: string,
  { threads, relaxed, revectorize, shared, divideFrom }: RunSettings,
): string {
  const products = `${relaxed ? "fused" : "plain"}${revectorize ? "256" : "128"}`;
  return `${key}-wasm${VERSION}-${threads}-${products}-${shared ? "shared" : "own"}-${divideFrom}`;
}

async function readKept(cache: PlanCache, name: string): Promise<Kept | undefined> {
  const found = await cache.get(name);
  const decoded = found && decodeBlocks(found);
  if (!decoded) return undefined;
  const { needs, options } = decoded.data as Omit<Kept, "bytes">;
  return { needs, options, bytes: decoded.blocks[0]! };
}

function needsOf(
  program: Program,
  configurations: readonly TeamConfiguration[],
  { threads, divideFrom }: RunSettings,
): Needs {
  return {
    scratch: scratchBytes(configurations, threads),
    work: dividedWork(program, configurations),
    from: divideFrom === 0 || threads === 1 ? 0 : teamFrom(program, configurations, threads),
  };
}

/** `kept` is where modules are kept and the program's name there. */
export async function prepareModule(
  program: Program,
  settings: RunSettings,
  kept?: { readonly cache: PlanCache; readonly key: string },
): Promise<EmittedModule> {
  let configured: readonly TeamConfiguration[] | undefined;
  const configurations = (): readonly TeamConfiguration[] =>
    (configured ??= configureProgram(program, settings));
  const name = kept && nameOf(kept.key, settings);
  const known = kept && name !== undefined ? await readKept(kept.cache, name) : undefined;
  const needs = known?.needs ?? needsOf(program, configurations(), settings);
  let made: Omit<Kept, "needs"> | undefined = known;
  return {
    ...needs,
    emit: (options) => {
      const text = JSON.stringify(options);
      if (made?.options === text) return made.bytes;
      const bytes = emitProgram(program, configurations(), options);
      // Other addresses than last time: the next start may find these. A module that measures is not made twice.
      if (options.stepLog === undefined) made = { options: text, bytes };
      return bytes;
    },
    keep: async () => {
      if (!kept || name === undefined || !made || made === known) return;
      await kept.cache.put(name, encodeBlocks({ needs, options: made.options }, [made.bytes]));
    },
  };
}
