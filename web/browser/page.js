"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const model = JSON.parse(at("abdobox-model").textContent);
  const [drop, input, said, progress] = ["drop", "file", "said", "progress"].map(at);
  const [shown, canvas, readout] = ["shown", "canvas", "readout"].map(at);
  const TEXT = {
    ready: "Drop a NIfTI file (.nii, .nii.gz) here, or press to choose one",
    read: "Reading …",
    resample: "Resampling …",
    network: (number, count) => `Network: window ${number + 1} of ${count} …`,
    decode: "Labelling …",
    done: (name, seconds) => `${name}: ${seconds} s. Drop another one, or press to choose it`,
    wrong: (name, words) => `${name}: ${words}`,
    broken: "This browser cannot do it",
    internal: "internal error, please report it",
    window: "Window", labels: "Labels", save: "Save the labels", background: "no label",
  };
  const state = { ready: false, result: null };
  window.abdobox = state;

  const element = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const say = (words, part = null) => {
    said.textContent = words;
    progress.hidden = part === null;
    if (part !== null) progress.value = part;
  };

  /** The bytes of a gzip file that the page holds as base64. */
  const held = async (id) => {
    const text = atob(at(id).textContent.trim());
    at(id).remove();
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  };
  const address = (id) => URL.createObjectURL(new Blob([at(id).textContent], { type: "text/javascript" }));
  // A file has no origin: a worker beside it may import no blob, but data.
  const data = (id) => `data:text/javascript;charset=utf-8,${encodeURIComponent(at(id).textContent)}`;

  let nv = null;
  const viewer = async () => {
    document.head.append(element("script", {}, new TextDecoder().decode(await held("abdobox-niivue"))));
    nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 0, 0.8], crosshairWidth: 0.6, dragAndDropEnabled: false,
      fontMinPx: 14, fontSizeScaling: 0.3, isColorbar: false, isRadiologicalConvention: true, loadingText: "",
      logLevel: "silent", show3Dcrosshair: true, sliceType: niivue.SLICE_TYPE.MULTIPLANAR,
    });
    nv.onLocationChange = readOut;
    state.nv = nv;
  };
  let attached = false;

  const colormap = () => {
    const map = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (const one of model.structures) {
      [map.R, map.G, map.B].forEach((band, index) => band.push(one.rgb[index]));
      map.A.push(255);
      map.I.push(one.label);
      map.labels.push(one.name);
    }
    return map;
  };

  const show = async (file, nifti) => {
    shown.hidden = false;
    if (!attached) await nv.attachToCanvas(canvas);
    attached = true;
    const [low, high] = model.windows[0].hu;
    const ct = await niivue.NVImage.loadFromFile({ file, name: file.name, colormap: "gray", cal_min: low, cal_max: high });
    const labels = await niivue.NVImage.loadFromFile({ file: new File([nifti], "labels.nii"), name: "labels.nii", opacity: Number(slider.value) });
    labels.setColormapLabel(colormap());
    nv.volumes = [ct, labels];
    nv.back = ct;
    nv.overlays = [labels];
    nv.updateGLVolume();
    divide();
  };
  // The axial slice is the largest picture; the others lie beside it, or below where it is narrow.
  const divide = () => {
    const narrow = canvas.clientWidth < canvas.clientHeight * 1.1;
    const places = narrow
      ? [[0, 0, 1, 0.6], [0, 0.6, 0.5, 0.4], [0.5, 0.6, 0.5, 0.4]]
      : [[0, 0, 0.62, 1], [0.62, 0, 0.38, 0.5], [0.62, 0.5, 0.38, 0.5]];
    nv.setCustomLayout(places.map((position, index) => ({ sliceType: index, position })));
  };
  window.addEventListener("resize", () => nv?.volumes.length && divide());

  /** Puts the crosshair on a voxel (x, y, z) of the file. */
  const go = (voxel) => {
    const affine = nv.volumes[0].hdr.affine;
    const mm = [0, 1, 2].map((row) => affine[row][3] + voxel.reduce((sum, n, c) => sum + n * affine[row][c], 0));
    // True: by the scan's own affine; else NiiVue takes an oblique scan's axes for the patient's.
    nv.scene.crosshairPos = nv.mm2frac(mm, 0, true);
    nv.createOnLocationChange();
    nv.drawScene();
  };

  const slider = element("input", { type: "range", min: "0", max: "1", step: "0.05", value: "0.5", "aria-label": TEXT.labels });
  const controls = () => {
    const bar = at("bar");
    const windows = model.windows.map((one, index) => {
      const made = element("button", { type: "button", "aria-pressed": String(index === 0) }, one.name);
      made.addEventListener("click", () => {
        windows.forEach((other) => other.setAttribute("aria-pressed", String(other === made)));
        [nv.volumes[0].cal_min, nv.volumes[0].cal_max] = one.hu;
        nv.updateGLVolume();
      });
      return made;
    });
    slider.addEventListener("input", () => nv.setOpacity(1, Number(slider.value)));
    const save = element("button", { type: "button", id: "save" }, TEXT.save);
    save.addEventListener("click", async () => {
      const stream = new Blob([state.result.nifti]).stream().pipeThrough(new CompressionStream("gzip"));
      const link = element("a", { download: `${state.result.name}.nii.gz`, href: URL.createObjectURL(await new Response(stream).blob()) });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    });
    const group = (words, ...children) => bar.append(element("div", { class: "group", role: "group", "aria-label": words }, element("span", {}, words), ...children));
    group(TEXT.window, ...windows);
    group(TEXT.labels, slider, save);
  };

  const list = (found) => {
    const items = found.map((one) => {
      const { name, rgb } = model.structures.find((each) => each.label === one.label);
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = `rgb(${rgb.join(",")})`;
      const ml = one.ml.toFixed(one.ml >= 100 ? 0 : one.ml >= 1 ? 1 : 2);
      const made = element("button", { type: "button" }, swatch, element("span", {}, name), element("span", { class: "where" }, `${ml} ml`));
      made.dataset.label = String(one.label);
      made.addEventListener("click", () => go(one.voxel));
      return element("li", {}, made);
    });
    at("organs").replaceChildren(element("ul", {}, ...items));
  };

  const names = new Map(model.structures.map((one) => [one.label, one.name]));
  const readOut = ({ values }) => {
    const [ct, label] = values ?? [];
    if (ct && label) readout.textContent = `${names.get(Math.round(label.value)) ?? TEXT.background}, ${Math.round(ct.value)} HU`;
  };

  const stem = (name) => name.replace(/\.gz$/i, "").replace(/\.nii$/i, "").replace(/_0000$/, "");
  let worker = null;
  let current = null;

  const begin = async (file) => {
    if (!state.ready || current || !file) return;
    current = { file, begun: performance.now() };
    drop.classList.remove("wrong");
    document.body.dataset.state = "busy";
    input.disabled = true;
    say(TEXT.read, 0);
    try {
      const bytes = await file.arrayBuffer();
      worker.postMessage({ kind: "segment", file: bytes }, [bytes]);
    } catch (error) {
      failed(error.message);
    }
  };
  const idle = (result) => {
    current = null;
    input.disabled = false;
    input.value = "";
    document.body.dataset.state = result;
  };
  const failed = (words) => {
    drop.classList.add("wrong");
    say(TEXT.wrong(current ? current.file.name : TEXT.broken, words));
    idle("failed");
  };
  const answers = {
    loaded: () => {
      state.ready = true;
      say(TEXT.ready);
      idle("ready");
    },
    stage: ({ stage, number, count }) =>
      stage === "network" ? say(TEXT.network(number, count), number / count) : say(TEXT[stage], stage === "decode" ? 1 : 0),
    error: ({ known, words }) => failed(known ? words : `${TEXT.internal} (${words})`),
    labels: async ({ nifti, found, seconds, windows }) => {
      const { file, begun } = current;
      const total = (performance.now() - begun) / 1000;
      try {
        await show(file, nifti);
        list(found);
        if (found.length) go(found[0].voxel);
        else nv.drawScene();
        state.result = { name: stem(file.name), nifti, found, seconds: { ...seconds, total }, windows };
        say(TEXT.done(file.name, total.toFixed(1)));
        idle("done");
      } catch (error) {
        failed(`${TEXT.internal} (${error.message})`);
      }
    },
  };

  input.addEventListener("change", () => begin(input.files[0]));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    window.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") begin(event.dataTransfer.files[0]);
    });
  }

  const start = async () => {
    await viewer();
    controls();
    worker = new Worker(address("abdobox-worker"));
    worker.onmessage = ({ data }) => answers[data.kind](data);
    worker.onerror = (event) => failed(event.message ?? "");
    const [onnx, wasm] = await Promise.all([held("abdobox-onnx"), held("abdobox-wasm")]);
    worker.postMessage({ kind: "load", runtime: data("abdobox-runtime"), wasm, onnx, model }, [onnx, wasm]);
  };
  start().catch((error) => failed(error.message));
})();
