"use strict";
// A NIfTI file: its voxels, and where they lie in the patient. As inference/scan/nifti_header.py,
// nifti_orientation.py and grid.py have it; whatever is changed there is to be changed here.

class ScanError extends Error {}

// Type code: bytes, and the view of them.
const VOXEL_TYPES = {
  2: [1, Uint8Array], 4: [2, Int16Array], 8: [4, Int32Array], 16: [4, Float32Array],
  64: [8, Float64Array], 256: [1, Int8Array], 512: [2, Uint16Array], 768: [4, Uint32Array],
};
const UNIT_MM = { 0: 1, 1: 1000, 2: 1, 3: 0.001 };
const ROUNDING = 1e-4;
const MAX_SHEAR = 0.02;
const SPACING_MM = [0.01, 50];
const MOST_VOXELS = 2 ** 29; // a browser's array of floats holds no more
const PERMUTATIONS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

const column = (matrix, c) => matrix.map((row) => row[c]);
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const determinant = ([a, b, c]) =>
  a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);

async function unzipped(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (error) {
    throw new ScanError("the compressed data are cut or corrupt: copy the file again");
  }
}

/** Reads numbers of a header by their places in NIfTI-1 or NIfTI-2. */
class Header {
  constructor(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const sizes = bytes.length < 348 ? [] : [view.getInt32(0, true), view.getInt32(0, false)];
    const at = sizes.findIndex((size) => size === 348 || size === 540);
    if (at < 0 || bytes.length < sizes[at]) throw new ScanError("this is no NIfTI file");
    [this.view, this.little, this.two, this.size] = [view, at === 0, sizes[at] === 540, sizes[at]];
    const magic = String.fromCharCode(...bytes.subarray(this.two ? 4 : 344, this.two ? 7 : 347));
    if (magic !== (this.two ? "n+2" : "n+1")) throw new ScanError("this is no NIfTI file of one piece (.nii, .nii.gz)");
    const { little } = this;
    const int16 = (place) => view.getInt16(place, little);
    const int32 = (place) => view.getInt32(place, little);
    const int64 = (place) => Number(view.getBigInt64(place, little));
    const real = this.two ? (place) => view.getFloat64(place, little) : (place) => view.getFloat32(place, little);
    const reals = (place, count) => Array.from({ length: count }, (_, i) => real(place + i * (this.two ? 8 : 4)));
    this.dim = Array.from({ length: 8 }, (_, i) => (this.two ? int64(16 + 8 * i) : int16(40 + 2 * i)));
    this.datatype = int16(this.two ? 12 : 70);
    this.pixdim = reals(this.two ? 104 : 76, 8);
    this.offset = this.two ? int64(168) : real(108);
    [this.slope, this.intercept] = reals(this.two ? 176 : 112, 2);
    this.units = this.two ? int32(500) & 7 : view.getUint8(123) & 7;
    [this.qformCode, this.sformCode] = this.two ? [int32(344), int32(348)] : [int16(252), int16(254)];
    this.quatern = reals(this.two ? 352 : 256, 3);
    this.qoffset = reals(this.two ? 376 : 268, 3);
    this.srow = [0, 1, 2].map((row) => reals((this.two ? 400 : 280) + row * (this.two ? 32 : 16), 4));
  }

  /** The same for 8-bit labels: geometry is copied bit for bit. */
  forLabels() {
    const bytes = new Uint8Array(this.size + 4);
    bytes.set(new Uint8Array(this.view.buffer, this.view.byteOffset, this.size));
    const view = new DataView(bytes.buffer);
    const { little, two } = this;
    const real = two ? view.setFloat64 : view.setFloat32;
    const set = (place, value) => real.call(view, place, value, little);
    view.setInt16(two ? 12 : 70, 2, little);
    view.setInt16(two ? 14 : 72, 8, little);
    if (two) view.setBigInt64(168, BigInt(this.size + 4), little);
    else view.setFloat32(108, this.size + 4, little);
    set(two ? 176 : 112, 1);
    set(two ? 184 : 116, 0);
    set(two ? 192 : 124, 0); // cal_max, cal_min
    set(two ? 200 : 128, 0);
    bytes.fill(0, two ? 240 : 148, two ? 344 : 252); // descrip, aux_file
    return bytes;
  }
}

/** Unit columns of the sform and how far they are from right angles; null where it is unusable. */
function sformOf(header) {
  const lengths = [0, 1, 2].map((c) => Math.hypot(...column(header.srow, c)));
  const usable = header.sformCode > 0 && header.srow.flat().every(Number.isFinite) && lengths.every((n) => n >= 1e-6);
  if (!usable) return [null, Infinity];
  const unit = header.srow.map((row) => lengths.map((n, c) => row[c] / n));
  if (Math.abs(determinant(unit)) < 0.1) return [null, Infinity];
  const pairs = [[0, 1], [0, 2], [1, 2]];
  return [unit, Math.max(...pairs.map(([a, b]) => Math.abs(dot(column(unit, a), column(unit, b)))))];
}

function qformOf(header) {
  let [b, c, d] = header.quatern;
  const rest = 1 - (b * b + c * c + d * d);
  if (header.qformCode <= 0 || !Number.isFinite(rest)) return null;
  let a = 0;
  if (rest < 1e-7) [b, c, d] = [b, c, d].map((value) => value / Math.hypot(...header.quatern));
  else a = Math.sqrt(rest);
  const hand = header.pixdim[0] < 0 ? -1 : 1;
  return [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), hand * 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, hand * 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), hand * (a * a + d * d - c * c - b * b)],
  ];
}

/** Directions (columns, RAS) in which the file's axes grow: ITK's choice of form. */
function directions(header) {
  if (header.qformCode <= 0 && header.sformCode <= 0) return [[-1, 0, 0], [0, -1, 0], [0, 0, 1]];
  const [sform, shear] = sformOf(header);
  const qform = qformOf(header);
  if (qform) {
    const alike = (third) =>
      sform !== null &&
      sform.every((row, r) => row.every((value, c) => close(value * (c === 2 ? third : 1), qform[r][c]))) &&
      header.srow.every((row, r) => close(row[3], header.qoffset[r]));
    const usable = sform !== null && shear <= ROUNDING;
    if (!(usable && (alike(1) || alike(-1) || header.sformCode === 1))) return qform;
  }
  if (!sform) throw new ScanError("it states no usable orientation (qform and sform are broken)");
  if (shear > MAX_SHEAR) throw new ScanError("its axes are not at right angles");
  return sform;
}
const close = (value, other) => Math.abs(value - other) <= 1e-4 + 1e-5 * Math.abs(other);

/** Which of the file's axes is x, y, z of the patient, and which of them run backwards (to LPS). */
function canonical(ras) {
  const lps = [ras[0].map((v) => -v), ras[1].map((v) => -v), ras[2]];
  const closeness = (axes) => Math.round(1e6 * axes.reduce((sum, c, row) => sum + Math.abs(lps[row][c]), 0));
  let best = PERMUTATIONS[0];
  for (const axes of PERMUTATIONS) if (closeness(axes) > closeness(best)) best = axes;
  return { axes: best, flips: best.map((c, row) => lps[row][c] < 0) };
}

/** Stored values in this machine's byte order. */
function storedVoxels(bytes, header, count) {
  const known = VOXEL_TYPES[header.datatype];
  if (!known) throw new ScanError(`it has voxels of NIfTI type ${header.datatype}: store HU as int16`);
  const [size, View] = known;
  if (!(header.offset >= header.size && header.offset + count * size <= bytes.length)) {
    throw new ScanError("it holds fewer voxels than its header says");
  }
  const data = bytes.slice(header.offset, header.offset + count * size);
  if (!header.little) for (let i = 0; i < data.length; i += size) data.subarray(i, i + size).reverse();
  return new View(data.buffer);
}

/**
 * Reads a scan.
 *
 * Returns shape and spacing along z, y, x of the patient (to the head, back and left); `first` and
 * `steps`, by which the file's voxel of canonical (z, y, x) is first + z steps[0] + y steps[1] +
 * x steps[2]; `stored` values with `slope` and `intercept` to HU; and the header.
 */
async function readScan(file) {
  const bytes = await unzipped(file);
  const header = new Header(bytes);
  const [dimensions, ...sizes] = header.dim;
  if (dimensions < 3 || dimensions > 7 || sizes.slice(3, dimensions).some((n) => n > 1)) {
    throw new ScanError("it is not one volume of three dimensions");
  }
  const [nx, ny, nz] = sizes;
  const count = nx * ny * nz;
  if (!(Math.min(nx, ny, nz) > 0 && count <= MOST_VOXELS)) throw new ScanError(`it has ${nx} x ${ny} x ${nz} voxels`);
  const unit = UNIT_MM[header.units] ?? 1; // garbage, which no reader heeds
  const pixdim = header.pixdim.slice(1, 4).map((value) => value * unit);
  if (!pixdim.every((value) => value >= SPACING_MM[0] && value <= SPACING_MM[1])) {
    throw new ScanError(`it has a spacing of ${pixdim.join(" x ")} mm (accepted: ${SPACING_MM.join(" to ")})`);
  }
  const { axes, flips } = canonical(directions(header));
  const strides = [1, nx, nx * ny];
  const scale = header.slope !== 0 && Number.isFinite(header.slope);
  if (scale && !Number.isFinite(header.intercept)) throw new ScanError("its scl_inter is not a number");
  const scan = {
    header,
    shape: [2, 1, 0].map((row) => sizes[axes[row]]),
    spacing: [2, 1, 0].map((row) => pixdim[axes[row]]),
    steps: [2, 1, 0].map((row) => strides[axes[row]] * (flips[row] ? -1 : 1)),
    first: [0, 1, 2].reduce((sum, row) => sum + (flips[row] ? (sizes[axes[row]] - 1) * strides[axes[row]] : 0), 0),
    sizes: [nx, ny, nz],
    stored: storedVoxels(bytes, header, count),
    slope: scale ? header.slope : 1,
    intercept: scale ? header.intercept : 0,
  };
  let [low, high] = [Infinity, -Infinity];
  for (const value of scan.stored) {
    if (!Number.isFinite(value)) throw new ScanError("it holds NaN or infinite voxels: replace them by air (-1024 HU)");
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low === high) throw new ScanError(`it holds nothing but the value ${low}`);
  return scan;
}
