// Public names of @millrace/kernels-wgsl, one per line. Nothing else lives here.

export { createWgslBackend, type WgslBackend, type WgslBackendOptions } from "./backend.ts";
export { graphCapabilities, type WgslCapabilities } from "./capabilities.ts";
export { desktopCapabilities, planDispatches, type Dispatch } from "./dispatches.ts";
export { adapterRemedy, listAdapters, type DeviceOptions } from "./device.ts";
export type { TuneCache } from "./tune/tune.ts";
