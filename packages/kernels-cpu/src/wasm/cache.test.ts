// A program found in a cache gives the bits of one made anew; what is damaged or lies elsewhere is made again.
import type { HostTensor, PlanCache } from "@millrace/graph";
import { add, compile, declare, dot, exp, hostTensor, memoryCache, softmax } from "@millrace/graph";
import { afterAll, describe, expect, it } from "vitest";
import type { WasmBackend } from "./backend.ts";
import { createWasmBackend } from "./backend.ts";

const backends: WasmBackend[] = [];
afterAll(() => backends.forEach((backend) => backend.dispose()));

/** A cache that tells what was asked of it. */
function watched(): PlanCache & { readonly log: string[]; damage(): Promise<void> } {
  const cache = memoryCache();
  const names = new Set<string>();
  const log: string[] = [];
  const short = (name: string): string => (name.includes("-wasm") ? "module" : "plan");
  return {
    log,
    get: async (name) => {
      const found = await cache.get(name);
      log.push(`${found ? "found" : "missed"} ${short(name)}`);
      return found;
    },
    put: async (name, bytes) => {
      names.add(name);
      log.push(`put ${short(name)}`);
      await cache.put(name, bytes);
    },
    damage: async () => {
      for (const name of names) {
        const bytes = (await cache.get(name))!;
        bytes[bytes.length >> 1]! ^= 4;
        await cache.put(name, bytes);
      }
    },
  };
}

const graph = () =>
  declare("cached", (b) => {
    const x = b.input("x", "f32", [48, 64]);
    const w = b.state("w", "f32", [64, 40]);
    const y = softmax(dot(exp(x), w), 1);
    b.update(w, add(w, 1));
    return { y };
  });

async function start(
  cache: PlanCache | undefined,
  threads: number,
  before = 0,
): Promise<HostTensor> {
  const backend = createWasmBackend({ threads, divideFrom: 0, ...(cache && { cache }) });
  backends.push(backend);
  const store = backend.createStore();
  if (before > 0) store.ensure([{ name: "other", type: { dtype: "f32", shape: [before] } }]);
  const program = await compile(graph(), backend, { store });
  const values = Array.from({ length: 48 * 64 }, (_, i) => Math.sin(i));
  await store.write("w", hostTensor("f32", [64, 40], values.slice(0, 64 * 40)));
  const inputs = { x: hostTensor("f32", [48, 64], values) };
  await program.run(inputs);
  const { y } = await program.run(inputs);
  expect(program.print("fused")).toContain("group");
  return y!;
}

describe.each([1, 2])("with %i threads", (threads) => {
  it("the second start makes nothing, and gives the same bits", async () => {
    const cache = watched();
    const wanted = await start(undefined, threads);
    expect(await start(cache, threads)).toEqual(wanted);
    expect(cache.log.splice(0)).toEqual(["missed plan", "put plan", "missed module", "put module"]);
    expect(await start(cache, threads)).toEqual(wanted);
    expect(cache.log.splice(0)).toEqual(["found plan", "found module"]);
  });

  it("other addresses and damaged entries are made again", async () => {
    const cache = watched();
    const wanted = await start(cache, threads);
    cache.log.splice(0);
    expect(await start(cache, threads, 1000)).toEqual(wanted);
    expect(cache.log.splice(0)).toEqual(["found plan", "found module", "put module"]);
    await cache.damage();
    expect(await start(cache, threads)).toEqual(wanted);
    expect(cache.log.splice(0)).toEqual(["found plan", "put plan", "found module", "put module"]);
  });
});
