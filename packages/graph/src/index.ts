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
