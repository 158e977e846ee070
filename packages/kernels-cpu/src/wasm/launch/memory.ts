/**
 * One WebAssembly memory, handed out in blocks. In: sizes. Out: addresses. The memory grows when no free block is large
 * enough; views are made anew each time, because growing detaches the old buffer.
 */
import { DeviceError, InternalError } from "@millrace/graph";
import { MAX_MEMORY_BYTES } from "../capabilities.ts";
import { CONTROL_BYTES } from "./control.ts";

const PAGE = 65536;
/** What blocks start at a multiple of; nothing lies at address 0. */
export const ALIGNMENT = 64;

interface Block {
  readonly address: number;
  readonly bytes: number;
}

/** Bytes that a block takes. */
export function blockBytes(bytes: number): number {
  return Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
}

/** Memory shared by a store and the programs loaded over it. */
export class LinearMemory {
  readonly memory: WebAssembly.Memory;
  readonly #used: Map<number, number> = new Map();
  #free: Block[] = [];
  #end = ALIGNMENT;
  /** What lies below was handed out once; above, memory is zero. */
  #touched = ALIGNMENT;
  #scratch: Block = { address: 0, bytes: 0 };

  /** Address of the words by which threads keep in step, in a memory that they share. */
  readonly control: number = 0;
  /** Several threads may run programs over it. */
  readonly shared: boolean;

  /** A memory `withControl` has a meeting place for threads, if they can share it. */
  constructor(shared: boolean, withControl = true) {
    this.shared = shared;
    const limits = shared ? { maximum: Math.floor(MAX_MEMORY_BYTES / PAGE), shared } : {};
    try {
      this.memory = new WebAssembly.Memory({ initial: 1, ...limits });
    } catch (cause) {
      throw new DeviceError({
        what: "no address space for another WebAssembly memory",
        hint: "Dispose of stores that are no longer used; each holds a memory.",
        cause,
      });
    }
    if (shared && withControl)
      this.control = this.allocate(CONTROL_BYTES, "the threads' meeting place");
  }

  /** No block is in use. */
  get isEmpty(): boolean {
    return this.#used.size === 0;
  }

  /** An aligned block of zeros, ending before `limit`; `purpose` is for the error when there is no room. */
  allocate(bytes: number, purpose: string, limit: number = MAX_MEMORY_BYTES): number {
    return this.tryAllocate(bytes, purpose, limit) ?? this.#fail({ bytes, purpose, limit });
  }

  /** The same; undefined when there is no room before `limit`. */
  tryAllocate(bytes: number, purpose: string, limit: number): number | undefined {
    const size = blockBytes(bytes);
    const at = this.#free.findIndex(
      (block) => block.bytes >= size && block.address + size <= limit,
    );
    const found = this.#free[at];
    if (found) {
      const rest = { address: found.address + size, bytes: found.bytes - size };
      this.#free.splice(at, 1, ...(rest.bytes > 0 ? [rest] : []));
      this.#used.set(found.address, size);
      new Uint8Array(this.memory.buffer, found.address, size).fill(0);
      return found.address;
    }
    const address = this.#end;
    const end = address + size;
    if (end > limit) return undefined;
    const missing = Math.ceil((end - this.memory.buffer.byteLength) / PAGE);
    if (missing > 0)
      try {
        this.memory.grow(missing);
      } catch (cause) {
        this.#fail({ bytes, purpose, limit, cause });
      }
    const again = Math.min(end, this.#touched) - address;
    if (again > 0) new Uint8Array(this.memory.buffer, address, again).fill(0);
    this.#end = end;
    this.#touched = Math.max(this.#touched, end);
    this.#used.set(address, size);
    return address;
  }

  #fail(failure: {
    readonly bytes: number;
    readonly purpose: string;
    readonly limit: number;
    readonly cause?: unknown;
  }): never {
    const { bytes, purpose, limit, cause } = failure;
    throw new DeviceError({
      what: `no room for ${bytes} bytes in WebAssembly memory, which holds ${this.#end} of at most ${limit}`,
      where: purpose,
      hint: "Use a smaller model, batch or context, or a narrower dtype.",
      cause,
    });
  }

  /** Takes back a block. */
  release(address: number): void {
    const bytes = this.#used.get(address);
    if (bytes === undefined)
      throw new InternalError({ what: `address ${address} was not allocated` });
    this.#used.delete(address);
    const blocks = [...this.#free, { address, bytes }].toSorted((a, b) => a.address - b.address);
    this.#free = [];
    for (const block of blocks) {
      const last = this.#free.at(-1);
      if (last && last.address + last.bytes === block.address)
        this.#free[this.#free.length - 1] = {
          address: last.address,
          bytes: last.bytes + block.bytes,
        };
      else this.#free.push(block);
    }
    // What lies at the end is given back to the unused rest. It is zeroed when it is handed out again.
    const last = this.#free.at(-1);
    if (last && last.address + last.bytes === this.#end) {
      this.#end = last.address;
      this.#free.pop();
    }
  }

  /** Working memory that all programs share, since they never run at the same time. Its contents do not last. */
  scratch(bytes: number): number {
    if (this.#scratch.bytes < bytes)
      // A smaller area stays: programs loaded earlier have its address in their code.
      this.#scratch = { address: this.allocate(bytes, "packed matrix blocks"), bytes };
    return this.#scratch.address;
  }
}
