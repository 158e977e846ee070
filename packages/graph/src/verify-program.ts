/**
 * What a legal program is. In: a program, and the capabilities it was planned for if they matter. Out: nothing, or an
 * InternalError that prints the offending line. Whether arena buffers are in each other's way is found by walking the steps and noting
 * which buffer last wrote which bytes, independently of how `plan` placed them.
 */
import type { Capabilities } from "./capabilities.ts";
import { byteWidth } from "./dtype.ts";
import { InternalError } from "./errors.ts";
import type { KernelBuffer } from "./kernel.ts";
import { arrayBytesOf } from "./kernel.ts";
import { printBuffer, printStep } from "./print.ts";
import type { Binding, Program, ProgramBuffer, Step } from "./program.ts";
import type { TensorType } from "./shape.ts";
import { dimsEqual, formatType, maxDim, shapeSize, shapesEqual } from "./shape.ts";
import { constantProblem, dimProblem } from "./verify-graph.ts";
import { verifyKernel } from "./verify-kernel.ts";

/** Throws an InternalError unless the program is legal and, if `capabilities` are given, within them. */
export function verifyProgram(program: Program, capabilities?: Capabilities): void {
  const wrong: Wrong = (what, line, label) => {
    throw new InternalError({
      what: line === undefined ? what : `${what}: ${line}`,
      where: label ? `${program.name}, ${label}` : program.name,
    });
  };
  verifyNames(program, wrong);
  for (const kernel of program.kernels) verifyKernel(kernel, program.sizes);
  program.buffers.forEach((buffer, i) => {
    verifyBuffer(program, buffer, capabilities, (what) => wrong(what, printBuffer(buffer, i)));
  });
  for (const kind of ["input", "output"] as const)
    for (const binding of program[`${kind}s`]) verifyBinding(program, kind, binding, wrong);
  for (const step of program.steps)
    verifyStep(program, step, capabilities, (what) => wrong(what, printStep(step), step.label));
  verifyArena(program, wrong);
  if (capabilities) verifyTotal(program, capabilities, wrong);
}

type Wrong = (what: string, line?: string, label?: string) => never;

/** Bytes of a value at the largest sizes. */
const bytesOf = ({ dtype, shape }: TensorType): number =>
  maxDim(shapeSize(shape)) * byteWidth(dtype);

/** One memory may be seen under several shapes, but not under several dtypes or lengths. */
const sameMemory = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && dimsEqual(shapeSize(a.shape), shapeSize(b.shape));

function verifyNames(program: Program, wrong: Wrong): void {
  for (const kind of ["sizes", "inputs", "outputs", "states"] as const) {
    const names = program[kind].map(({ name }) => name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) wrong(`"${twice}" is twice among the ${kind}`);
  }
  const sizes = new Map(program.sizes.map((symbol) => [symbol.name, symbol]));
  for (const { type } of [
    ...program.inputs,
    ...program.outputs,
    ...program.states,
    ...program.buffers,
  ])
    for (const dim of type.shape) {
      const problem = dimProblem(dim, sizes);
      if (problem) wrong(`${problem} in ${formatType(type)}`);
    }
}

function verifyBuffer(
  program: Program,
  { type, place }: ProgramBuffer,
  capabilities: Capabilities | undefined,
  wrong: (what: string) => never,
): void {
  switch (place.kind) {
    case "arena": {
      const alignment = capabilities?.alignment ?? byteWidth(type.dtype);
      if (!Number.isSafeInteger(place.offset) || place.offset < 0)
        wrong(`${place.offset} is not an offset`);
      if (place.offset % alignment !== 0) wrong(`the offset is not a multiple of ${alignment}`);
      const end = place.offset + bytesOf(type);
      if (end > program.arenaBytes)
        wrong(`the buffer ends at byte ${end} of an arena of ${program.arenaBytes}`);
      return;
    }
    case "state": {
      const state = program.states.find(({ name }) => name === place.name);
      if (!state) return wrong(`there is no state "${place.name}"`);
      if (!sameMemory(state.type, type)) wrong(`the state is ${formatType(state.type)}`);
      return;
    }
    case "constant": {
      const problem = constantProblem(place.value, type);
      if (problem) wrong(problem);
    }
  }
}

function verifyBinding(
  program: Program,
  kind: "input" | "output",
  { name, type, buffer }: Binding,
  wrong: Wrong,
): void {
  const bound = program.buffers[buffer];
  if (!bound) return wrong(`${kind} "${name}" is in $${buffer}, which does not exist`);
  if (!sameMemory(bound.type, type))
    wrong(`${kind} "${name}" is ${formatType(type)}`, printBuffer(bound, buffer));
  if (kind === "input" && bound.place.kind !== "arena")
    wrong(`input "${name}" is not in the arena`, printBuffer(bound, buffer));
}

function verifyStep(
  program: Program,
  step: Step,
  capabilities: Capabilities | undefined,
  wrong: (what: string) => never,
): void {
  const kernel = program.kernels[step.kernel];
  if (!kernel) return wrong(`there is no kernel ${step.kernel}`);
  if (kernel.buffers.length !== step.buffers.length)
    wrong(
      `kernel ${kernel.name} binds ${kernel.buffers.length} buffers, got ${step.buffers.length}`,
    );
  if (capabilities && step.buffers.length > capabilities.maxBuffersPerKernel)
    wrong(
      `${step.buffers.length} buffers, the device binds ${capabilities.maxBuffersPerKernel} at most`,
    );
  const arrays = arrayBytesOf(kernel);
  if (capabilities && arrays > capabilities.arrayBytes)
    wrong(
      `kernel ${kernel.name} has arrays of ${arrays} bytes, the device gives it ${capabilities.arrayBytes}`,
    );
  kernel.buffers.forEach((wanted, i) => {
    const index = step.buffers[i]!;
    const given = program.buffers[index];
    if (!given) return wrong(`there is no buffer $${index}`);
    if (!sameMemory(wanted, given.type))
      wrong(
        `kernel buffer ${wanted.name} is ${formatType(wanted)}, $${index} is ${formatType(given.type)}`,
      );
    if (wanted.access !== "read" && given.place.kind === "constant")
      wrong(`the constant $${index} is written`);
    if (capabilities && !capabilities.dtypes.includes(wanted.dtype))
      wrong(`kernel buffer ${wanted.name} is ${wanted.dtype}, which the device does not store`);
  });
  verifyBoundTwice(program, step, kernel.buffers, wrong);
}

/** Bytes a step writes may be bound again only as the same elements, to be read in place. */
function verifyBoundTwice(
  program: Program,
  step: Step,
  buffers: readonly KernelBuffer[],
  wrong: (what: string) => never,
): void {
  step.buffers.forEach((written, i) => {
    if (buffers[i]!.access === "read") return;
    step.buffers.forEach((other, j) => {
      if (i === j || !overlap(program, written, other)) return;
      if (buffers[j]!.access !== "read") {
        if (i < j) wrong(`$${written} and $${other} share bytes, and both are written`);
      } else if (
        buffers[i]!.access === "update" ||
        !samePlace(program, written, other) ||
        !shapesEqual(buffers[i]!.shape, buffers[j]!.shape)
      )
        wrong(`$${written} is written over $${other}, which is read elsewhere`);
    });
  });
}

function overlap(program: Program, a: number, b: number): boolean {
  const left = program.buffers[a]!;
  const right = program.buffers[b]!;
  if (left.place.kind === "state" && right.place.kind === "state")
    return left.place.name === right.place.name;
  if (left.place.kind !== "arena" || right.place.kind !== "arena") return false;
  const [x, y] = [left.place.offset, right.place.offset];
  return x < y + bytesOf(right.type) && y < x + bytesOf(left.type);
}

/** True if both are one memory, element for element. */
function samePlace(program: Program, a: number, b: number): boolean {
  const left = program.buffers[a]!;
  const right = program.buffers[b]!;
  const start = ({ place }: ProgramBuffer): number | string =>
    place.kind === "arena" ? place.offset : place.kind === "state" ? place.name : NaN;
  return start(left) === start(right) && sameMemory(left.type, right.type);
}

/** Bytes of the arena, and the buffer through which they were written last. */
interface Written {
  readonly start: number;
  readonly end: number;
  readonly buffer: number;
  readonly by: string;
}

/** Follows the contents of the arena: everything read must be whole, and what its own buffer last held. */
function verifyArena(program: Program, wrong: Wrong): void {
  let contents: Written[] = [];
  const writtenBuffers = new Set<number>();
  const extentOf = (buffer: number): readonly [number, number] | undefined => {
    const { type, place } = program.buffers[buffer]!;
    return place.kind === "arena" ? [place.offset, place.offset + bytesOf(type)] : undefined;
  };
  const write = (buffer: number, by: string): void => {
    const [start, end] = extentOf(buffer) ?? [0, 0];
    if (start === end) return;
    writtenBuffers.add(buffer);
    contents = contents.flatMap((old) =>
      [
        { ...old, end: Math.min(old.end, start) },
        { ...old, start: Math.max(old.start, end) },
      ].filter((part) => part.start < part.end),
    );
    contents.push({ start, end, buffer, by });
  };
  const read = (buffer: number, mayBeNew: boolean, line: string, label?: string): void => {
    const [start, end] = extentOf(buffer) ?? [0, 0];
    const parts = contents.filter((part) => part.start < end && start < part.end);
    const covered = parts.reduce(
      (sum, part) => sum + Math.min(part.end, end) - Math.max(part.start, start),
      0,
    );
    // What is updated may be new: then its old contents are of no interest.
    if (mayBeNew && !writtenBuffers.has(buffer)) return;
    const foreign = parts.find((part) => part.buffer !== buffer);
    if (foreign)
      wrong(`$${buffer} is read after ${foreign.by} wrote $${foreign.buffer} over it`, line, label);
    if (covered < end - start) wrong(`$${buffer} is read before it is written`, line, label);
  };

  for (const { name, buffer } of program.inputs) {
    const shared = program.inputs.find(
      (other) => other.name !== name && overlap(program, other.buffer, buffer),
    );
    if (shared) wrong(`inputs "${name}" and "${shared.name}" share bytes`);
    write(buffer, `input "${name}"`);
  }
  for (const step of program.steps) {
    const accesses = program.kernels[step.kernel]!.buffers.map(({ access }) => access);
    step.buffers.forEach((buffer, i) => {
      if (accesses[i] !== "write")
        read(buffer, accesses[i] === "update", printStep(step), step.label);
    });
    step.buffers.forEach((buffer, i) => {
      if (accesses[i] !== "read") write(buffer, step.label || printStep(step));
    });
  }
  for (const { name, buffer } of program.outputs) read(buffer, false, `output "${name}"`);
}

function verifyTotal(program: Program, capabilities: Capabilities, wrong: Wrong): void {
  const states = program.states.reduce((sum, { type }) => sum + bytesOf(type), 0);
  if (program.arenaBytes + states > capabilities.maxBytes)
    wrong(
      `takes ${program.arenaBytes} bytes of arena and ${states} of state, the device has ${capabilities.maxBytes}`,
    );
  const { maxBlockBytes = Infinity } = capabilities;
  const largest = Math.max(program.arenaBytes, ...program.states.map(({ type }) => bytesOf(type)));
  if (largest > maxBlockBytes)
    wrong(`takes ${largest} bytes in one piece, the device has at most ${maxBlockBytes}`);
}
