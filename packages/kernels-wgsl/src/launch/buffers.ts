/**
 * Memory on the device. In: bytes. Out: buffers, with their errors; uploads in pieces, readback through mapped buffers that are used
 * again. Sizes and offsets are rounded up to the 4 bytes that WebGPU counts in.
 */
import type { HostArray } from "@millrace/graph";
import { DeviceError } from "@millrace/graph";
import type { DeviceGuard } from "./device-errors.ts";

// The numbers of the WebGPU specification; the constants themselves are globals that Node does not have.
export const usage = {
  mapRead: 0x1,
  copySource: 0x4,
  copyTarget: 0x8,
  uniform: 0x40,
  storage: 0x80,
  queryResolve: 0x200,
} as const;
const mapForReading = 1;

/** Bytes that one upload leaves with the driver before it is waited for, unless told otherwise. */
const usualPiece = 2 ** 26;

export const roundUp = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;

export const bytesOf = ({ buffer, byteOffset, byteLength }: HostArray): Uint8Array<ArrayBuffer> =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);

/** Where data lies: a buffer and a range of it. */
export interface Region {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
}

export class DeviceMemory {
  readonly device: GPUDevice;
  readonly guard: DeviceGuard;
  readonly #maxBufferBytes: number;
  readonly #pieceBytes: number;
  /** Which buffers exist and how many: tests look for those left behind. */
  readonly #live = new WeakSet<GPUBuffer>();
  #count = 0;
  #idle: GPUBuffer[] = [];

  /** `pieceBytes` is a multiple of 4. */
  constructor(
    device: GPUDevice,
    guard: DeviceGuard,
    maxBufferBytes: number,
    pieceBytes: number = usualPiece,
  ) {
    this.device = device;
    this.guard = guard;
    this.#maxBufferBytes = maxBufferBytes;
    this.#pieceBytes = pieceBytes;
  }

  /** Buffers in use, those kept for readback aside. */
  get liveBuffers(): number {
    return this.#count - this.#idle.length;
  }

  /** A buffer of zeros. Call within a scope of the guard, which reports a lack of memory. */
  create(bytes: number, label: string, flags: number): GPUBuffer {
    const size = Math.max(roundUp(bytes, 4), 16);
    if (size > this.#maxBufferBytes)
      throw new DeviceError({
        what: `${size} bytes are more than the ${this.#maxBufferBytes} of one buffer on this device`,
        where: label,
        hint: "Use a smaller batch or model, or a narrower dtype.",
      });
    const buffer = this.device.createBuffer({ size, label, usage: flags });
    this.#live.add(buffer);
    this.#count++;
    return buffer;
  }

  destroy(buffer: GPUBuffer): void {
    if (this.#live.delete(buffer)) this.#count--;
    buffer.destroy();
  }

  /** Writes at once, in the order of the queue; `data` may be changed afterwards. */
  write(buffer: GPUBuffer, offset: number, data: Uint8Array<ArrayBuffer>): void {
    if (data.byteLength === 0) return;
    const whole = data.byteLength - (data.byteLength % 4);
    if (whole > 0) this.device.queue.writeBuffer(buffer, offset, data, 0, whole);
    if (whole === data.byteLength) return;
    const rest = new Uint8Array(4);
    rest.set(data.subarray(whole));
    this.device.queue.writeBuffer(buffer, offset + whole, rest);
  }

  /** Writes in pieces, so that the driver never holds more than one of them. */
  async upload(region: Region, data: Uint8Array<ArrayBuffer>, where: string): Promise<void> {
    const pieceBytes = this.#pieceBytes;
    for (let at = 0; at < data.byteLength; at += pieceBytes) {
      const piece = data.subarray(at, at + pieceBytes);
      await this.guard.scope(where, () => this.write(region.buffer, region.offset + at, piece));
      if (data.byteLength > pieceBytes)
        await this.guard.wait(where, this.device.queue.onSubmittedWorkDone());
    }
  }

  /** A mappable buffer of at least `bytes`. */
  takeReadback(bytes: number): GPUBuffer {
    const size = Math.max(roundUp(bytes, 4), 16);
    const found = this.#idle.findIndex((buffer) => buffer.size >= size && buffer.size <= 4 * size);
    if (found >= 0) return this.#idle.splice(found, 1)[0]!;
    return this.create(size, "readback", usage.mapRead | usage.copyTarget);
  }

  /** Waits until a readback buffer is filled, and copies its first bytes out. */
  async readBack(
    buffer: GPUBuffer,
    bytes: number,
    where: string,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const size = Math.max(roundUp(bytes, 4), 4);
    try {
      await this.guard.wait(where, buffer.mapAsync(mapForReading, 0, size));
    } catch (error) {
      this.destroy(buffer);
      throw error;
    }
    const copy = new Uint8Array(buffer.getMappedRange(0, size).slice(0, bytes));
    buffer.unmap();
    this.#idle.push(buffer);
    while (this.#idle.length > 8) this.destroy(this.#idle.shift()!);
    return copy;
  }

  /** The bytes of a region. */
  async download(
    { buffer, offset, bytes }: Region,
    where: string,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (bytes === 0) return new Uint8Array(0);
    let readback: GPUBuffer | undefined;
    try {
      await this.guard.scope(where, () => {
        readback = this.takeReadback(bytes);
        const encoder = this.device.createCommandEncoder();
        encoder.copyBufferToBuffer(buffer, offset, readback, 0, roundUp(bytes, 4));
        this.device.queue.submit([encoder.finish()]);
      });
    } catch (error) {
      if (readback) this.destroy(readback);
      throw error;
    }
    return this.readBack(readback!, bytes, where);
  }

  /** Frees what is kept for later. */
  dispose(): void {
    for (const buffer of this.#idle) this.destroy(buffer);
    this.#idle = [];
  }
}
