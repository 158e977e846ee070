// What is divided and how, who runs what is not, and where threads meet.
import { parseKernel, parseProgram } from "@millrace/graph";
import { describe, expect, it } from "vitest";
import { configureTeam } from "./divide.ts";
import { printConfiguration } from "./print-configuration.ts";
import { dividedWork, scheduleSteps, teamFrom } from "./schedule.ts";

const divided = (text: string, threads = 4, divideFrom?: number): string => {
  const configuration = configureTeam(parseKernel(text), { threads, divideFrom });
  return printConfiguration(configuration, configuration.divisions);
};

describe("configureTeam", () => {
  const copy = (shape: string, loops: string, index: string): string =>
    `kernel k { read x: f32[${shape}] write y: f32[${shape}] ${loops} { store y[${index}] = exp(x[${index}]) } }`;

  it("divides as many loops as it takes to split evenly", () => {
    const one = copy("64, 999", "parallel i < 64 { parallel j < 999", "i, j") + " }";
    expect(divided(one)).toBe("loop i, divided\n  loop j: 4 lanes");
    const two = copy("3, 5, 999", "parallel i < 3 { parallel h < 5 { parallel j < 999", "i, h, j");
    expect(divided(`${two} } }`)).toBe(
      "loop i, divided\n  loop h, divided\n    loop j: 4 lanes, divided",
    );
    // A size of one run may be small, so the loop inside is divided with it.
    const three = copy("T, 999", "parallel i < T { parallel j < 999", "i, j") + " }";
    expect(divided(three.replace("{ read", "{ size T in 1..64 read"))).toBe(
      "loop i, divided\n  loop j: 4 lanes, divided",
    );
  });

  it("leaves little work, serial loops and sums of everything to one thread", () => {
    const small = copy("64", "parallel i < 64", "i");
    expect(divided(small)).toBe("loop i: 4 lanes");
    expect(divided(small, 4, 0)).toBe("loop i: 4 lanes, divided");
    expect(divided(small, 1, 0)).toBe("loop i: 4 lanes");
    expect(
      divided(`kernel k { update x: f32[9999] serial i < 9999 { store x[i] = exp(x[i]) } }`),
    ).toBe("loop i");
    expect(
      divided(`kernel k { read x: f32[99999] write y: f32[]
        reduce s: f32 over i < 99999 { values x[i] combine l0 + r0 identity 0.0 } store y[] = s }`),
    ).toBe("reduce i: 4 lanes");
  });

  it("does not repeat what reads a buffer that the kernel writes", () => {
    const text = (access: string): string => `kernel k { ${access} x: f32[9999] write y: f32[9999]
      let first = x[0]
      parallel i < 9999 { store y[i] = exp(x[i]) + first } ${access === "update" ? "parallel i < 9999 { store x[i] = 1.0 }" : ""} }`;
    expect(divided(text("read"))).toContain("divided");
    expect(divided(text("update"))).not.toContain("divided");
  });

  it("divides products by rows or columns, and those in loops by tiles", () => {
    const product = (m: number | string, n: number): string =>
      `kernel k { ${typeof m === "string" ? `size ${m} in 0..500` : ""} read x: f32[${m}, 64] read w: f32[${n}, 64] write y: f32[${m}, ${n}]
        contract rows i < ${m}, columns j < ${n}, depth k < 64 lhs x[i, k] rhs w[j, k] result a { store y[i, j] = a } }`;
    expect(divided(product(500, 64))).toContain("divided by rows");
    expect(divided(product(16, 500))).toContain("divided by columns");
    expect(divided(product("M", 500))).toContain("divided by rows or columns");
    expect(
      divided(`kernel k { read x: f32[64, 32] read w: f32[8, 48, 32] read o: i32[9] write y: f32[64, 48]
        parallel e < 8 {
          contract rows r < 64 from o[e] to o[e + 1], columns j < 48, depth k < 32
          lhs x[r, k] rhs w[e, j, k] result a { store y[r, j] = a } } }`),
    ).toContain("tiles of all divided");
  });
});

describe("scheduleSteps", () => {
  const program = parseProgram(`program steps {
    arena 1600256 bytes
    state w: f32[99999]
    buffer $0: f32[99999] at state w
    buffer $1: f32[99999] at arena 0
    buffer $2: f32[99999] at arena 400000
    buffer $3: f32[] at arena 800000
    buffer $4: f32[] at arena 800064
    output a: f32[] in $3
    output b: f32[] in $4
    kernel double {
      read x: f32[99999] write y: f32[99999]
      parallel i < 99999 { store y[i] = x[i] + x[i] }
    }
    kernel total {
      read x: f32[99999] write y: f32[]
      reduce s: f32 over i < 99999 { values x[i] combine l0 + r0 identity 0.0 }
      store y[] = s
    }
    step 0 ($0, $1) // a
    step 0 ($0, $2) // b
    step 1 ($1, $3) // c
    step 1 ($2, $4) // d
    step 0 ($2, $1) // e
  }
  `);
  const configurations = program.kernels.map((kernel) => configureTeam(kernel, { threads: 2 }));

  it("meets only where a step needs what others did, and gives each thread something", () => {
    expect(scheduleSteps(program, configurations, 2)).toEqual([
      { step: 0, barrier: false, owner: undefined },
      { step: 1, barrier: false, owner: undefined },
      { step: 2, barrier: true, owner: 0 },
      { step: 3, barrier: false, owner: 1 },
      { step: 4, barrier: true, owner: undefined },
    ]);
  });

  it("calls the threads for much work only", () => {
    const work = dividedWork(program, configurations) as number;
    expect(work).toBeGreaterThan(3e4);
    expect(work).toBeLessThan(teamFrom(program, configurations, 2));
  });
});
