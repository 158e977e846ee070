/**
 * What a run starts on a device, without one. In: a program and what a device can do. Out: its dispatches in order, each with the form
 * that was chosen for it.
 */
import type { Program } from "@millrace/graph";
import type { WgslCapabilities } from "./capabilities.ts";
import { leastCapabilities } from "./capabilities.ts";
import { printConfiguration } from "./configure/configure.ts";
import { emitProgram } from "./launch/emit-program.ts";

/** What a graphics card of today offers. */
export const desktopCapabilities: WgslCapabilities = {
  ...leastCapabilities,
  maxBindingBytes: 2 ** 31 - 256,
  maxBufferBytes: 2 ** 32 - 256,
  maxBindings: 16,
  maxInvocations: 1024,
  workgroupBytes: 49152,
  subgroupSize: 32,
  f16: true,
  timestamps: true,
};

export interface Dispatch {
  /** Scope path and op of the node it computes. */
  readonly label: string;
  readonly kernel: string;
  /** How it is divided among invocations. */
  readonly form: string;
}

/** The dispatches of one run, in order. */
export function planDispatches(
  program: Program,
  capabilities: WgslCapabilities = desktopCapabilities,
): readonly Dispatch[] {
  const { variants, keys } = emitProgram(program, capabilities);
  return program.steps.flatMap(({ kernel, label }, i) =>
    printConfiguration(variants.get(keys[i]!)!.configuration)
      .split("\n")
      .map((form) => ({ label, kernel: program.kernels[kernel]!.name, form })),
  );
}
