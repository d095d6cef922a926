"use strict";
// Beside the page, so that it stays alive: holds the network, and segments one scan after another.

let network = null;

async function load({ runtime, wasm, onnx, model }) {
  const ort = await import(runtime);
  // More threads need a page that a server isolates from others; from a file there is one.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = wasm;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(new Uint8Array(onnx), { executionProviders: ["wasm"] });
  const run = async (part) => {
    const image = new ort.Tensor("float32", part, [1, 1, ...model.window]);
    const { logits } = await session.run({ image });
    return logits.data;
  };
  network = { model, run };
}

async function segment({ file }) {
  const { model, run } = network;
  const seconds = {};
  let begun = performance.now();
  const done = (stage) => {
    const now = performance.now();
    [seconds[stage], begun] = [(now - begun) / 1000, now];
  };
  postMessage({ kind: "stage", stage: "read" });
  const scan = await readScan(new Uint8Array(file));
  done("read");
  postMessage({ kind: "stage", stage: "resample" });
  const shape = networkShape(scan, model.spacing_mm);
  const image = networkImage(scan, shape, model);
  done("resample");
  let windows = 0;
  const logits = await windowedLogits(image, shape, model, (part, number, count) => {
    windows += 1;
    postMessage({ kind: "stage", stage: "network", number, count });
    return run(part);
  });
  if (!windows) throw new ScanError("there is nothing but air in it");
  done("network");
  postMessage({ kind: "stage", stage: "decode" });
  const labels = decided(logits, shape, scan, model.channels);
  const found = measures(labels, scan, model.channels);
  done("decode");
  const header = scan.header.forLabels();
  const nifti = new Uint8Array(header.length + labels.length);
  nifti.set(header);
  nifti.set(labels, header.length);
  postMessage({ kind: "labels", nifti, found, seconds, windows }, [nifti.buffer]);
}

const acts = { load, segment };
onmessage = async ({ data }) => {
  try {
    await acts[data.kind](data);
    if (data.kind === "load") postMessage({ kind: "loaded" });
  } catch (error) {
    postMessage({ kind: "error", known: error instanceof ScanError, words: String(error.message ?? error) });
  }
};
