// Public names of @millrace/graph, one per line, grouped by stage. Nothing else lives here.

// the whole pipeline
export {
  buildProgram,
  compile,
  CompiledProgram,
  planProgram,
  type CompileOptions,
  type StageName,
  type Stages,
} from "./compile.ts";

// nouns: element types, host values, errors
export {
  byteWidth,
  dtypes,
  isDType,
  isFloat,
  isInteger,
  type DType,
  type FloatDType,
} from "./dtype.ts";
export {
  decodeFloat,
  decodeFloats,
  encodeFloat,
  encodeFloats,
  largestFinite,
  roundFloat,
  roundUpToPowerOfTwo,
  type NarrowFloatDType,
} from "./float-formats.ts";
export { decodeGroups, encodeGroups, type GroupBits, type GroupCodes } from "./group-formats.ts";
export {
  elementCount,
  hostArray,
  hostTensor,
  loadElement,
  storeElement,
  toNumbers,
  type HostArray,
  type HostTensor,
} from "./host-tensor.ts";
export {
  AttributeError,
  CheckpointError,
  DeviceError,
  DTypeError,
  InputError,
  InternalError,
  MillraceError,
  ShapeError,
  UnsupportedError,
  type ErrorDetails,
} from "./errors.ts";

// nouns: sizes, shapes and types
export {
  addDims,
  dimsEqual,
  divideDims,
  evaluateDim,
  formatDim,
  formatShape,
  formatType,
  maxDim,
  minDim,
  multiplyDims,
  parseDim,
  shapeSize,
  shapesEqual,
  size,
  subtractDims,
  symbolsOf,
  type Dim,
  type Shape,
  type SizeSymbol,
  type SymbolicDim,
  type TensorType,
} from "./shape.ts";
export type { Tensor } from "./tensor.ts";

// nouns: scalar expressions; names that ops have too end in Expr
export {
  apply as applyExpr,
  axis as axisExpr,
  convertTo as convertExpr,
  integer as integerExpr,
  literal as literalExpr,
  load as loadExpr,
  local as localExpr,
  mapExpr,
  resultType,
  round as roundExpr,
  scalarType,
  select as selectExpr,
  sizeOf as sizeExpr,
  visitExpr,
  type BinaryOp,
  type CompareOp,
  type ConvertOp,
  type Expr,
  type ScalarOp,
  type ScalarType,
  type UnaryOp,
} from "./expression.ts";

// nouns: ops, graphs, kernels, programs
export type {
  AnyOp,
  Attribute,
  Attributes,
  CompositeBody,
  ElementwiseBody,
  LeafBody,
  MovementBody,
  OpBody,
  OpContext,
  OpDefinition,
  PrimitiveBody,
  PrimitiveName,
  ReductionBody,
  VjpContext,
  WholeAccess,
  WholeContext,
  WholeKernel,
} from "./op.ts";
export {
  leavesNamed,
  placeOf,
  typeOf,
  valueName,
  type Graph,
  type NamedValue,
  type Node,
  type ValueRef,
} from "./graph.ts";
export {
  blockOf,
  expressionsOf,
  left as leftName,
  rangesOf,
  right as rightName,
  visitStatements,
  arrayBytesOf,
  type Contract,
  type Kernel,
  type KernelBuffer,
  type Range,
  type PrivateArray,
  type Reduce,
  type Statement,
} from "./kernel.ts";
export type { Binding, Place, Program, ProgramBuffer, StateSpec, Step } from "./program.ts";
export type { Capabilities } from "./capabilities.ts";

// text of every noun, and back; legality; hashes
export { printExpr } from "./print-expression.ts";
export { printGraph, printKernel, printNode, printProgram, printStatement } from "./print.ts";
export { parseGraph, parseKernel, parseProgram, type ParseGraphOptions } from "./parse.ts";
export { builtInOps } from "./declare/built-in-ops.ts";
export { verifyGraph, verifyKernel, verifyProgram } from "./verify.ts";
export { hashGraph, hashKernel, hashProgram, hashText } from "./hash.ts";

// declare
export { declare } from "./declare/declare.ts";
export { builderOf, GraphBuilder } from "./declare/builder.ts";
export {
  applyOne,
  applyOp,
  defineOp,
  expectAxis,
  expectDType,
  expectInputs,
  expectSameShape,
} from "./declare/define-op.ts";
export { constantOp, inputOp, stateOp } from "./declare/ops/leaf.ts";
export {
  abs,
  add,
  bitAnd,
  bitcast,
  bitOr,
  bitXor,
  ceil,
  convert,
  cos,
  div,
  eq,
  exp,
  floor,
  ge,
  gt,
  le,
  log,
  lt,
  maximum,
  minimum,
  mul,
  ne,
  neg,
  not,
  rem,
  round,
  select,
  shiftLeft,
  shiftRight,
  sigmoid,
  sign,
  sin,
  sqrt,
  sub,
  tanh,
  type Operand,
} from "./declare/ops/elementwise.ts";
export { broadcastTo, broadcastTogether, sum } from "./declare/ops/broadcast.ts";
export { concatenate, pad, reshape, slice, transpose } from "./declare/ops/movement.ts";
export { argmax, cumulativeSum, max, mean, min } from "./declare/ops/reduce.ts";
export { dot, dotGeneral, linear, raggedDot, raggedOuter } from "./declare/ops/contract.ts";
export {
  dimension,
  dynamicSlice,
  iota,
  oneHot,
  putAlongAxis,
  scatterAdd,
  take,
  takeAlongAxis,
} from "./declare/ops/gather.ts";
export { countingSort, sort, topK } from "./declare/ops/sort.ts";
export {
  randomBits,
  randomNormal,
  randomUniform,
  threefry2x32,
  threefryExpr,
} from "./declare/ops/random.ts";
export { updateSlice } from "./declare/ops/state.ts";

// differentiate
export { differentiate, gradients } from "./differentiate/differentiate.ts";
export type { GradientOptions } from "./differentiate/differentiate.ts";
export { customVjp, stopGradient, type CustomVjp } from "./differentiate/custom-vjp.ts";

// declare: composites
export { attention } from "./declare/composites/attention.ts";
export type { AttentionOptions } from "./declare/composites/attention-weights.ts";
export { bf16Linear, bf16RaggedDot } from "./declare/composites/bf16-matmul.ts";
export {
  blockDequantize,
  blockQuantize,
  dequantizeBlocks,
  dequantizeTiles,
  quantizeBlocks,
  quantizeTiles,
  scaleShape,
  type Quantized,
  type QuantizeOptions,
} from "./declare/composites/block-quantize.ts";
export { crossEntropy } from "./declare/composites/cross-entropy.ts";
export {
  dequantizeGroups,
  groupLinear,
  groupRaggedDot,
  quantizeGroups,
  unpackInt4,
} from "./declare/composites/group-matmul.ts";
export { latentAttention } from "./declare/composites/latent-attention.ts";
export { permuteRows, repeatRows } from "./declare/composites/permute-rows.ts";
export { rmsNorm } from "./declare/composites/rms-norm.ts";
export {
  rope,
  ropeInverseFrequencies,
  ropeTables,
  yarnInverseFrequencies,
  type YarnOptions,
} from "./declare/composites/rope.ts";
export {
  fp8Linear,
  fp8RaggedDot,
  raggedScaledDot,
  scaledDot,
  scaledDotGeneral,
  scaledLinear,
  type Fp8Options,
  type ScaledOperand,
} from "./declare/composites/scaled-matmul.ts";
export { logSoftmax, softmax } from "./declare/composites/softmax.ts";
export { silu, swiglu } from "./declare/composites/swiglu.ts";
export {
  groupLimitedTopK,
  routingWeights,
  type GroupLimitedTopKOptions,
  type GroupScore,
  type RoutingWeightOptions,
} from "./declare/composites/top-k-routing.ts";

// fuse, lower, plan
export { fuse, type FuseOptions } from "./fuse/fuse.ts";
export { type Group, type GroupedGraph } from "./fuse/group.ts";
export { printGroups } from "./fuse/print-groups.ts";
export { rewrite, type Rule } from "./fuse/rewrite.ts";
export { lower, type LoweredGraph } from "./lower/lower.ts";
export { maxBytes, plan, stateBytes } from "./plan/plan.ts";

// run
export type { Backend, Executable, Store, Values } from "./run/backend.ts";
export { bindShapes, bindSizes } from "./run/bind.ts";
export { memoryCache, planKey, type PlanCache } from "./run/cache.ts";
export { decodeBlocks, encodeBlocks } from "./run/plan-bytes.ts";
export { chromeTrace } from "./run/chrome-trace.ts";
export { kernelWork, tripsOf, type KernelWork } from "./run/kernel-work.ts";
export {
  profiledBackend,
  profileOf,
  type ProfiledRun,
  type Profiler,
  type RunProfile,
  type StepEvent,
} from "./run/profile.ts";
export { rooflineTable, type Ceilings } from "./run/roofline.ts";
export { StateTable, type StateEntry } from "./run/state-table.ts";
