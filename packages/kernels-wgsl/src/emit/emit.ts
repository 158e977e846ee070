/**
 * A kernel as WGSL: the entry of this folder. In: a kernel, which of its buffers are the same memory, and what the device can
 * do. Out: a shader per dispatch.
 */
import type { Kernel } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import type { Configuration } from "../configure/configure.ts";
import { configureKernel } from "../configure/configure.ts";
import type { Sharing } from "./bindings.ts";
import { unshared } from "./bindings.ts";
import type { Shader } from "./segment.ts";
import { emitSegment } from "./segment.ts";

export interface EmittedKernel {
  readonly configuration: Configuration;
  /** One for each segment of the configuration. */
  readonly shaders: readonly Shader[];
}

export function emitKernel(
  kernel: Kernel,
  capabilities: WgslCapabilities,
  sharing: Sharing = unshared(kernel),
): EmittedKernel {
  const configuration = configureKernel(kernel, sharing, capabilities);
  const shaders = configuration.map((segment) =>
    emitSegment(kernel, sharing, segment, capabilities),
  );
  return { configuration, shaders };
}
