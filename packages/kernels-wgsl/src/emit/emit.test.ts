// The WGSL of a few small kernels, whole, so that what a change does to shaders is seen in review.
import { parseKernel } from "@millrace/graph";
import { describe, expect, it } from "vitest";
import { leastCapabilities } from "../capabilities.ts";
import type { WgslCapabilities } from "../capabilities.ts";
import { printConfiguration } from "../configure/configure.ts";
import { emitKernel } from "./emit.ts";

function wgsl(text: string, capabilities: Partial<WgslCapabilities> = {}): string {
  const { configuration, shaders } = emitKernel(parseKernel(text), {
    ...leastCapabilities,
    ...capabilities,
  });
  const choices = printConfiguration(configuration).split("\n");
  return `\n${shaders.map(({ code }, i) => `// ${choices[i]}\n${code}`).join("\n")}`;
}

describe("WGSL", () => {
  it("of elements that fill words", () => {
    const text = wgsl(`kernel k {
      size T in 1..9
      read a: f32[T]
      write y: bf16[T]
      parallel i < T { store y[i] = round_bf16(a[i] * 2.0 + 1.0) }
    }`);
    expect(text).toMatchInlineSnapshot(`
      "
      // an invocation per 2 over i < T, workgroup 64, owned words
      @group(0) @binding(0) var<storage, read_write> a: array<f32>;
      @group(0) @binding(1) var<storage, read_write> y: array<u32>;
      @group(0) @binding(2) var<uniform> sizes: array<vec4<i32>, 1>;
      // The same number, by way of integers: a compiler may contract or reorder float arithmetic, but not through this.
      fn exact(x: f32) -> f32 {
        return bitcast<f32>(bitcast<u32>(x) | bitcast<u32>(sizes[0].x));
      }
      fn encode_bf16(x: f32) -> u32 {
        let bits = bitcast<u32>(x);
        if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0x7fc0u; }
        return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
      }
      @compute @workgroup_size(64)
      fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        let v = (sizes[0].y + 1) / 2;
        let point_ = i32((group.y * 32768u + group.x) * 64u + lane);
        if (point_ >= v) { return; }
        var word_ = 0u;
        let first_ = point_ * 2;
        let end_ = min(first_ + 2, sizes[0].y);
        for (var i = first_; i < end_; i++) {
          let x = a[i];
          word_ |= encode_bf16((exact((x * 2.0f)) + 1.0f)) << (u32(i & 1) << 4u);
          if ((i & 1) == 1 || i + 1 == end_) {
            y[i >> 1u] = word_;
            word_ = 0u;
          }
        }
      }
      "
    `);
  });

  it("of a guarded load, an infinite literal and a comparison with NaN", () => {
    const text = wgsl(
      `kernel k {
      read a: f32[10]
      write y: f32[12]
      parallel i < 12 { let x = select(i < 10, a[i], -inf)  store y[i] = select(x != x, 0.0, x) }
    }`.replace("  store", "\nstore"),
    );
    expect(text).toMatchInlineSnapshot(`
      "
      // an invocation each over i < 12, workgroup 64
      @group(0) @binding(0) var<storage, read_write> a: array<f32>;
      @group(0) @binding(1) var<storage, read_write> y: array<f32>;
      @group(0) @binding(2) var<uniform> sizes: array<vec4<i32>, 1>;
      fn from_bits(bits: u32) -> f32 {
        return bitcast<f32>(bits);
      }
      // The same number, by way of integers: a compiler may contract or reorder float arithmetic, but not through this.
      fn exact(x: f32) -> f32 {
        return bitcast<f32>(bitcast<u32>(x) | bitcast<u32>(sizes[0].x));
      }
      @compute @workgroup_size(64)
      fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        let point_ = i32((group.y * 32768u + group.x) * 64u + lane);
        if (point_ >= 12) { return; }
        var s: f32;
        if ((point_ < 10)) {
          let x = a[point_];
          s = x;
        } else {
          s = from_bits(0xff800000u);
        }
        y[point_] = select(s, 0.0f, (!(s == exact(s))));
      }
      "
    `);
  });

  it("of a reduction shared by a workgroup", () => {
    const text = wgsl(`kernel k {
      read a: f32[3, 100]
      write y: f32[3]
      parallel i < 3 {
        reduce r: f32 over k < 100 { values a[i, k] * a[i, k] combine l0 + r0 identity 0.0 }
        store y[i] = r
      }
    }`);
    expect(text).toMatchInlineSnapshot(`
      "
      // a workgroup each over i < 3, workgroup 64
      @group(0) @binding(0) var<storage, read_write> a: array<f32>;
      @group(0) @binding(1) var<storage, read_write> y: array<f32>;
      var<workgroup> partial_: array<f32, 64>;
      @compute @workgroup_size(64)
      fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        let point_ = i32((group.y * 32768u + group.x));
        if (point_ >= 3) { return; }
        var r: f32 = 0.0f;
        for (var k = i32(lane); k < 100; k += 64) {
          let x = a[((point_ * 100) + k)];
          let x1 = a[((point_ * 100) + k)];
          r = (r + (x * x1));
        }
        partial_[lane] = r;
        workgroupBarrier();
        for (var half_ = u32(32); half_ > 0u; half_ >>= 1u) {
          if (lane < half_) {
            let other_ = partial_[lane + half_];
            r = (r + other_);
            partial_[lane] = r;
          }
          workgroupBarrier();
        }
        let r1 = workgroupUniformLoad(&partial_[0]);
        if (lane == 0u) {
          y[point_] = r1;
        }
      }
      "
    `);
  });

  it("of a scatter-add: two dispatches, the columns apart", () => {
    const text = wgsl(`kernel k {
      read rows: i32[9]
      read a: f32[9, 6]
      update y: f32[4, 6]
      parallel i < 4 { parallel j < 6 { store y[i, j] = 0.0 } }
      serial n < 9 {
        let row = rows[n]
        if (row >= 0) & (row < 4) { parallel d < 6 { store y[row, d] = y[row, d] + a[n, d] } }
      }
    }`);
    expect(text).toMatchInlineSnapshot(`
      "
      // an invocation each over i < 4, j < 6, workgroup 64
      @group(0) @binding(0) var<storage, read_write> rows_: array<i32>;
      @group(0) @binding(1) var<storage, read_write> a: array<f32>;
      @group(0) @binding(2) var<storage, read_write> y: array<f32>;
      @compute @workgroup_size(64)
      fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        let point_ = i32((group.y * 32768u + group.x) * 64u + lane);
        if (point_ >= 24) { return; }
        let i = (point_ / 6);
        let j = (point_ % 6);
        y[point_] = 0.0f;
      }

      // an invocation each over d < 6, workgroup 64
      @group(0) @binding(0) var<storage, read_write> rows_: array<i32>;
      @group(0) @binding(1) var<storage, read_write> a: array<f32>;
      @group(0) @binding(2) var<storage, read_write> y: array<f32>;
      @compute @workgroup_size(64)
      fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        let point_ = i32((group.y * 32768u + group.x) * 64u + lane);
        if (point_ >= 6) { return; }
        for (var n = 0; n < 9; n++) {
          let x = rows_[n];
          if (((x >= 0) & (x < 4))) {
            let x1 = y[((x * 6) + point_)];
            let x2 = a[((n * 6) + point_)];
            y[((x * 6) + point_)] = (x1 + x2);
          }
        }
      }
      "
    `);
  });

  it("of a product in tiles", () => {
    const text = wgsl(`kernel k {
      read a: f32[9, 20]
      read b: e4m3fn[8, 20]
      write y: f32[9, 8]
      contract rows m < 9, columns n < 8, depth k < 20
        lhs a[m, k]
        rhs b[n, k]
        result p { store y[m, n] = p }
    }`);
    expect(text).toMatchInlineSnapshot(`
      "
      // tiles of 16 by 16 by 16 over one point, workgroup 256
      @group(0) @binding(0) var<storage, read_write> a: array<f32>;
      @group(0) @binding(1) var<storage, read_write> b: array<u32>;
      @group(0) @binding(2) var<storage, read_write> y: array<f32>;
      var<workgroup> lhs_tile_: array<f32, 272>;
      var<workgroup> rhs_tile_: array<f32, 272>;
      fn decode_e4m3fn(code: u32) -> f32 {
        let m = code & 0x7fu;
        var bits = (m << 20u) + 0x3c000000u;
        if (m < 0x8u) { bits = bitcast<u32>(f32(m) * 0.001953125f); }
        if (m == 0x7fu) { bits = 0x7fc00000u; }
        return bitcast<f32>(bits | ((code & 0x80u) << 24u));
      }
      @compute @workgroup_size(256)
      fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        let point_ = i32((group.y * 32768u + group.x));
        if (point_ >= 1) { return; }
        let first_row_ = point_ * 16;
        let first_column_ = 0 * 16;
        if (first_row_ < 9 && first_column_ < 8) {
          let across_ = i32(lane) % 16;
          let down_ = i32(lane) / 16;
          var sum_0_0_ = 0.0f;
          for (var slice_ = 0; slice_ < 20; slice_ += 16) {
            for (var element_ = i32(lane); element_ < 256; element_ += 256) {
              let low_ = element_ % 16;
              let high_ = element_ / 16;
              let m = first_row_ + high_;
              let k = slice_ + low_;
              var value_ = 0.0f;
              if (m < 9 && k < 20) {
                let x = a[((m * 20) + k)];
                value_ = x;
              }
              lhs_tile_[low_ * 17 + high_] = value_;
            }
            for (var element_1 = i32(lane); element_1 < 256; element_1 += 256) {
              let low_1 = element_1 % 16;
              let high_1 = element_1 / 16;
              let n = first_column_ + high_1;
              let k1 = slice_ + low_1;
              var value_1 = 0.0f;
              if (n < 8 && k1 < 20) {
                let at_ = ((n * 20) + k1);
                let x1 = decode_e4m3fn((b[at_ >> 2u] >> (u32(at_ & 3) << 3u)) & 0xffu);
                value_1 = x1;
              }
              rhs_tile_[low_1 * 17 + high_1] = value_1;
            }
            workgroupBarrier();
            for (var k2 = 0; k2 < 16; k2++) {
              let a1 = lhs_tile_[k2 * 17 + down_ + 0];
              let b1 = rhs_tile_[k2 * 17 + across_ + 0];
              sum_0_0_ = fma(a1, b1, sum_0_0_);
            }
            workgroupBarrier();
          }
          let row_end_ = min(first_row_ + 16, 9);
          let column_end_ = min(first_column_ + 16, 8);
          var sums_ = array<f32, 1>(sum_0_0_);
          var at_1 = 0;
          for (var m1 = first_row_ + down_; m1 < row_end_; m1 += 16) {
            var next_ = at_1;
            at_1 += 1;
            for (var n1 = first_column_ + across_; n1 < column_end_; n1 += 16) {
              let p = sums_[next_];
              next_++;
              y[((m1 * 8) + n1)] = p;
            }
          }
        }
      }
      "
    `);
  });
});
