// Public names of @millrace/graph, one per line, grouped by stage. Nothing else lives here.

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

// nouns: shapes, expressions, ops, graphs, kernels, programs
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
  shapesEqual,
  shapeSize,
  size,
  subtractDims,
  symbolsOf,
  type Dim,
  type Shape,
  type SizeSymbol,
  type SymbolicDim,
  type TensorType,
} from "./shape.ts";
export {
  apply,
  axis,
  convertTo,
  integer,
  literal,
  load,
  local,
  mapExpr,
  resultType,
  round as roundExpr,
  scalarType,
  select as selectExpr,
  sizeOf,
  visitExpr,
  type BinaryOp,
  type CompareOp,
  type ConvertOp,
  type Expr,
  type ScalarOp,
  type ScalarType,
  type UnaryOp,
} from "./expression.ts";
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
} from "./op.ts";
export type { Tensor } from "./tensor.ts";
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
  left,
  rangesOf,
  right,
  visitStatements,
  type Contract,
  type Kernel,
  type KernelBuffer,
  type Range,
  type Reduce,
  type Statement,
} from "./kernel.ts";
export type { Binding, Place, Program, ProgramBuffer, StateSpec, Step } from "./program.ts";
export type { Capabilities } from "./capabilities.ts";

// run
export type { Backend, Executable, Store, Values } from "./run/backend.ts";
export { bindSizes } from "./run/bind.ts";
