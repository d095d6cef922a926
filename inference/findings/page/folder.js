"use strict";
(() => {
  const data = JSON.parse(document.getElementById("abdobox-cases").textContent);
  const { texts, cases } = data;
  const ROW = 105; // px: the height of a row, border included
  const space = document.getElementById("space");
  const shown = document.getElementById("shown");
  const head = document.getElementById("head");
  const search = document.getElementById("search");
  const doubtful = document.getElementById("doubtful");
  const count = document.getElementById("count");
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const columns = ["picture", "case", "doubtful", "liver_ml", "spleen_ml", "kidneys_ml", "lesions", "lesions_ml", "made"];
  const words = new Set(["case", "made"]);
  // Failed cases first, then doubtful ones: what is odd about the whole scan before single organs.
  const weight = (one) => (one.failed ? 1e6 : 0) + 100 * one.scan_doubts.length + one.organ_doubts.length;
  const sorting = { column: "doubtful", down: true };
  let rows = [];

  const element = (tag, kind, ...children) => {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    made.append(...children);
    return made;
  };
  const cell = (kind, ...children) => {
    const made = element("div", kind, ...children);
    made.setAttribute("role", "cell");
    return made;
  };

  const compared = (one, other) => {
    const column = sorting.column;
    const sign = sorting.down ? -1 : 1;
    if (words.has(column)) return sign * collator.compare(one[column], other[column]);
    const value = (each) => (column === "doubtful" ? weight(each) : each[column]);
    const [a, b] = [value(one), value(other)];
    if (a === b) return collator.compare(one.case, other.case);
    if (a === null) return 1; // what is unknown last, either way
    if (b === null) return -1;
    return sign * (a - b);
  };
  const update = () => {
    const wanted = search.value.trim().toLowerCase();
    rows = cases.filter((one) =>
      (!doubtful.checked || weight(one) > 0) &&
      (!wanted || `${one.case} ${one.failed} ${one.scan_doubts.join(" ")} ${one.organ_doubts.join(" ")}`.toLowerCase().includes(wanted)));
    rows.sort(compared);
    count.textContent = `${rows.length} / ${cases.length} ${texts.count}`;
    space.style.height = `${rows.length * ROW}px`;
    for (const made of head.querySelectorAll("button")) {
      const on = made.dataset.column === sorting.column;
      made.parentElement.setAttribute("aria-sort", on ? (sorting.down ? "descending" : "ascending") : "none");
      made.textContent = texts[made.dataset.column] + (on ? (sorting.down ? " ▼" : " ▲") : "");
    }
    draw(true);
  };

  // What is there is never shown as 0; of what the scan's border cuts off there is more.
  const millilitres = (one, key) => {
    const value = one[key];
    if (value > 0 && value < 0.005) return "< 0.01";
    return (one.cut.includes(key) ? "≥ " : "") + value.toFixed(value >= 100 ? 0 : value >= 1 ? 1 : 2);
  };
  const line = (one) => {
    const picture = cell("");
    if (one.picture) {
      const image = element("img");
      image.src = one.picture;
      image.alt = "";
      picture.append(image);
    }
    const link = element(one.href ? "a" : "span", "name", one.case);
    if (one.href) link.href = one.href;
    const said = cell("said");
    if (one.failed) said.append(element("span", "mark", texts.failed), " ", one.failed);
    else if (weight(one)) {
      said.append(element("span", "mark", texts.doubtful_mark), " ", [...one.scan_doubts, ...one.organ_doubts].join("; "));
    } else said.append(texts.none);
    const made = element("div", "row case", picture, cell("", link), said);
    for (const key of columns.slice(3, 8)) {
      made.append(cell("number", one[key] === null ? "" : key === "lesions" ? String(one[key]) : millilitres(one, key)));
    }
    made.append(cell("made", one.made));
    made.setAttribute("role", "row");
    return made;
  };
  let drawn = "";
  let printing = false;
  let lines = new Map(); // of the cases that are in the document, in order
  // Only the rows that are seen, and some around them, are in the document.
  const draw = (anew) => {
    const top = space.getBoundingClientRect().top;
    const first = printing ? 0 : Math.max(0, Math.floor(-top / ROW) - 5);
    const last = printing ? rows.length : Math.min(rows.length, Math.ceil((window.innerHeight - top) / ROW) + 5);
    const key = `${first} ${last}`;
    if (!anew && key === drawn) return;
    drawn = key;
    shown.style.top = `${first * ROW}px`;
    const wanted = new Map(rows.slice(first, last).map((one) => [one, lines.get(one) ?? line(one)]));
    for (const [one, made] of lines) if (!wanted.has(one)) made.remove();
    // What stays is not touched: a link in it may have the keyboard's focus.
    let next = shown.firstChild;
    for (const made of wanted.values()) {
      if (made === next) next = next.nextSibling;
      else shown.insertBefore(made, next);
    }
    lines = wanted;
  };

  for (const column of columns) {
    const made = element("div", words.has(column) || column === "doubtful" || column === "picture" ? (column === "made" ? "made" : "") : "number");
    made.setAttribute("role", "columnheader");
    if (column === "picture") made.append(texts.picture);
    else {
      const press = element("button", "", texts[column]);
      press.type = "button";
      press.dataset.column = column;
      press.addEventListener("click", () => {
        sorting.down = sorting.column === column ? !sorting.down : !words.has(column);
        sorting.column = column;
        update();
      });
      made.append(press);
    }
    head.append(made);
  }
  search.addEventListener("input", update);
  doubtful.addEventListener("change", update);
  let asked = false;
  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(false); });
  };
  window.addEventListener("scroll", later, { passive: true });
  window.addEventListener("resize", later);
  // The sheet is laid out after this event: by then every row must be in the document.
  for (const [event, now] of [["beforeprint", true], ["afterprint", false]]) {
    window.addEventListener(event, () => {
      printing = now;
      draw(true);
    });
  }
  update();
  document.body.dataset.ready = "yes";
})();
