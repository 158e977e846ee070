/**
 * The pipeline, in one place: declare → differentiate → fuse → lower → plan → run. In: a graph (declared, maybe differentiated)
 * and a backend. Out: a program that runs. Read this first.
 */
import type { Capabilities } from "./capabilities.ts";
import type { FuseOptions } from "./fuse/fuse.ts";
import { fuse } from "./fuse/fuse.ts";
import type { GroupedGraph } from "./fuse/group.ts";
import type { Graph } from "./graph.ts";
import type { HostTensor } from "./host-tensor.ts";
import type { LoweredGraph } from "./lower/lower.ts";
import { lower } from "./lower/lower.ts";
import { printGroups } from "./fuse/print-groups.ts";
import { plan } from "./plan/plan.ts";
import { printGraph, printKernel, printProgram } from "./print.ts";
import type { Program } from "./program.ts";
import type { Backend, Executable, Store, Values } from "./run/backend.ts";
import { planKey, readPlan, writePlan } from "./run/cache.ts";
import type { ProfiledRun } from "./run/profile.ts";
import { profileRun } from "./run/profile.ts";

/** What each stage made. */
export interface Stages {
  readonly graph: Graph;
  readonly fused: GroupedGraph;
  readonly lowered: LoweredGraph;
  readonly program: Program;
}

/** The pure stages: from a graph to a program for any device with these capabilities. */
export function buildProgram(
  graph: Graph,
  capabilities: Capabilities,
  options: FuseOptions = {},
): Stages {
  const fused = fuse(graph, capabilities, options);
  const lowered = lower(fused);
  const program = plan(lowered, capabilities);
  return { graph, fused, lowered, program };
}

export type StageName = "graph" | "fused" | "kernels" | "program" | "emitted";

export interface CompileOptions extends FuseOptions {
  /** State to run over, shared with other programs; by default one of its own. */
  readonly store?: Store;
}

/** A program on a backend. */
export class CompiledProgram {
  readonly program: Program;
  readonly store: Store;
  readonly #backend: Backend;
  readonly #executable: Executable;
  readonly #build: () => Stages;
  #stages: Stages | undefined;

  /** `build` makes the stages again, where the program was found in a cache. */
  constructor(
    parts: { readonly backend: Backend; readonly store: Store; readonly executable: Executable },
    program: Program,
    build: () => Stages,
  ) {
    this.program = program;
    this.store = parts.store;
    this.#backend = parts.backend;
    this.#executable = parts.executable;
    this.#build = build;
  }

  /** What each stage made. */
  get stages(): Stages {
    return (this.#stages ??= this.#build());
  }

  /** Bytes taken beside the store, as planned. */
  get bytes(): number {
    return this.#executable.bytes;
  }

  /** Runs once; `sizes` gives the symbols that no input's shape determines. */
  run(
    inputs: Values,
    sizes: Readonly<Record<string, number>> = {},
  ): Promise<Record<string, HostTensor>> {
    return this.#executable.run(inputs, sizes);
  }

  /** The same, with the time of each step. Throws UnsupportedError where the backend cannot measure it. */
  profile(inputs: Values, sizes: Readonly<Record<string, number>> = {}): Promise<ProfiledRun> {
    return profileRun(this.#executable, inputs, sizes);
  }

  /** A stage as text. */
  print(stage: StageName): string {
    const { program } = this;
    switch (stage) {
      case "graph":
        return printGraph(this.stages.graph);
      case "fused":
        return printGroups(this.stages.fused);
      case "kernels":
        return program.kernels.map(printKernel).join("\n");
      case "program":
        return printProgram(program);
      case "emitted":
        return this.#backend.print(program);
    }
  }

  dispose(): void {
    this.#executable.dispose();
  }
}

/** The program of a graph, or the one that was planned before where there is a cache. */
export async function planProgram(
  graph: Graph,
  { capabilities, cache }: Pick<Backend, "capabilities" | "cache">,
  options: FuseOptions = {},
): Promise<{ readonly program: Program; readonly key?: string; readonly stages?: Stages }> {
  const key = cache && planKey(graph, capabilities, options);
  const known = cache && key !== undefined ? await readPlan(cache, key) : undefined;
  if (known && key !== undefined) return { program: known, key };
  const stages = buildProgram(graph, capabilities, options);
  if (!cache || key === undefined) return { program: stages.program, stages };
  await writePlan(cache, key, stages.program);
  return { program: stages.program, key, stages };
}

/** Compiles a graph for a backend, or takes the plan that was made of it before where the backend has a cache. */
export async function compile(
  graph: Graph,
  backend: Backend,
  { store: given, ...options }: CompileOptions = {},
): Promise<CompiledProgram> {
  const { program, key, stages } = await planProgram(graph, backend, options);
  const store = given ?? backend.createStore();
  let executable: Executable;
  try {
    executable = await backend.load(program, store, key);
  } catch (error) {
    // Nobody else knows of it.
    if (!given) store.dispose();
    throw error;
  }
  return new CompiledProgram(
    { backend, store, executable },
    program,
    () => stages ?? buildProgram(graph, backend.capabilities, options),
  );
}
