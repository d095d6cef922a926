"use strict";
(() => {
  const view = JSON.parse(document.getElementById("abdobox-view").textContent);
  const text = view.texts;
  const stage = document.getElementById("stage");
  const canvas = document.getElementById("canvas");
  const readout = document.getElementById("readout");
  const wait = document.getElementById("wait");
  const names = new Map(view.structures.map((one) => [one.label, one.name]));
  const there = view.structures.filter((one) => one.place_ras_mm);
  const state = { organ: null, only: false, layout: "multi", window: 0, opacity: 0.5, ready: false };

  const element = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const button = (words, pressed, act) => {
    const made = element("button", { type: "button", "aria-pressed": String(pressed) }, words);
    made.addEventListener("click", act);
    return made;
  };
  const press = (buttons, which) =>
    buttons.forEach((one, index) => one.setAttribute("aria-pressed", String(index === which)));

  const nv = new niivue.Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [1, 1, 0, 0.8],
    crosshairWidth: 0.6,
    dragAndDropEnabled: false,
    fontColor: [1, 1, 1, 0.9],
    fontMinPx: 14,
    fontSizeScaling: 0.3,
    isColorbar: false,
    isNearestInterpolation: false,
    isRadiologicalConvention: true,
    loadingText: "",
    logLevel: "silent",
    sliceType: niivue.SLICE_TYPE.MULTIPLANAR,
    show3Dcrosshair: true,
    viewModeHotKey: "",
    clipPlaneHotKey: "",
    cycleClipPlaneHotKey: "",
  });
  window.abdobox = { nv, state };

  const layouts = { multi: 3, axial: 0, coronal: 1, sagittal: 2, render: 4 };

  const colormap = () => {
    const map = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (const one of view.structures) {
      map.R.push(one.rgb[0]);
      map.G.push(one.rgb[1]);
      map.B.push(one.rgb[2]);
      map.A.push(state.only && state.organ !== one.label ? 0 : 255);
      map.I.push(one.label);
      map.labels.push(one.name);
    }
    return map;
  };
  const recolor = () => {
    nv.volumes[1].setColormapLabel(colormap());
    nv.updateGLVolume();
  };

  const setWindow = (index) => {
    state.window = index;
    press(windowButtons, index);
    if (!state.ready) return;
    const [low, high] = view.windows[index].hu;
    nv.volumes[0].cal_min = low;
    nv.volumes[0].cal_max = high;
    nv.updateGLVolume();
  };
  const setLayout = (layout) => {
    state.layout = layout;
    press(layoutButtons, Object.keys(layouts).indexOf(layout));
    if (!state.ready) return;
    // In three dimensions the patient's skin would hide the organs.
    nv.setOpacity(0, layout === "render" ? 0 : 1);
    nv.setOpacity(1, layout === "render" ? 1 : state.opacity);
    nv.clearCustomLayout();
    nv.setSliceType(layouts[layout]);
    if (layout === "multi") divide();
  };
  // The axial slice is the largest picture; the others lie beside it, or below where it is narrow.
  const divide = () => {
    const narrow = stage.clientWidth < stage.clientHeight * 1.1;
    const places = narrow
      ? [[0, 0, 1, 0.6], [0, 0.6, 0.5, 0.4], [0.5, 0.6, 0.5, 0.4]]
      : [[0, 0, 0.62, 1], [0.62, 0, 0.38, 0.5], [0.62, 0.5, 0.38, 0.5]];
    nv.setCustomLayout(places.map((position, index) => ({ sliceType: index, position })));
  };
  window.addEventListener("resize", () => {
    if (state.ready && state.layout === "multi") divide();
  });
  const setOpacity = (value) => {
    state.opacity = Math.min(1, Math.max(0, value));
    slider.value = String(state.opacity);
    if (state.ready && state.layout !== "render") nv.setOpacity(1, state.opacity);
  };
  const setOnly = (only) => {
    state.only = only;
    onlyButton.setAttribute("aria-pressed", String(only));
    if (state.ready) recolor();
  };
  const go = (one) => {
    state.organ = one.label;
    press(organButtons.map((entry) => entry.made), organButtons.findIndex((entry) => entry.one === one));
    if (!state.ready) return;
    // True: by the scan's own affine; else NiiVue takes an oblique scan's axes for the patient's.
    nv.scene.crosshairPos = nv.mm2frac(one.place_ras_mm, 0, true);
    if (state.only) recolor();
    nv.createOnLocationChange();
    nv.drawScene();
  };
  const next = (step) => {
    if (!there.length) return;
    const at = there.findIndex((one) => one.label === state.organ);
    go(there[at < 0 ? (step > 0 ? 0 : there.length - 1) : (at + step + there.length) % there.length]);
  };
  const scroll = (steps) => {
    if (!state.ready) return;
    const axis = state.layout === "coronal" ? [0, 1, 0] : state.layout === "sagittal" ? [1, 0, 0] : [0, 0, 1];
    nv.moveCrosshairInVox(axis[0] * steps, axis[1] * steps, axis[2] * steps);
    nv.drawScene();
  };

  const bar = document.getElementById("bar");
  const group = (words, ...children) => {
    const made = element("div", { class: "group", role: "group", "aria-label": words }, element("span", {}, words), ...children);
    bar.append(made);
  };
  const windowButtons = view.windows.map((one, index) => button(one.name, index === 0, () => setWindow(index)));
  group(text.window, ...windowButtons);
  const layoutButtons = Object.keys(layouts).map((key) => button(text["view_" + key], key === "multi", () => setLayout(key)));
  group(text.view, ...layoutButtons);
  const slider = element("input", { type: "range", min: "0", max: "1", step: "0.05", value: "0.5", "aria-label": text.opacity });
  slider.addEventListener("input", () => setOpacity(Number(slider.value)));
  const onlyButton = button(text.only, false, () => setOnly(!state.only));
  group(text.opacity, slider, onlyButton);

  const list = element("ul", {});
  const organButtons = [];
  for (const one of view.structures) {
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = `rgb(${one.rgb.join(",")})`;
    const name = element("span", {}, one.name);
    if (one.doubtful) name.append(" ", element("span", { class: "mark" }, text.doubtful));
    const made = button("", false, () => go(one));
    made.append(swatch, name, element("span", { class: "where" }, one.short));
    made.dataset.label = String(one.label);
    if (one.place_ras_mm) organButtons.push({ one, made });
    else made.disabled = true;
    list.append(element("li", {}, made));
  }
  document.getElementById("organs").append(list);
  for (const made of document.querySelectorAll("button[data-jump]")) {
    const one = there.find((each) => String(each.label) === made.dataset.jump);
    if (!one) continue;
    made.addEventListener("click", () => {
      go(one);
      stage.scrollIntoView({ block: "nearest" });
    });
  }

  nv.onLocationChange = (data) => {
    const [ct, label] = data.values ?? [];
    if (!ct || !label) return;
    const name = names.get(Math.round(label.value)) ?? text.background;
    const mm = Array.from(data.mm ?? []).slice(0, 3);
    const lps = [-mm[0], -mm[1], mm[2]].map((value) => `${Math.round(value)}`).join(", "); // toFixed writes -0
    readout.textContent = `${name} · ${Math.round(ct.value)} HU · x, y, z ${lps} mm (LPS)`;
  };

  document.addEventListener("keydown", (event) => {
    // Where there are no pictures, the keys are the browser's: they scroll the page.
    if (!state.ready || event.ctrlKey || event.metaKey || event.altKey || event.target === slider) return;
    const act = {
      ArrowUp: () => scroll(1), ArrowDown: () => scroll(-1),
      PageUp: () => scroll(10), PageDown: () => scroll(-10),
      n: () => next(1), p: () => next(-1),
      v: () => { const keys = Object.keys(layouts); setLayout(keys[(keys.indexOf(state.layout) + 1) % keys.length]); },
      o: () => setOpacity(state.opacity > 0 ? 0 : 0.5),
      h: () => setOnly(!state.only),
    }[event.key];
    const preset = Number(event.key) - 1;
    if (act) act();
    else if (view.windows[preset]) setWindow(preset);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);

  const picture = document.getElementById("printed");
  window.addEventListener("beforeprint", () => {
    if (!state.ready) return;
    nv.drawScene();
    picture.src = canvas.toDataURL("image/png");
  });

  const start = async () => {
    await nv.attachToCanvas(canvas);
    const [low, high] = view.windows[state.window].hu;
    const ct = await niivue.NVImage.loadFromBase64({ base64: view.image, name: "scan.nii.gz", colormap: "gray", cal_min: low, cal_max: high });
    const labels = await niivue.NVImage.loadFromBase64({ base64: view.labels, name: "labels.nii.gz", opacity: state.opacity });
    view.image = view.labels = null;
    labels.setColormapLabel(colormap());
    // Both at once, and as they are to be: each update costs seconds where there is no graphics card.
    nv.volumes = [ct, labels];
    nv.back = ct;
    nv.overlays = [labels];
    nv.updateGLVolume();
    // Three dimensions are seen from the front, a little from above.
    nv.scene.renderAzimuth = 180;
    nv.scene.renderElevation = 10;
    nv.scene.volScaleMultiplier = 1.5;
    state.ready = true;
    // What was pressed meanwhile counts.
    if (state.layout === "multi") divide();
    else setLayout(state.layout);
    const chosen = there.find((one) => one.label === state.organ) ?? there.find((one) => one.doubtful) ?? there[0];
    if (chosen) go(chosen);
    wait.remove();
    document.body.dataset.ready = "yes";
  };
  start().catch((error) => {
    wait.textContent = `${text.no_view} (${error.message})`;
    document.body.dataset.ready = "no";
  });
})();
