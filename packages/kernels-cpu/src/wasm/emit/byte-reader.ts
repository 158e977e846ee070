/**
 * Reads WebAssembly's number encodings. In: bytes. Out: numbers, in the order they were written. The counterpart of
 * byte-buffer.ts; it trusts its input, which our own encoder made.
 */

/** A cursor over bytes. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get atEnd(): boolean {
    return this.position >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.position++] ?? 0;
  }

  take(count: number): Uint8Array {
    this.position += count;
    return this.#bytes.subarray(this.position - count, this.position);
  }

  unsigned(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  /** A signed LEB128 of up to 64 bits. */
  signed(): bigint {
    let value = 0n;
    for (let shift = 0n; ;) {
      const byte = this.byte();
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
      if (byte < 128) return BigInt.asIntN(Number(shift), value);
    }
  }

  float32(): number {
    this.position += 4;
    return this.#view.getFloat32(this.position - 4, true);
  }

  float64(): number {
    this.position += 8;
    return this.#view.getFloat64(this.position - 8, true);
  }

  word(): number {
    this.position += 4;
    return this.#view.getUint32(this.position - 4, true);
  }

  name(): string {
    return String.fromCharCode(...this.take(this.unsigned()));
  }
}
