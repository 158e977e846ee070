/**
 * Reading and writing elements. In: a buffer's dtype and an `Access`. Out: loads that widen to the register type, stores
 * that encode. Where only some lanes take part, the others are neither read nor written.
 */
import type { DType, NarrowFloatDType } from "@millrace/graph";
import { byteWidth } from "@millrace/graph";
import type { Emission } from "./emission.ts";
import { decodeLanes, encodeLanes } from "./float-formats.ts";
import type { Local } from "./function-builder.ts";
import type { MemoryOp } from "./opcodes.ts";
import type { Access, Value } from "./values.ts";

/** The load of one element's bits, an `i64` by its low word; signed integers are extended by their sign. */
function bitLoad(dtype: DType): MemoryOp {
  if (dtype === "i8") return "i32.load8_s";
  if (dtype === "i16") return "i32.load16_s";
  const width = byteWidth(dtype);
  return width === 1 ? "i32.load8_u" : width === 2 ? "i32.load16_u" : "i32.load";
}

function bitWidth(dtype: DType): 1 | 2 | 4 {
  const width = byteWidth(dtype);
  return width === 1 || width === 2 ? width : 4;
}

const isNarrowFloat = (dtype: DType): dtype is NarrowFloatDType => dtype in decodeLanes;

/** Bits in i32 lanes to register lanes. */
function widenLanes(e: Emission, dtype: DType): void {
  if (isNarrowFloat(dtype)) e.f.call(e.library.get(decodeLanes[dtype]));
  else if (dtype === "bool") {
    e.f.i32x4(0);
    e.f.op("i32x4.ne");
  }
}

function loadScalar(e: Emission, dtype: DType, { offset, memory }: Access): void {
  const { f } = e;
  if (dtype === "f32") {
    f.memory("f32.load", offset, undefined, memory);
    return;
  }
  f.memory(bitLoad(dtype), offset, undefined, memory);
  if (dtype === "bf16") {
    f.i32(16);
    f.op("i32.shl", "f32.reinterpret_i32");
  } else if (isNarrowFloat(dtype)) {
    f.op("i32x4.splat");
    f.call(e.library.get(decodeLanes[dtype]));
    f.lane("f32x4.extract_lane", 0);
  }
}

function loadContiguous(e: Emission, dtype: DType, access: Access): void {
  const { f } = e;
  const { offset, memory } = access;
  e.emit(access.address);
  switch (byteWidth(dtype)) {
    case 4:
      f.memory("v128.load", offset, 2, memory);
      break;
    case 2:
      f.memory(dtype === "i16" ? "v128.load16x4_s" : "v128.load16x4_u", offset, 1, memory);
      break;
    case 1:
      f.memory("v128.load32_zero", offset, 0, memory);
      if (dtype === "i8") f.op("i16x8.extend_low_i8x16_s", "i32x4.extend_low_i16x8_s");
      else f.op("i16x8.extend_low_i8x16_u", "i32x4.extend_low_i16x8_u");
      break;
    default: {
      // The low words of four i64.
      f.memory("v128.load", offset, 3, memory);
      e.emit(access.address);
      f.memory("v128.load", offset + 16, 3, memory);
      f.shuffle32(0, 2, 4, 6);
    }
  }
  widenLanes(e, dtype);
}

/** Puts what lane addresses are made of into locals; returns a function that pushes one and gives its offset. */
function laneAddresses(e: Emission, access: Access, width: number): (lane: number) => number {
  const { f } = e;
  const base = e.hold(access.address);
  /** A distance from the first lane: an offset where the address allows one, which is added without wrapping. */
  const further = (distance: number): number => {
    f.get(base);
    if (access.natural) return access.offset + distance;
    f.i32(distance);
    f.op("i32.add");
    return access.offset;
  };
  switch (access.mode) {
    case "scalar":
      return () => {
        f.get(base);
        return access.offset;
      };
    case "contiguous":
      return (lane) => further(lane * width);
    case "strided": {
      const { stride } = access;
      if (stride.kind === "constant" && stride.value > 0)
        return (lane) => further(lane * stride.value);
      const step = e.hold(stride);
      return (lane) => {
        f.get(base);
        f.get(step);
        f.i32(lane);
        f.op("i32.mul", "i32.add");
        return access.offset;
      };
    }
    case "gather": {
      const offsets = e.hold(access.offsets);
      return (lane) => {
        f.get(base);
        f.get(offsets);
        f.lane("i32x4.extract_lane", lane);
        f.op("i32.add");
        return access.offset;
      };
    }
  }
}

/** Runs `body` for each lane, under its bit of the mask if there is one. */
function eachLane(e: Emission, mask: Local | undefined, body: (lane: number) => void): void {
  const { f } = e;
  for (let lane = 0; lane < 4; lane++) {
    if (!mask) {
      body(lane);
      continue;
    }
    f.get(mask);
    f.lane("i32x4.extract_lane", lane);
    f.ifElse(() => body(lane));
  }
}

function loadLanes(e: Emission, dtype: DType, access: Access, mask: Local | undefined): void {
  const { f } = e;
  const address = laneAddresses(e, access, byteWidth(dtype));
  const width = bitWidth(dtype);
  const bits = f.local("v128");
  f.i32x4(0);
  f.set(bits);
  eachLane(e, mask, (lane) => {
    if (width === 4) {
      const offset = address(lane);
      f.get(bits);
      f.memoryLane("v128.load32_lane", lane, offset, undefined, access.memory);
    } else {
      f.get(bits);
      f.memory(bitLoad(dtype), address(lane), undefined, access.memory);
      f.lane("i32x4.replace_lane", lane);
    }
    f.set(bits);
  });
  f.get(bits);
  widenLanes(e, dtype);
}

/** Leaves the elements of an access on the stack: one scalar, or four lanes. */
export function emitLoad(e: Emission, dtype: DType, access: Access): void {
  const { f, mask } = e;
  if (access.mode === "scalar") {
    const plain = (): void => {
      e.emit(access.address);
      loadScalar(e, dtype, access);
    };
    if (!mask) {
      plain();
      return;
    }
    const isF32 = dtype === "f32" || isNarrowFloat(dtype);
    f.get(mask);
    f.op("v128.any_true");
    f.ifElse(
      () => e.branch(plain),
      () => (isF32 ? f.f32(0) : f.i32(0)),
      isF32 ? "f32" : "i32",
    );
    return;
  }
  if (access.mode !== "contiguous") {
    loadLanes(e, dtype, access, mask);
    return;
  }
  if (!mask) {
    loadContiguous(e, dtype, access);
    return;
  }
  e.hold(access.address);
  f.get(mask);
  f.op("i32x4.all_true");
  f.ifElse(
    () => e.branch(() => loadContiguous(e, dtype, access)),
    () => e.branch(() => loadLanes(e, dtype, access, mask)),
    "v128",
  );
}

/** Turns a register on the stack into bits in i32 lanes. */
function encodeRegister(e: Emission, dtype: DType): void {
  const { f } = e;
  if (isNarrowFloat(dtype)) f.call(e.library.get(encodeLanes[dtype]));
  else if (dtype === "bool" || dtype === "u8" || dtype === "i8" || dtype === "i16") {
    f.i32x4(dtype === "bool" ? 1 : dtype === "i16" ? 0xffff : 255);
    f.op("v128.and");
  }
}

function storeScalar(e: Emission, dtype: DType, access: Access, value: Value): void {
  const { f } = e;
  const { offset, memory } = access;
  const write = (op: MemoryOp): void => f.memory(op, offset, undefined, memory);
  e.emit(access.address);
  e.emit(value);
  switch (dtype) {
    case "f32":
      write("f32.store");
      break;
    case "i32":
    case "u32":
      write("i32.store");
      break;
    case "i16":
      write("i32.store16");
      break;
    case "i8":
    case "u8":
    case "bool":
      write("i32.store8");
      break;
    case "i64":
      f.op("i64.extend_i32_s");
      write("i64.store");
      break;
    case "f16":
    case "bf16":
    case "e4m3fn":
    case "e5m2":
      f.op("f32x4.splat");
      f.call(e.library.get(encodeLanes[dtype]));
      f.lane("i32x4.extract_lane", 0);
      write(byteWidth(dtype) === 2 ? "i32.store16" : "i32.store8");
  }
}

function storeContiguous(e: Emission, dtype: DType, access: Access, bits: Local): void {
  const { f } = e;
  const { offset, memory } = access;
  e.emit(access.address);
  f.get(bits);
  switch (byteWidth(dtype)) {
    case 4:
      f.memory("v128.store", offset, 2, memory);
      break;
    case 2:
      f.get(bits);
      f.op("i16x8.narrow_i32x4_u");
      f.memoryLane("v128.store64_lane", 0, offset, 1, memory);
      break;
    case 1:
      f.get(bits);
      f.op("i16x8.narrow_i32x4_u");
      f.get(bits);
      f.op("i8x16.narrow_i16x8_u");
      f.memoryLane("v128.store32_lane", 0, offset, 0, memory);
      break;
    default:
      f.op("i64x2.extend_low_i32x4_s");
      f.memory("v128.store", offset, 3, memory);
      e.emit(access.address);
      f.get(bits);
      f.op("i64x2.extend_high_i32x4_s");
      f.memory("v128.store", offset + 16, 3, memory);
  }
}

function storeLanes(
  e: Emission,
  dtype: DType,
  access: Access,
  bits: Local,
  mask: Local | undefined,
): void {
  const { f } = e;
  const { memory } = access;
  const address = laneAddresses(e, access, byteWidth(dtype));
  eachLane(e, mask, (lane) => {
    const offset = address(lane);
    f.get(bits);
    switch (byteWidth(dtype)) {
      case 4:
        f.memoryLane("v128.store32_lane", lane, offset, undefined, memory);
        break;
      case 2:
        f.lane("i32x4.extract_lane", lane);
        f.memory("i32.store16", offset, undefined, memory);
        break;
      case 1:
        f.lane("i32x4.extract_lane", lane);
        f.memory("i32.store8", offset, undefined, memory);
        break;
      default:
        f.lane("i32x4.extract_lane", lane);
        f.op("i64.extend_i32_s");
        f.memory("i64.store", offset, undefined, memory);
    }
  });
}

/** Stores a value; a scalar value goes to all lanes of a vector access. */
export function emitStore(e: Emission, dtype: DType, access: Access, value: Value): void {
  prepareStore(e, dtype, access, value)();
}

/** Computes what is to be stored; the result stores it. */
export function prepareStore(e: Emission, dtype: DType, access: Access, value: Value): () => void {
  if (access.mode === "scalar" && !value.vector && !e.mask)
    return () => storeScalar(e, dtype, access, value);
  e.emit(e.table.splat(value));
  encodeRegister(e, dtype);
  const bits = e.f.save("v128");
  return () => storeBits(e, dtype, access, bits);
}

function storeBits(e: Emission, dtype: DType, access: Access, bits: Local): void {
  const { f, mask } = e;
  if (access.mode !== "contiguous") {
    storeLanes(e, dtype, access, bits, mask);
    return;
  }
  if (!mask) {
    storeContiguous(e, dtype, access, bits);
    return;
  }
  e.hold(access.address);
  f.get(mask);
  f.op("i32x4.all_true");
  f.ifElse(
    () => e.branch(() => storeContiguous(e, dtype, access, bits)),
    () => e.branch(() => storeLanes(e, dtype, access, bits, mask)),
  );
}
