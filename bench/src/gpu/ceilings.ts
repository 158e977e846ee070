/**
 * What a GPU does at best, by shaders of our own that do nothing else. In: a device. Out: bytes a second of a plain copy, and
 * operations a second of multiply-adds that stay in registers, in f32 and, where the device has it, in f16.
 */
import { InputError } from "@millrace/graph";

export interface GpuCeilings {
  /** Bytes read and written a second. */
  readonly copy: number;
  /** Operations a second. */
  readonly f32: number;
  readonly f16: number | undefined;
}

const WORKGROUP = 64;
const GROUPS = 4096;
const SUMS = 8;
const TURNS = 64;
/** From the specification: Node has no such globals. */
const STORAGE = 0x80;

/** Independent sums, so that none waits for its own last result. */
function multiplyAdds(type: "f32" | "f16"): string {
  const names = Array.from({ length: SUMS }, (_, i) => `s${i}`);
  const vector = `vec4<${type}>`;
  return `${type === "f16" ? "enable f16;\n" : ""}
@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let a = ${vector}(${type}(result[id.x]) + 0.5);
  let b = ${vector}(${type}(0.25));
${names.map((name, i) => `  var ${name} = ${vector}(${type}(${i}));`).join("\n")}
  for (var i = 0; i < ${TURNS}; i++) {
${names.map((name) => `    ${name} = fma(${name}, a, b);`).join("\n")}
  }
  let sum = ${names.join(" + ")};
  result[id.x] = f32(sum.x + sum.y + sum.z + sum.w) * 1e-30;
}
`;
}
/** A product and a sum in each of four lanes. */
const flopsPerDispatch = GROUPS * WORKGROUP * TURNS * SUMS * 4 * 2;

const copy = `
@group(0) @binding(0) var<storage, read_write> copied: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> original: array<vec4<f32>>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  for (var i = id.x; i < arrayLength(&copied); i += ${GROUPS * WORKGROUP}u) { copied[i] = original[i]; }
}
`;

/** Dispatches of `code` a second: the best of `rounds` that last `seconds` each. */
async function rateOf(
  device: GPUDevice,
  code: string,
  bufferBytes: readonly number[],
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
): Promise<number> {
  const buffers = bufferBytes.map((size) => device.createBuffer({ size, usage: STORAGE }));
  try {
    const pipeline = await device.createComputePipelineAsync({
      layout: "auto",
      compute: { module: device.createShaderModule({ code }), entryPoint: "main" },
    });
    const bindGroup = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    const time = async (dispatches: number): Promise<number> => {
      const start = performance.now();
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      for (let i = 0; i < dispatches; i++) pass.dispatchWorkgroups(GROUPS);
      pass.end();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      return (performance.now() - start) / 1e3;
    };
    // The first run translates the shader.
    await time(1);
    let dispatches = 1;
    while (dispatches < 2 ** 16) {
      const took = await time(dispatches);
      if (took >= seconds) break;
      dispatches *= Math.min(8, Math.max(2, Math.ceil(seconds / took)));
    }
    let best = 0;
    for (let round = 0; round < rounds; round++)
      best = Math.max(best, dispatches / (await time(dispatches)));
    return best;
  } finally {
    for (const buffer of buffers) buffer.destroy();
  }
}

/** Measures for a few seconds; `copyBytes` should be more than caches hold. */
export async function measureGpuCeilings(
  device: GPUDevice,
  options: { readonly rounds: number; readonly seconds: number; readonly copyBytes: number },
): Promise<GpuCeilings> {
  device.pushErrorScope("validation");
  const sums = [4 * GROUPS * WORKGROUP];
  const { copyBytes } = options;
  const copies = await rateOf(device, copy, [copyBytes, copyBytes], options);
  const f32 = await rateOf(device, multiplyAdds("f32"), sums, options);
  const f16 = device.features.has("shader-f16")
    ? await rateOf(device, multiplyAdds("f16"), sums, options)
    : undefined;
  const error = await device.popErrorScope();
  if (error)
    throw new InputError({
      what: `the device refused a ceiling's shader: ${error.message}`,
      where: "bench/gpu",
      hint: "Choose another adapter with --adapter.",
    });
  return {
    copy: 2 * copyBytes * copies,
    f32: flopsPerDispatch * f32,
    f16: f16 === undefined ? undefined : flopsPerDispatch * f16,
  };
}
