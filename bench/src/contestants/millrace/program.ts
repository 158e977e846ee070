/**
 * A graph over states as a task made ready. In: a graph, the states' values and where the result is. Out: runs without inputs or
 * outputs, results read from the store.
 */
import type { Backend, CompiledProgram, Graph, HostTensor, Store } from "@millrace/graph";
import { compile, toNumbers } from "@millrace/graph";
import type { Prepared } from "../contestant.ts";

/** Compiles `graph` over a store that holds `states`; `results` are states, one after the other. */
export async function overStates(
  graph: Graph,
  backend: Backend,
  states: Readonly<Record<string, HostTensor>>,
  results: readonly string[],
): Promise<Prepared> {
  const store = backend.createStore();
  const program = await compile(graph, backend, { store });
  for (const [name, value] of Object.entries(states)) await store.write(name, value);
  return {
    run: async () => {
      await program.run({});
    },
    result: () => readAll(store, results),
    facts: memoryFacts(store, [program]),
    release: () => {
      program.dispose();
      store.dispose();
    },
  };
}

/** The states' elements, one state after the other. */
async function readAll(store: Store, names: readonly string[]): Promise<Float64Array> {
  const parts: Float64Array[] = [];
  for (const name of names) parts.push(toNumbers(await store.read(name)));
  const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Bytes planned beside the store, bytes taken beside the store, bytes of the store. */
export function memoryFacts(
  store: Store,
  programs: readonly CompiledProgram[],
): Readonly<Record<string, number>> {
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  return {
    planned: sum(programs.map(({ program }) => program.arenaBytes)),
    taken: sum(programs.map(({ bytes }) => bytes)),
    states: store.bytes,
  };
}

export const f32 = (shape: readonly number[], data: Float32Array): HostTensor => ({
  dtype: "f32",
  shape,
  data,
});
