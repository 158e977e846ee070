/**
 * A program of one kernel. In: a kernel. Out: a program in which what it reads are inputs and what it writes are outputs.
 */
import type { Kernel, Program, SizeSymbol } from "@millrace/graph";
import { maxBytes, symbolsOf } from "@millrace/graph";

export function programOf(kernel: Kernel): Program {
  let arenaBytes = 0;
  const sizes = new Map<string, SizeSymbol>();
  const buffers = kernel.buffers.map(({ dtype, shape }) => {
    for (const dim of shape) for (const symbol of symbolsOf(dim)) sizes.set(symbol.name, symbol);
    const offset = arenaBytes;
    arenaBytes = Math.ceil((offset + maxBytes({ dtype, shape })) / 256) * 256;
    return { type: { dtype, shape }, place: { kind: "arena", offset } as const };
  });
  const bindings = (...accesses: string[]): Program["inputs"] =>
    kernel.buffers.flatMap(({ name, dtype, shape, access }, buffer) =>
      accesses.includes(access) ? [{ name, type: { dtype, shape }, buffer }] : [],
    );
  return {
    name: kernel.name,
    sizes: [...sizes.values()],
    inputs: bindings("read", "update"),
    outputs: bindings("write", "update"),
    states: [],
    buffers,
    kernels: [kernel],
    steps: [{ kernel: 0, buffers: kernel.buffers.map((_, i) => i), label: "test" }],
    arenaBytes,
  };
}
