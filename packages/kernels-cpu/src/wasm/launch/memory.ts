/**
 * One WebAssembly memory, handed out in blocks. In: sizes. Out: addresses. The memory grows when no free block is large
 * enough; views are made anew each time, because growing detaches the old buffer.
 */
import { DeviceError, InternalError } from "@millrace/graph";
import { MAX_MEMORY_BYTES } from "../capabilities.ts";
import { CONTROL_BYTES } from "./control.ts";

const PAGE = 65536;
const ALIGNMENT = 64;

interface Block {
  readonly address: number;
  readonly bytes: number;
}

/** Memory shared by a store and the programs loaded over it. */
export class LinearMemory {
  readonly memory: WebAssembly.Memory;
  readonly #used: Map<number, number> = new Map();
  #free: Block[] = [];
  #end = ALIGNMENT;
  #scratch: Block = { address: 0, bytes: 0 };

  /** Address of the words by which threads keep in step, in a memory that they share. */
  readonly control: number = 0;
  /** Several threads may run programs over it. */
  readonly shared: boolean;

  constructor(shared: boolean) {
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
    if (shared) this.control = this.allocate(CONTROL_BYTES, "the threads' meeting place");
  }

  /** An aligned block of zeros; `purpose` is for the error when there is no room. */
  allocate(bytes: number, purpose: string): number {
    const size = Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
    const at = this.#free.findIndex((block) => block.bytes >= size);
    const found = this.#free[at];
    if (found) {
      const rest = { address: found.address + size, bytes: found.bytes - size };
      this.#free.splice(at, 1, ...(rest.bytes > 0 ? [rest] : []));
      this.#used.set(found.address, size);
      new Uint8Array(this.memory.buffer, found.address, size).fill(0);
      return found.address;
    }
    const address = this.#end;
    this.#reserve(address + size, bytes, purpose);
    this.#end = address + size;
    this.#used.set(address, size);
    return address;
  }

  #reserve(end: number, bytes: number, purpose: string): void {
    const missing = Math.ceil((end - this.memory.buffer.byteLength) / PAGE);
    if (missing <= 0) return;
    const fail = (cause?: unknown): never => {
      throw new DeviceError({
        what: `no room for ${bytes} bytes in WebAssembly memory, which holds ${this.#end} of at most ${MAX_MEMORY_BYTES}`,
        where: purpose,
        hint: "Use a smaller model, batch or context, or a narrower dtype.",
        cause,
      });
    };
    if (end > MAX_MEMORY_BYTES) fail();
    try {
      this.memory.grow(missing);
    } catch (cause) {
      fail(cause);
    }
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
    // What lies at the end is given back to the unused rest; fresh memory must read as zeros again.
    const last = this.#free.at(-1);
    if (last && last.address + last.bytes === this.#end) {
      new Uint8Array(this.memory.buffer, last.address, last.bytes).fill(0);
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
