/**
 * What the machine does at best: multiply-adds in registers, and reads from memory. In: the threads of a backend. Out: operations and bytes a
 * second of all of them together, the best of a few short rounds, or undefined where the engine lacks the fused multiply-add.
 */
import type { Ceilings } from "@millrace/graph";
import type { Gang } from "../launch/gang.ts";
import {
  ceilingLoopNames,
  ceilingLoops,
  ceilingMemory,
  ceilingModule,
  FLOPS_PER_ROUND,
  READ_STEP,
} from "./ceiling-module.ts";

/** Short rounds, many of them: on a busy machine some are not disturbed. */
const FMA_ROUNDS = 30;
const FMA_TURNS = 200_000;
const READ_ROUNDS = 8;
/** All threads together read more than caches hold. */
const READ_BYTES = 2 ** 28;
const PAGE = 65536;

/** Does one loop, by its number, on all threads at the same time. */
type Loop = (loop: number, amount: number) => void | Promise<void>;

/** The shortest time of any of the loops that meet a limit. */
async function bestMs(
  of: keyof typeof ceilingLoops,
  rounds: number,
  once: (loop: number) => void | Promise<void>,
): Promise<number> {
  let best = Infinity;
  for (let round = 0; round < rounds; round++)
    for (const name of ceilingLoops[of]) {
      const start = performance.now();
      await once(ceilingLoopNames.indexOf(name));
      best = Math.min(best, performance.now() - start);
    }
  return best;
}

/**
 * Measures with the calling thread, or with those of a gang, which knows the module by the given number from then on. Takes about
 * half a second.
 */
export async function measureCeilings(
  gang: Gang | undefined,
  id: number,
): Promise<Ceilings | undefined> {
  // One page for what keeps the threads in step.
  const pages = READ_BYTES / PAGE + 1;
  const bytes = ceilingModule(gang && pages);
  if (!WebAssembly.validate(bytes)) return undefined;
  const limits = gang ? { maximum: pages, shared: true } : {};
  const memory = new WebAssembly.Memory({ initial: pages, ...limits });
  // Memory that was never written is one page of zeros, which a cache holds.
  new Uint8Array(memory.buffer, 0, READ_BYTES).fill(1);
  const module = new WebAssembly.Module(bytes);
  const imports = { [ceilingMemory.module]: { [ceilingMemory.name]: memory } };
  const threads = gang?.size ?? 1;
  const store = Symbol("ceilings");
  const name = "ceilings";
  const control = READ_BYTES;
  const program = { name, module, imports, memory, control };
  const loop: Loop = gang
    ? (which, amount) => gang.run({ id, store, program }, [which, amount])
    : onThis(module, imports);
  const share = Math.floor(READ_BYTES / threads / READ_STEP) * READ_STEP;
  try {
    const fmaMs = await bestMs("fma", FMA_ROUNDS, (which) => loop(which, FMA_TURNS));
    const readMs = await bestMs("read", READ_ROUNDS, (which) => loop(which, share));
    return {
      flops: (threads * FMA_TURNS * FLOPS_PER_ROUND * 1e3) / fmaMs,
      bytes: (threads * share * 1e3) / readMs,
    };
  } finally {
    gang?.forget(id);
    gang?.leave(store);
  }
}

function onThis(module: WebAssembly.Module, imports: WebAssembly.Imports): Loop {
  const { exports } = new WebAssembly.Instance(module, imports);
  const run = exports["run"] as (...numbers: number[]) => void;
  return (loop, amount) => run(0, 1, loop, amount);
}
