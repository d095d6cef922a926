"use strict";
// From a scan to its labels, as examples/onnx_segment.py has it: canonical axes, the network's
// spacing, windows half a window apart weighted by a Gaussian, logits back on the scan's grid.
// Arrays are (z, y, x), x fastest.

const BODY_HU = -300; // windows in which nothing exceeds it show air

/** To the nearest whole number, halves to the even one, as Python does. */
function rounded(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}

/** Edge-aligned linear interpolation of an axis: lower and upper index, weight of the upper. */
function taps(from, to) {
  const [lower, upper, weight] = [new Int32Array(to), new Int32Array(to), new Float32Array(to)];
  for (let i = 0; i < to; i++) {
    const place = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    lower[i] = Math.floor(place);
    upper[i] = Math.min(lower[i] + 1, from - 1);
    weight[i] = place - lower[i];
  }
  return { lower, upper, weight };
}

/** The shape of the network's grid over a scan. */
function networkShape(scan, spacing) {
  return scan.shape.map((n, axis) => Math.max(1, rounded((n * scan.spacing[axis]) / spacing[axis])));
}

/** The scan, clipped, on the network's grid and normalised. */
function networkImage(scan, shape, model) {
  const [low, high] = model.clip_hu;
  const { stored, first, steps, slope, intercept } = scan;
  const [z, y, x] = shape.map((n, axis) => taps(scan.shape[axis], n));
  const [nz, ny, nx] = shape;
  const clipped = (index) => Math.min(Math.max(stored[index] * slope + intercept, low), high);
  const row = (start) => {
    const out = new Float32Array(nx);
    for (let i = 0; i < nx; i++) {
      const a = clipped(start + x.lower[i] * steps[2]);
      out[i] = a + (clipped(start + x.upper[i] * steps[2]) - a) * x.weight[i];
    }
    return out;
  };
  const rows = lastTwo((start) => row(start));
  const plane = (from) => {
    const out = new Float32Array(ny * nx);
    const start = first + from * steps[0];
    for (let j = 0; j < ny; j++) {
      const a = rows(start + y.lower[j] * steps[1]);
      const b = rows(start + y.upper[j] * steps[1]);
      for (let i = 0; i < nx; i++) out[j * nx + i] = a[i] + (b[i] - a[i]) * y.weight[j];
    }
    return out;
  };
  const planes = lastTwo(plane);
  const image = new Float32Array(nz * ny * nx);
  for (let k = 0; k < nz; k++) {
    const [a, b] = [planes(z.lower[k]), planes(z.upper[k])];
    for (let i = 0; i < a.length; i++) {
      image[k * a.length + i] = (a[i] + (b[i] - a[i]) * z.weight[k] - model.mean_hu) / model.std_hu;
    }
  }
  return image;
}

/** What `make` gives for a number, the last two of them kept. */
function lastTwo(make) {
  const kept = new Map();
  return (key) => {
    if (!kept.has(key)) {
      kept.set(key, make(key));
      if (kept.size > 2) kept.delete(kept.keys().next().value);
    }
    return kept.get(key);
  };
}

/** First indices of windows that cover an axis, at most half a window apart. */
function starts(size, window) {
  const count = Math.ceil((2 * (size - window)) / window) + 1;
  return Array.from({ length: count }, (_, i) => rounded((i * (size - window)) / Math.max(count - 1, 1)));
}

/** Weight of each voxel of a window: Gaussian, SD of an eighth of it, 1 at the centre. */
function gaussian(window) {
  const [z, y, x] = window.map((n) => {
    const profile = Array.from({ length: n }, (_, i) => Math.exp(-0.5 * ((i - (n - 1) / 2) / (n / 8)) ** 2));
    const most = Math.max(...profile);
    return profile.map((value) => value / most);
  });
  const weights = new Float32Array(window[0] * window[1] * window[2]);
  let at = 0;
  for (const a of z) for (const b of y) for (const c of x) weights[at++] = Math.max(a * b * c, 1e-3);
  return weights;
}

/** An axis mirrored at its edges up to a window: index of each sample, and how many lie before it. */
function mirrored(size, window) {
  const missing = Math.max(window - size, 0);
  const before = Math.floor(missing / 2);
  const index = Int32Array.from({ length: size + missing }, (_, i) => {
    const folded = (((i - before) % (2 * size)) + 2 * size) % (2 * size);
    return folded < size ? folded : 2 * size - 1 - folded;
  });
  return { index, before };
}

/**
 * Logits (label, z, y, x) of a normalised image.
 *
 * `run` computes a window's; it is told of each window's number and of how many there are.
 */
async function windowedLogits(image, shape, model, run) {
  const { window, channels } = model;
  const mirrors = shape.map((n, axis) => mirrored(n, window[axis]));
  const [pz, py, px] = mirrors.map(({ index }) => index);
  const [, ny, nx] = shape;
  const size = pz.length * py.length * px.length;
  const air = (BODY_HU - model.mean_hu) / model.std_hu;
  const weighting = gaussian(window);
  const places = [];
  const [zs, ys, xs] = mirrors.map(({ index }, axis) => starts(index.length, window[axis]));
  for (const z of zs) for (const y of ys) for (const x of xs) places.push([z, y, x]);
  const voxels = weighting.length;
  const sums = new Float32Array(channels * size);
  const weights = new Float32Array(size);
  const part = new Float32Array(voxels);
  const rows = (place, visit) => {
    for (let k = 0; k < window[0]; k++) {
      for (let j = 0; j < window[1]; j++) visit(place[0] + k, place[1] + j, (k * window[1] + j) * window[2]);
    }
  };
  for (const [number, place] of places.entries()) {
    let most = -Infinity;
    rows(place, (k, j, to) => {
      const from = (pz[k] * ny + py[j]) * nx;
      for (let i = 0; i < window[2]; i++) {
        const value = image[from + px[place[2] + i]];
        part[to + i] = value;
        if (value > most) most = value;
      }
    });
    const logits = most > air ? await run(part, number, places.length) : null;
    if (!logits) continue;
    rows(place, (k, j, from) => {
      const to = (k * py.length + j) * px.length + place[2];
      for (let i = 0; i < window[2]; i++) weights[to + i] += weighting[from + i];
      for (let c = 0; c < channels; c++) {
        for (let i = 0; i < window[2]; i++) sums[c * size + to + i] += logits[c * voxels + from + i] * weighting[from + i];
      }
    });
  }
  return inner(sums, weights, shape, mirrors, channels);
}

/** Weighted means of what was summed, without what was mirrored. */
function inner(sums, weights, shape, mirrors, channels) {
  const [nz, ny, nx] = shape;
  const [bz, by, bx] = mirrors.map(({ before }) => before);
  const [, py, px] = mirrors.map(({ index }) => index.length);
  const logits = new Float32Array(channels * nz * ny * nx);
  for (let k = 0; k < nz; k++) {
    for (let j = 0; j < ny; j++) {
      const from = ((k + bz) * py + j + by) * px + bx;
      const to = (k * ny + j) * nx;
      for (let i = 0; i < nx; i++) {
        const weight = weights[from + i];
        for (let c = 0; c < channels; c++) {
          logits[c * nz * ny * nx + to + i] = weight ? sums[c * weights.length + from + i] / weight : -10;
        }
      }
    }
  }
  return logits;
}

/** The highest positive logit's label, the last one (tumour) before all others; 0 without any. */
function winner(values, channels) {
  if (values[channels - 1] > 0) return channels;
  let [best, label] = [0, 0];
  for (let c = 0; c < channels - 1; c++) if (values[c] > best) [best, label] = [values[c], c + 1];
  return label;
}

/**
 * Labels of the scan in the file's own order: logits enlarged trilinearly, then decided.
 *
 * Where the eight network voxels around a scan's voxel have one label, all between them has it.
 */
function decided(logits, shape, scan, channels) {
  const [nz, ny, nx] = shape;
  const size = nz * ny * nx;
  const [z, y, x] = shape.map((n, axis) => taps(n, scan.shape[axis]));
  const { first, steps } = scan;
  const labels = new Uint8Array(scan.stored.length);
  const values = new Float32Array(channels);
  const plane = lastTwo((k) => {
    const found = new Uint8Array(ny * nx);
    for (let i = 0; i < ny * nx; i++) {
      for (let c = 0; c < channels; c++) values[c] = logits[c * size + k * ny * nx + i];
      found[i] = winner(values, channels);
    }
    return found;
  });
  for (let k = 0; k < scan.shape[0]; k++) {
    const [low, high] = [z.lower[k] * ny * nx, z.upper[k] * ny * nx];
    const [below, above] = [plane(z.lower[k]), plane(z.upper[k])];
    const wz = z.weight[k];
    for (let j = 0; j < scan.shape[1]; j++) {
      const [a, b] = [y.lower[j] * nx, y.upper[j] * nx];
      const wy = y.weight[j];
      for (let i = 0; i < scan.shape[2]; i++) {
        const [l, u] = [x.lower[i], x.upper[i]];
        const at = first + k * steps[0] + j * steps[1] + i * steps[2];
        const one = below[a + l];
        if (one === below[a + u] && one === below[b + l] && one === below[b + u] &&
            one === above[a + l] && one === above[a + u] && one === above[b + l] && one === above[b + u]) {
          labels[at] = one;
          continue;
        }
        const wx = x.weight[i];
        for (let c = 0; c < channels; c++) {
          const p = c * size + low;
          const q = c * size + high;
          const al = logits[p + a + l] + (logits[q + a + l] - logits[p + a + l]) * wz;
          const au = logits[p + a + u] + (logits[q + a + u] - logits[p + a + u]) * wz;
          const bl = logits[p + b + l] + (logits[q + b + l] - logits[p + b + l]) * wz;
          const bu = logits[p + b + u] + (logits[q + b + u] - logits[p + b + u]) * wz;
          const left = al + (bl - al) * wy;
          values[c] = left + (au + (bu - au) * wy - left) * wx;
        }
        labels[at] = winner(values, channels);
      }
    }
  }
  return labels;
}

/** By label: millilitres, and the file's voxel (x, y, z) in the axial slice that shows most of it. */
function measures(labels, scan, count) {
  const [nz, ny, nx] = scan.shape;
  const { first, steps, sizes } = scan;
  const areas = Array.from({ length: count + 1 }, () => new Uint32Array(nz));
  for (let k = 0; k < nz; k++) {
    for (let j = 0; j < ny; j++) {
      const start = first + k * steps[0] + j * steps[1];
      for (let i = 0; i < nx; i++) areas[labels[start + i * steps[2]]][k]++;
    }
  }
  const ml = (scan.spacing[0] * scan.spacing[1] * scan.spacing[2]) / 1000;
  const found = [];
  for (let label = 1; label <= count; label++) {
    const voxels = areas[label].reduce((sum, n) => sum + n, 0);
    if (!voxels) continue;
    const k = areas[label].indexOf(Math.max(...areas[label]));
    const own = [];
    for (let j = 0; j < ny; j++) {
      for (let i = 0; i < nx; i++) if (labels[first + k * steps[0] + j * steps[1] + i * steps[2]] === label) own.push([j, i]);
    }
    const [mj, mi] = [0, 1].map((axis) => own.reduce((sum, place) => sum + place[axis], 0) / own.length);
    const far = ([j, i]) => (j - mj) ** 2 + (i - mi) ** 2;
    // The middle of a crescent lies outside of it: the nearest voxel is taken.
    const [j, i] = own.reduce((best, place) => (far(place) < far(best) ? place : best));
    const at = first + k * steps[0] + j * steps[1] + i * steps[2];
    const voxel = [at % sizes[0], Math.floor(at / sizes[0]) % sizes[1], Math.floor(at / (sizes[0] * sizes[1]))];
    found.push({ label, ml: voxels * ml, voxel });
  }
  return found;
}
