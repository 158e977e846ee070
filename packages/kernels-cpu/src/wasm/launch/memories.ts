/**
 * The WebAssembly memories of a store. In: sizes of states, arenas and constants. Out: a memory and an address for each. The first
 * memory also holds what belongs to no buffer: scratch, tables, the threads' meeting place. Further memories are made when
 * the first is full, where the engine takes modules with several, and dropped when nothing lies in them any more. What is
 * placed lies whole in one memory: its addresses have 32 bits.
 */
import { DeviceError } from "@millrace/graph";
import { MAX_MEMORIES } from "../capabilities.ts";
import { ALIGNMENT, blockBytes, LinearMemory } from "./memory.ts";

/** Where something lies. */
export interface Place {
  readonly memory: LinearMemory;
  readonly address: number;
}

/** How much may be placed where. */
export interface MemoryLimits {
  /** Several threads can run programs over the memories. */
  readonly shared: boolean;
  /** Bytes of each memory that may be taken by what is placed. */
  readonly memoryBytes: number;
  /** One memory may follow another. */
  readonly several: boolean;
}

/**
 * What may be taken of the first memory where others can follow. States leave room for arenas, which kernels use most, and both for
 * what can be nowhere else.
 */
const shareOfFirst = { state: 0.75, buffer: 0.9375 } as const;

/** The memories of a store and of the programs loaded over it. */
export class Memories {
  readonly first: LinearMemory;
  readonly #limits: MemoryLimits;
  #further: readonly LinearMemory[] = [];

  constructor(limits: MemoryLimits) {
    this.#limits = limits;
    this.first = new LinearMemory(limits.shared);
  }

  /** How many there are. */
  get count(): number {
    return 1 + this.#further.length;
  }

  /** A block of zeros for a state, or for a program's arena or constant; `purpose` is for the error when there is no room. */
  place(bytes: number, purpose: string, kind: keyof typeof shareOfFirst): Place {
    const { shared, memoryBytes, several } = this.#limits;
    const { first } = this;
    if (!several) return { memory: first, address: first.allocate(bytes, purpose, memoryBytes) };
    if (ALIGNMENT + blockBytes(bytes) > memoryBytes)
      throw new DeviceError({
        what: `no room for ${bytes} bytes in one WebAssembly memory, which holds at most ${memoryBytes}`,
        where: purpose,
        hint: "Use a smaller model or a narrower dtype: states may lie in several memories, but each in one.",
      });
    const tryIn = (memory: LinearMemory, limit: number): Place | undefined => {
      const address = memory.tryAllocate(bytes, purpose, limit);
      return address === undefined ? undefined : { memory, address };
    };
    const inFirst = tryIn(first, Math.floor(memoryBytes * shareOfFirst[kind]));
    if (inFirst) return inFirst;
    for (const memory of this.#further) {
      const place = tryIn(memory, memoryBytes);
      if (place) return place;
    }
    if (this.count === MAX_MEMORIES)
      throw new DeviceError({
        what: `no room for ${bytes} bytes in ${MAX_MEMORIES} WebAssembly memories of ${memoryBytes}`,
        where: purpose,
        hint: "Use a smaller model, batch or context, or a narrower dtype.",
      });
    const memory = new LinearMemory(shared, false);
    const place = { memory, address: memory.allocate(bytes, purpose, memoryBytes) };
    this.#further = [...this.#further, memory];
    return place;
  }

  /** Takes back what was placed. */
  release({ memory, address }: Place): void {
    memory.release(address);
    if (memory.isEmpty) this.#further = this.#further.filter((other) => other !== memory);
  }
}
