/**
 * The shaders of a program. In: a program and what a device can do. Out: each kernel's shaders, once for every way in which steps give it
 * the same memory twice. Knows no device.
 */
import type { Program } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import type { Sharing } from "../emit/bindings.ts";
import type { EmittedKernel } from "../emit/emit.ts";
import { emitKernel } from "../emit/emit.ts";

/** Which buffers of a step are one memory. */
export function sharingOf(program: Program, buffers: readonly number[]): Sharing {
  const key = (index: number): string => {
    const { place } = program.buffers[index]!;
    return place.kind === "state" ? `state ${place.name}` : String(index);
  };
  const keys = buffers.map(key);
  return keys.map((k) => keys.indexOf(k));
}

/** Each kernel once per way in which steps share memory among its buffers. */
export function emitProgram(
  program: Program,
  capabilities: WgslCapabilities,
): { readonly variants: ReadonlyMap<string, EmittedKernel>; readonly keys: readonly string[] } {
  const variants = new Map<string, EmittedKernel>();
  const keys = program.steps.map(({ kernel: index, buffers }) => {
    const sharing = sharingOf(program, buffers);
    const key = `${index}: ${sharing.join(" ")}`;
    if (!variants.has(key))
      variants.set(key, emitKernel(program.kernels[index]!, capabilities, sharing));
    return key;
  });
  return { variants, keys };
}
