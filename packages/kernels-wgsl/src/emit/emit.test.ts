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
        let first_ = point_ * 2;
        var word_ = 0u;
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
      read a: f32[20, 24]
      read b: e4m3fn[8, 24]
      write y: f32[20, 8]
      contract rows m < 20, columns n < 8, depth k < 24
        lhs a[m, k]
        rhs b[n, k]
        result p { store y[m, n] = p }
    }`);
    expect(text).toMatchInlineSnapshot(`
      "
      // tiles of 32 by 32 by 16 over one point, workgroup 64
      @group(0) @binding(0) var<storage, read_write> a: array<vec4<f32>>;
      @group(0) @binding(1) var<storage, read_write> b: array<u32>;
      @group(0) @binding(2) var<storage, read_write> y: array<f32>;
      var<workgroup> lhs_tile_: array<vec4<f32>, 144>;
      var<workgroup> rhs_tile_: array<vec4<f32>, 144>;
      fn decode_e4m3fn(code: u32) -> f32 {
        let m = code & 0x7fu;
        let value = bitcast<f32>((m << 20u) + 0x3c000000u);
        // Without its exponent a small number was read as half of itself and half of the smallest normal one.
        var bits = bitcast<u32>(select(value, value * 2.0f - 0.015625f, m < 0x8u));
        if (m == 0x7fu) { bits = 0x7fc00000u; }
        return bitcast<f32>(bits | ((code & 0x80u) << 24u));
      }
      @compute @workgroup_size(64)
      fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        let point_ = i32((group.y * 32768u + group.x));
        if (point_ >= 1) { return; }
        let first_row_ = point_ * 32;
        let first_column_ = 0 * 32;
        if (first_row_ < 20 && first_column_ < 8) {
          let across_ = i32(lane) % 8;
          let down_ = i32(lane) / 8;
          var sum_0_0_ = vec4<f32>();
          var sum_1_0_ = vec4<f32>();
          var sum_2_0_ = vec4<f32>();
          var sum_3_0_ = vec4<f32>();
          for (var slice_ = 0; slice_ < 24; slice_ += 16) {
            for (var element_ = i32(lane); element_ < 32; element_ += 64) {
              let low_ = element_ % 4;
              let high_ = element_ / 4;
              let m = first_row_ + high_ * 4;
              let k = slice_ + low_ * 4;
              var value_ = vec4<f32>();
              var value_1 = vec4<f32>();
              var value_2 = vec4<f32>();
              var value_3 = vec4<f32>();
              if (m < 20 && k < 24) {
                let at_ = ((m * 24) + k);
                let x = a[at_ >> 2u];
                value_.x = x.x;
                value_1.x = x.y;
                value_2.x = x.z;
                value_3.x = x.w;
              }
              if (m + 1 < 20 && k < 24) {
                let m1 = m + 1;
                let at_1 = ((m1 * 24) + k);
                let x1 = a[at_1 >> 2u];
                value_.y = x1.x;
                value_1.y = x1.y;
                value_2.y = x1.z;
                value_3.y = x1.w;
              }
              if (m + 2 < 20 && k < 24) {
                let m2 = m + 2;
                let at_2 = ((m2 * 24) + k);
                let x2 = a[at_2 >> 2u];
                value_.z = x2.x;
                value_1.z = x2.y;
                value_2.z = x2.z;
                value_3.z = x2.w;
              }
              if (m + 3 < 20 && k < 24) {
                let m3 = m + 3;
                let at_3 = ((m3 * 24) + k);
                let x3 = a[at_3 >> 2u];
                value_.w = x3.x;
                value_1.w = x3.y;
                value_2.w = x3.z;
                value_3.w = x3.w;
              }
              lhs_tile_[(low_ * 4) * 9 + high_] = value_;
              lhs_tile_[(low_ * 4 + 1) * 9 + high_] = value_1;
              lhs_tile_[(low_ * 4 + 2) * 9 + high_] = value_2;
              lhs_tile_[(low_ * 4 + 3) * 9 + high_] = value_3;
            }
            for (var element_1 = 63 - i32(lane); element_1 < 32; element_1 += 64) {
              let low_1 = element_1 % 4;
              let high_1 = element_1 / 4;
              let n = first_column_ + high_1 * 4;
              let k1 = slice_ + low_1 * 4;
              var value_4 = vec4<f32>();
              var value_5 = vec4<f32>();
              var value_6 = vec4<f32>();
              var value_7 = vec4<f32>();
              if (n < 8 && k1 < 24) {
                let at_4 = ((n * 24) + k1);
                let x4 = b[((at_4 >> 2u) + 0)];
                value_4.x = decode_e4m3fn((x4 >> 0u) & 0xffu);
                value_5.x = decode_e4m3fn((x4 >> 8u) & 0xffu);
                value_6.x = decode_e4m3fn((x4 >> 16u) & 0xffu);
                value_7.x = decode_e4m3fn((x4 >> 24u) & 0xffu);
              }
              if (n + 1 < 8 && k1 < 24) {
                let n1 = n + 1;
                let at_5 = ((n1 * 24) + k1);
                let x5 = b[((at_5 >> 2u) + 0)];
                value_4.y = decode_e4m3fn((x5 >> 0u) & 0xffu);
                value_5.y = decode_e4m3fn((x5 >> 8u) & 0xffu);
                value_6.y = decode_e4m3fn((x5 >> 16u) & 0xffu);
                value_7.y = decode_e4m3fn((x5 >> 24u) & 0xffu);
              }
              if (n + 2 < 8 && k1 < 24) {
                let n2 = n + 2;
                let at_6 = ((n2 * 24) + k1);
                let x6 = b[((at_6 >> 2u) + 0)];
                value_4.z = decode_e4m3fn((x6 >> 0u) & 0xffu);
                value_5.z = decode_e4m3fn((x6 >> 8u) & 0xffu);
                value_6.z = decode_e4m3fn((x6 >> 16u) & 0xffu);
                value_7.z = decode_e4m3fn((x6 >> 24u) & 0xffu);
              }
              if (n + 3 < 8 && k1 < 24) {
                let n3 = n + 3;
                let at_7 = ((n3 * 24) + k1);
                let x7 = b[((at_7 >> 2u) + 0)];
                value_4.w = decode_e4m3fn((x7 >> 0u) & 0xffu);
                value_5.w = decode_e4m3fn((x7 >> 8u) & 0xffu);
                value_6.w = decode_e4m3fn((x7 >> 16u) & 0xffu);
                value_7.w = decode_e4m3fn((x7 >> 24u) & 0xffu);
              }
              rhs_tile_[(low_1 * 4) * 9 + high_1] = value_4;
              rhs_tile_[(low_1 * 4 + 1) * 9 + high_1] = value_5;
              rhs_tile_[(low_1 * 4 + 2) * 9 + high_1] = value_6;
              rhs_tile_[(low_1 * 4 + 3) * 9 + high_1] = value_7;
            }
            workgroupBarrier();
            for (var k2 = 0; k2 < 16; k2++) {
              let a1 = lhs_tile_[k2 * 9 + down_];
              let b1 = rhs_tile_[k2 * 9 + across_];
              sum_0_0_ = fma(vec4<f32>(a1.x), b1, sum_0_0_);
              sum_1_0_ = fma(vec4<f32>(a1.y), b1, sum_1_0_);
              sum_2_0_ = fma(vec4<f32>(a1.z), b1, sum_2_0_);
              sum_3_0_ = fma(vec4<f32>(a1.w), b1, sum_3_0_);
            }
            workgroupBarrier();
          }
          var sums_ = array<vec4<f32>, 4>(sum_0_0_, sum_1_0_, sum_2_0_, sum_3_0_);
          for (var i = 0; i < 4; i++) {
            let m4 = first_row_ + down_ * 4 + i;
            if (m4 < 20) {
              for (var four_ = 0; four_ < 1; four_++) {
                let line_ = sums_[i * 1 + four_];
                let first_ = first_column_ + across_ * 4 + four_ * 32;
                let end_ = min(first_ + 4, 8);
                for (var n4 = first_; n4 < end_; n4++) {
                  let p = line_[n4 - first_];
                  y[((m4 * 8) + n4)] = p;
                }
              }
            }
          }
        }
      }
      "
    `);
  });

  it("of a product of few rows", () => {
    const text = wgsl(
      `kernel k {
      read a: f32[2, 256]
      read b: bf16[64, 256]
      write y: f32[2, 64]
      contract rows m < 2, columns n < 64, depth k < 256
        lhs a[m, k]
        rhs b[n, k]
        result p { store y[m, n] = p }
    }`,
      { subgroupSize: 32 },
    );
    expect(text).toMatchInlineSnapshot(`
      "
      // 2 rows by 4 columns in lines of 64 lanes along the depth, 4 at once over one point, workgroup 256
      enable subgroups;
      @group(0) @binding(0) var<storage, read_write> a: array<vec4<f32>>;
      @group(0) @binding(1) var<storage, read_write> b: array<u32>;
      @group(0) @binding(2) var<storage, read_write> y: array<f32>;
      var<workgroup> partial_: array<f32, 16>;
      fn decode_bf16(code: u32) -> f32 {
        return bitcast<f32>(code << 16u);
      }
      @compute @workgroup_size(256)
      fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_size) subgroup_size: u32, @builtin(subgroup_invocation_id) own: u32) {
        let lane = subgroup * subgroup_size + own;
        let point_ = i32((group.y * 32768u + group.x));
        if (point_ >= 16) { return; }
        let first_row_ = (point_ / 16) * 2;
        let first_column_ = (point_ % 16) * 4;
        if (first_row_ < 2 && first_column_ < 64) {
          let line_ = i32(lane) / 64;
          let place_ = i32(lane) % 64;
          let m = first_row_;
          let m1 = min(first_row_ + 1, 2 - 1);
          let n = min(first_column_ + line_ * 1 + 0, 64 - 1);
          var sum_0_0_ = vec4<f32>();
          var sum_1_0_ = vec4<f32>();
          for (var k = place_ * 4; k < 256; k += 256) {
            let at_ = ((n * 256) + k);
            let x = b[((at_ >> 1u) + 0)];
            let x1 = b[((at_ >> 1u) + 1)];
            let b1 = vec4<f32>(decode_bf16((x >> 0u) & 0xffffu), decode_bf16((x >> 16u) & 0xffffu), decode_bf16((x1 >> 0u) & 0xffffu), decode_bf16((x1 >> 16u) & 0xffffu));
            let at_1 = ((m * 256) + k);
            let x2 = a[at_1 >> 2u];
            let a1 = vec4<f32>(x2.x, x2.y, x2.z, x2.w);
            sum_0_0_ = fma(a1, b1, sum_0_0_);
            let at_2 = ((m1 * 256) + k);
            let x3 = a[at_2 >> 2u];
            let a2 = vec4<f32>(x3.x, x3.y, x3.z, x3.w);
            sum_1_0_ = fma(a2, b1, sum_1_0_);
          }
          let total_ = (sum_0_0_.x + sum_0_0_.y) + (sum_0_0_.z + sum_0_0_.w);
          let total_1 = total_ + subgroupShuffleXor(total_, 16u);
          let total_2 = total_1 + subgroupShuffleXor(total_1, 8u);
          let total_3 = total_2 + subgroupShuffleXor(total_2, 4u);
          let total_4 = total_3 + subgroupShuffleXor(total_3, 2u);
          let total_5 = total_4 + subgroupShuffleXor(total_4, 1u);
          let total_6 = (sum_1_0_.x + sum_1_0_.y) + (sum_1_0_.z + sum_1_0_.w);
          let total_7 = total_6 + subgroupShuffleXor(total_6, 16u);
          let total_8 = total_7 + subgroupShuffleXor(total_7, 8u);
          let total_9 = total_8 + subgroupShuffleXor(total_8, 4u);
          let total_10 = total_9 + subgroupShuffleXor(total_9, 2u);
          let total_11 = total_10 + subgroupShuffleXor(total_10, 1u);
          if (i32(lane) % 32 == 0) {
            partial_[0 + i32(lane) / 32] = total_5;
            partial_[8 + i32(lane) / 32] = total_11;
          }
          workgroupBarrier();
          for (var element_ = i32(lane); element_ < 2; element_ += 256) {
            let r = element_ / 1;
            let m2 = first_row_ + r;
            if (m2 < 2) {
              let from_ = element_ % 1 * 4;
              let first_ = first_column_ + from_;
              let end_ = min(first_ + 4, 64);
              for (var n1 = first_; n1 < end_; n1++) {
                let c = from_ + (n1 - first_);
                let at_3 = (r * 1 + c % 1) * 8 + c / 1 * 2;
                var total_12 = partial_[at_3 + 0];
                for (var i = 1; i < 2; i++) {
                  total_12 += partial_[at_3 + i];
                }
                let p = total_12;
                y[((m2 * 64) + n1)] = p;
              }
            }
          }
        }
      }
      "
    `);
  });
});
