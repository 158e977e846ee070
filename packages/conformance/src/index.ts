// Public names of @millrace/conformance, one per line. Nothing else lives here.

// laws
export { checkGraph, type ExactValue, type Interpret, type Oracles } from "./check-graph.ts";
export { checkOp, type CheckOpOptions, type OpCase, type RunOptions } from "./check-op.ts";
export {
  checkGradient,
  smoothInputs,
  type CheckGradientOptions,
  type Declaration,
} from "./check-gradient.ts";
export { checkKernel, type CheckKernelOptions, type KernelCase } from "./check-kernel.ts";
export {
  describeBackend,
  type DescribeBackendOptions,
  type TestRunner,
} from "./describe-backend.ts";

// comparison
export { ConformanceError, expectSameBits, expectSameValues, mismatch } from "./report.ts";
export {
  exact,
  opTolerance,
  unitInLastPlace,
  withinTolerance,
  type Tolerance,
} from "./tolerance.ts";

// arbitraries
export { dtypeArbitrary, floatDTypeArbitrary } from "./arbitraries/dtype.ts";
export { shapeArbitrary, sizeArbitrary, type ShapeOptions } from "./arbitraries/shape.ts";
export { edgeValues, seededTensor, tensorArbitrary, type ValueKind } from "./arbitraries/tensor.ts";
export {
  describeCase,
  graphArbitrary,
  recipes,
  type GraphCase,
  type GraphOptions,
} from "./arbitraries/graph.ts";
