/**
 * What a device does at best: multiply-adds in registers, and reads from memory. In: a device. Out: operations and bytes a second, the best of
 * a few rounds. The shaders are written by hand, so that the ceilings do not move when the compiler does.
 */
import type { Ceilings } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import type { DeviceMemory } from "./buffers.ts";
import { usage } from "./buffers.ts";
import { Timestamps } from "./timestamps.ts";

const rounds = 4;
/** A round takes this long at least, so that its beginning and end do not count. */
const leastMs = 20;
const workgroup = 64;
/** More invocations than any device runs at the same time. */
const groups = 8192;

const sums = Array.from({ length: 8 }, (_, i) => `s${i}`);
const unrolled = 4;
/** Of one invocation's turn: a product and a sum in each of four lanes. */
const flopsPerTurn = sums.length * unrolled * 4 * 2;

const head = `
@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> turns: vec4<u32>;
@compute @workgroup_size(${workgroup})`;

const multiplyAdds = `${head}
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let a = vec4<f32>(source[0].x + 0.999);
  let b = vec4<f32>(f32(id.x) * 1e-6);
${sums.map((name, i) => `  var ${name} = b * ${i + 1}.0;`).join("\n")}
  for (var i = 0u; i < turns.x; i++) {
${Array.from({ length: unrolled }, () => sums.map((name) => `    ${name} = fma(${name}, a, b);`))
  .flat()
  .join("\n")}
  }
  let sum = ${sums.join(" + ")};
  result[id.x] = sum.x + sum.y + sum.z + sum.w;
}
`;

const reads = `${head}
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var sum = vec4<f32>();
  let count = arrayLength(&source);
  for (var turn = 0u; turn < turns.x; turn++) {
    for (var i = id.x; i < count; i += ${groups * workgroup}u) { sum += source[i]; }
  }
  result[id.x] = sum.x + sum.y + sum.z + sum.w;
}
`;

/** Milliseconds of a loop of so many turns. */
type Time = (turns: number) => Promise<number>;

/** Turns a second, at best. */
async function bestRate(time: Time): Promise<number> {
  let turns = 1;
  let best = 0;
  for (let round = 0; round < rounds;) {
    const ms = await time(turns);
    best = Math.max(best, (turns / Math.max(ms, 1e-3)) * 1e3);
    if (ms >= leastMs || turns >= 2 ** 24) round++;
    else turns *= Math.min(8, Math.max(2, Math.ceil(leastMs / Math.max(ms, 1e-3))));
  }
  return best;
}

/** Measures with a buffer of up to 256 MiB, which is more than most caches hold. */
export async function measureCeilings(
  memory: DeviceMemory,
  { maxBindingBytes, timestamps }: WgslCapabilities,
): Promise<Ceilings> {
  const { device, guard } = memory;
  const where = "the ceilings of the device";
  const sourceBytes = Math.min(2 ** 28, maxBindingBytes);
  const owned: GPUBuffer[] = [];
  try {
    const { buffers, pipelines } = await guard.scope(where, () => {
      const create = (bytes: number, flags: number): GPUBuffer => {
        const buffer = memory.create(bytes, where, flags);
        owned.push(buffer);
        return buffer;
      };
      const made = {
        result: create(groups * workgroup * 4, usage.storage),
        source: create(sourceBytes, usage.storage),
        turns: create(16, usage.uniform | usage.copyTarget),
      };
      const compiled = [multiplyAdds, reads].map((code) =>
        device.createComputePipeline({
          layout: "auto",
          label: where,
          compute: {
            module: device.createShaderModule({ code, label: where }),
            entryPoint: "main",
          },
        }),
      );
      return { buffers: made, pipelines: compiled };
    });
    const [flopTurns = 0, readTurns = 0] = await inTurn(pipelines, async (pipeline) => {
      const bindGroup = device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: Object.values(buffers).map((buffer, binding) => ({
          binding,
          resource: { buffer },
        })),
      });
      return bestRate(async (turns) => {
        const times = timestamps ? new Timestamps(memory, 1, where) : undefined;
        try {
          const start = performance.now();
          await guard.scope(where, () => {
            memory.write(buffers.turns, 0, new Uint8Array(Uint32Array.of(turns, 0, 0, 0).buffer));
            const encoder = device.createCommandEncoder();
            const pass = encoder.beginComputePass(times && { timestampWrites: times.writesOf(0) });
            pass.setPipeline(pipeline);
            pass.setBindGroup(0, bindGroup);
            pass.dispatchWorkgroups(groups);
            pass.end();
            times?.resolve(encoder);
            device.queue.submit([encoder.finish()]);
          });
          const [measured] = (await times?.read(where)) ?? [];
          if (measured) return measured.end - measured.start;
          await guard.wait(where, device.queue.onSubmittedWorkDone());
          return performance.now() - start;
        } finally {
          times?.dispose();
        }
      });
    });
    return {
      flops: flopTurns * groups * workgroup * flopsPerTurn,
      bytes: readTurns * sourceBytes,
    };
  } finally {
    for (const buffer of owned) memory.destroy(buffer);
  }
}

async function inTurn<T, R>(items: readonly T[], body: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await body(item));
  return results;
}
