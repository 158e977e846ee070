/**
 * Plans that were made before. In: a graph, what a device can do, and somewhere that bytes are kept by name. Out: the program that was
 * planned for them, or nothing where there is none or it is not whole. A plan is found by what the graph prints, so only graphs of
 * our own ops have one: what another op does is code, which does not print. Knows no files: Node's are in the command line's package.
 */
import type { Capabilities } from "../capabilities.ts";
import { builtInOps } from "../declare/built-in-ops.ts";
import type { FuseOptions } from "../fuse/fuse.ts";
import type { Graph } from "../graph.ts";
import { hashText } from "../hash.ts";
import type { AnyOp } from "../op.ts";
import { printGraph } from "../print.ts";
import type { Program } from "../program.ts";
import { decodePlan, encodePlan } from "./plan-bytes.ts";

/** Bytes by name, kept from one start to the next. Names are made of lower-case letters, digits and hyphens. */
export interface PlanCache {
  /** What was put there, or undefined. What cannot be read counts as absent. */
  get(name: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Keeps bytes whole or not at all. What cannot be written is left out: it only has to be made again. */
  put(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}

/** A cache for as long as it is kept, such as a process. */
export function memoryCache(): PlanCache {
  const kept = new Map<string, Uint8Array<ArrayBuffer>>();
  return {
    get: async (name) => kept.get(name)?.slice(),
    put: async (name, bytes) => void kept.set(name, bytes.slice()),
  };
}

/** Changes whenever the same graph gives another program, or the form of the bytes changes. */
const VERSION = 1;

/**
 * Names the program of a graph for devices with these capabilities; undefined where a name cannot say all that it depends on: an op
 * of somebody else's, a caller's own rules.
 */
export function planKey(
  graph: Graph,
  capabilities: Capabilities,
  { passes = [], ...options }: FuseOptions = {},
): string | undefined {
  const known: ReadonlySet<AnyOp> = new Set(builtInOps);
  if (passes.length > 0 || !graph.nodes.every(({ op }) => known.has(op))) return undefined;
  const text = printGraph(graph);
  const settings = JSON.stringify([VERSION, capabilities, options]);
  return `plan-${hashText(text)}-${text.length.toString(36)}-${hashText(settings)}`;
}

export async function readPlan(cache: PlanCache, key: string): Promise<Program | undefined> {
  const bytes = await cache.get(key);
  return bytes && decodePlan(bytes);
}

export function writePlan(cache: PlanCache, key: string, program: Program): Promise<void> {
  return cache.put(key, encodePlan(program));
}
