/**
 * Trains the layer on a backend. In: a backend, by default WebAssembly's. Out: the losses. The whole step (forward, loss,
 * gradients, update) is one program, in which the custom ops are fused with ours.
 */
import type { Backend } from "@millrace/graph";
import {
  compile,
  declare,
  gradients,
  hostTensor,
  mean,
  mul,
  sub,
  threefry2x32,
  toNumbers,
} from "@millrace/graph";
import { createWasmBackend } from "@millrace/kernels-cpu";
import { batchSize, ternaryMlp, ternaryMlpParameters } from "./ternary-mlp.ts";

const layer = { width: 8, hiddenWidth: 64 };
const rows = 64;

/** A number from -1 to 1 that depends on its arguments only. */
const noise = (stream: number, i: number): number => threefry2x32(7, stream, 0, i)[0] / 2 ** 31 - 1;

export async function train(backend: Backend, steps: number): Promise<readonly number[]> {
  const step = declare("ternary_step", (b) => {
    const B = batchSize(b);
    const x = b.input("x", "f32", [B, layer.width]); // [B, D]
    const target = b.input("target", "f32", [B, layer.width]); // [B, D]
    const rate = b.input("rate", "f32", []);
    const error = sub(ternaryMlp(b, x, layer), target); // [B, D]
    const loss = mean(mul(error, error)); // []
    const parameters = ternaryMlpParameters(layer).map(({ name, shape }) =>
      b.parameter(name, "f32", shape),
    );
    gradients(loss, parameters).forEach((gradient, i) => {
      b.update(parameters[i]!, sub(parameters[i]!, mul(gradient, rate)));
    });
    return { loss };
  });
  const program = await compile(step, backend);
  try {
    for (const [stream, { name, shape }] of ternaryMlpParameters(layer).entries()) {
      const count = shape[0]! * shape[1]!;
      const values = Array.from({ length: count }, (_, i) => noise(stream, i) / 4);
      await program.store.write(name, hostTensor("f32", shape, values));
    }
    // Something a two-layer network can learn: neighbours added, their positive part kept.
    const values = Array.from({ length: rows * layer.width }, (_, i) => noise(2, i));
    const x = hostTensor("f32", [rows, layer.width], values);
    const target = hostTensor(
      "f32",
      [rows, layer.width],
      values.map((value, i) => Math.max(0, value + values[i - (i % 8) + ((i + 1) % 8)]!)),
    );
    const losses: number[] = [];
    for (let i = 0; i < steps; i++) {
      const rate = hostTensor("f32", [], [0.3 * (1 - i / steps)]);
      const { loss } = await program.run({ x, target, rate });
      losses.push(toNumbers(loss!)[0]!);
    }
    return losses;
  } finally {
    program.dispose();
    program.store.dispose();
  }
}

if (import.meta.main) {
  const losses = await train(createWasmBackend(), 300);
  losses.forEach((loss, i) => {
    if (i % 50 === 0 || i === losses.length - 1)
      console.log(`step ${String(i).padStart(3)}  loss ${loss.toFixed(4)}`);
  });
}
