"use strict";
/* The page: the list that is filtered and sorted, the target that is shown, keys and buttons.
   Whatever is data reaches the page as text (textContent, value, Option), never as HTML. */
const IN_ORDER = new Intl.Collator("en", { numeric: true });  // localeCompare makes one for each pair
const ROWS = 50, FILES_KEPT = 6;
const QUALITIES = [[4, "confident"], [3, "probable"], [2, "possible"], [1, "unlikely"], [0, "nothing there"]];
const FLAGS = [["R", "redshift"], ["C", "class"], ["S", "spectrum"]];
const $ = id => document.getElementById(id);
const read = id => JSON.parse($(id).textContent);
const element = (name, text, kind) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
const number = value => value === null || value === undefined ? "" : typeof value === "number" ? String(Number(value.toPrecision(7))) : typeof value === "boolean" ? (value ? "yes" : "no") : String(value);

/* ---------------------------------------------------------------- data files, loaded when needed */
const inspection = {
  files: new Map(), waiting: new Map(),
  add(name, data) {
    this.files.set(name, data);
    for (const done of this.waiting.get(name) || []) done(data);
    this.waiting.delete(name);
  },
  load(name) {
    if (this.files.has(name)) {  // the last one used is the last to go
      const data = this.files.get(name);
      this.files.delete(name); this.files.set(name, data);
      return Promise.resolve(data);
    }
    return new Promise((done, failed) => {
      if (this.waiting.has(name)) return this.waiting.get(name).push(done);
      this.waiting.set(name, [done]);
      const script = document.createElement("script");
      script.src = `${name}.js`;
      script.onload = () => { script.remove(); while (this.files.size > FILES_KEPT) this.files.delete(this.files.keys().next().value); };
      script.onerror = () => { script.remove(); this.waiting.delete(name); failed(new Error(`${name}.js could not be read: it must lie beside this page.`)); };
      document.head.append(script);
    });
  },
};

/* ---------------------------------------------------------------- the list */
const settings = read("settings"), list = read("columns");
list.byName = Object.create(null);
for (const column of list.columns) list.byName[column.name] = column;
const ids = list.byName.id.values, rowOf = new Map(ids.map((id, row) => [id, row]));
const NOTE_COLUMNS = { "note: quality": "number", "note: issue": "text", "note: comment": "text" };
const state = { at: 0, filters: [], sort: "", down: false, shown: ids.map((_, row) => row), first: 0, bands: false };

function say(text, warning) { $("said").textContent = text; $("said").classList.toggle("warning", Boolean(warning)); }
/* What must not be overlooked: the state of saving, and beside it what stays until it is closed. */
const alarms = { state: "", lasting: [] };
function alarm(text, lasting) {
  if (!lasting && text === alarms.state) return;  // which is said once
  if (lasting) alarms.lasting.push(text); else alarms.state = text;
  drawAlarms();
}
function drawAlarms() {
  const all = [alarms.state, ...alarms.lasting].filter(Boolean);
  $("alarm").replaceChildren(...all.map(each => element("p", each)));
  $("alarms").hidden = !all.length; $("close").hidden = !alarms.lasting.length;
}
const served = document.querySelector('meta[name="targetsel-notes"]');
const notes = served ? new ServedNotes(settings.key, say, alarm, JSON.parse(served.content)) : new Notes(settings.key, say);

function valueOf(name, row) {
  if (name in NOTE_COLUMNS) { const note = notes.get(ids[row]); const value = note[name.slice(6)]; return value === "" ? null : value; }
  const value = list.byName[name].values[row];
  return value === undefined ? null : value;
}
function kindOf(name) { return NOTE_COLUMNS[name] || list.byName[name].kind; }
const OPERATORS = {
  number: { "<": (a, b) => a < b, "≤": (a, b) => a <= b, "=": (a, b) => a === b, "≠": (a, b) => a !== b, "≥": (a, b) => a >= b, ">": (a, b) => a > b },
  text: { "contains": (a, b) => a.toLowerCase().includes(b.toLowerCase()), "=": (a, b) => a === b, "≠": (a, b) => a !== b },
  flag: { "=": (a, b) => a === b },
};
const GAPS = { "is missing": value => value === null || value === "", "is known": value => value !== null && value !== "" };

function passes(row) {
  return state.filters.every(({ name, operator, value, high }) => {
    const own = valueOf(name, row);
    if (operator in GAPS) return GAPS[operator](own);
    if (own === null) return false;
    if (operator === "between") return own >= value && own <= high;
    return OPERATORS[kindOf(name)][operator](kindOf(name) === "text" ? String(own) : own, value);
  });
}
function refresh() {
  state.shown = [];
  for (let row = 0; row < ids.length; row++) if (passes(row)) state.shown.push(row);
  if (state.sort) {
    const sign = state.down ? -1 : 1, known = new Map(state.shown.map(row => [row, valueOf(state.sort, row)]));
    state.shown.sort((a, b) => {
      const one = known.get(a), other = known.get(b);
      if (one === null || other === null) return (one === null) - (other === null) || a - b;  // gaps come last
      return sign * (typeof one === "string" ? IN_ORDER.compare(one, other) : one - other) || a - b;
    });
  }
  $("filters").replaceChildren(...state.filters.map((each, k) => {
    const item = element("li"), text = each.operator === "between" ? `${each.name} ${number(each.value)} to ${number(each.high)}` : `${each.name} ${each.operator} ${number(each.value)}`;
    const button = element("button", `${text} ×`);
    button.type = "button"; button.setAttribute("aria-label", `Remove the filter ${text}`);
    button.addEventListener("click", () => { state.filters.splice(k, 1); refresh(); });
    item.append(button);
    return item;
  }));
  $("count").textContent = `${state.shown.length} of ${ids.length} shown`;
  const place = state.shown.indexOf(state.at);
  state.first = Math.max(0, Math.floor(Math.max(place, 0) / ROWS) * ROWS);
  drawRows();
  if (charts) charts.draw(state.shown);
}
function columnsShown() {
  const usual = ["class", "probability", "redshift", "photoz", "typicality"].filter(name => name in list.byName);
  const more = [state.sort, ...state.filters.map(each => each.name)].filter(name => name && name !== "id" && !(name in NOTE_COLUMNS));
  return [...new Set([...more, ...usual])].slice(0, 5);
}
function drawRows() {
  const names = columnsShown(), head = element("thead"), body = element("tbody"), line = element("tr");
  for (const name of ["id", "note", ...names]) { const cell = element("th", name); cell.scope = "col"; line.append(cell); }
  head.append(line);
  for (const row of state.shown.slice(state.first, state.first + ROWS)) {
    const tr = element("tr"), first = element("td"), button = element("button", ids[row]), note = notes.get(ids[row]);
    button.type = "button";
    first.append(button);
    tr.append(first, element("td", [note.quality === null ? "" : note.quality, note.issue, note.comment ? "✎" : ""].join(" ").trim()));
    for (const name of names) tr.append(element("td", short(valueOf(name, row))));
    tr.addEventListener("click", () => go(row));
    if (row === state.at) tr.setAttribute("aria-current", "true");
    body.append(tr);
  }
  $("rows").replaceChildren(head, body);
  const last = Math.min(state.first + ROWS, state.shown.length);
  $("rows_shown").textContent = state.shown.length ? `${state.first + 1} to ${last} of ${state.shown.length}` : "none";
  $("rows_before").disabled = state.first === 0; $("rows_after").disabled = last >= state.shown.length;
}
function short(value) { return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : number(value); }

/* ---------------------------------------------------------------- the target */
const plot = new SpectrumPlot(settings, document.querySelector("#spectrum .plot"), document.querySelector("#spectrum figcaption"));

async function go(row) {
  if (row === undefined || row < 0 || row >= ids.length) return;
  keepFields();
  if (Object.hasOwn(FIELDS, document.activeElement.id)) document.activeElement.blur();
  state.at = row;
  const place = state.shown.indexOf(row);
  if (place >= 0) state.first = Math.floor(place / ROWS) * ROWS;
  $("name").textContent = `Source ${ids[row]}`;
  drawNote(); drawRows();
  if (charts) { charts.current = row; charts.draw(); }
  try { history.replaceState(null, "", `#${encodeURIComponent(ids[row])}`); } catch (_) { /* not from disk everywhere */ }
  const file = `targets-${String(Math.floor(row / settings.per_file) + 1).padStart(4, "0")}`;
  try {
    const data = await inspection.load(file);
    if (state.at === row) drawTarget(data.targets[row % settings.per_file], data);
  } catch (error) { say(error.message, true); }
}
function step(by) {
  const place = state.shown.indexOf(state.at), next = place < 0 ? 0 : place + by;
  if (!state.shown.length) return say("No target passes the filters.");
  if (next < 0 || next >= state.shown.length) return say(by > 0 ? "This is the last target." : "This is the first target.");
  go(state.shown[next]);
}
function nextWithout() {
  const from = state.shown.indexOf(state.at), n = state.shown.length;
  for (let k = 1; k <= n; k++) { const row = state.shown[(from + k) % n]; if (notes.get(ids[row]).quality === null) return go(row); }
  say("Every target that is shown has a quality.");
}
let target = null;
function drawTarget(found, shared) {
  target = found;
  $("place").textContent = `${found.place}${found.z === null ? "" : `   ${found.z_from} ${found.z}`}${found.said ? `   ${found.said}` : ""}`;
  drawImages(); plot.show(found);
  table($("lines"), ["", "median", "68 % interval", ""], settings.lines.map((line, k) => {
    const [low, middle, high] = found.lines[k];
    return [line.symbol, middle === null ? "missing" : number(middle), low === null || high === null ? "" : `${number(low)} to ${number(high)}`, line.unit];
  }));
  const names = ["typicality", "least typical in its", "by features alone", "by the image alone", "inside the range of training", "disagreement of networks"];
  table($("trust"), ["", "value"], names.map((name, k) => [name, number(found.trust[k])]));
  drawWhy(found.why, shared.texts); drawAlike(found, shared.sources);
  table($("values"), ["column", "value", "unit"], list.columns.map(each => [each.name, number(each.values[state.at] === undefined ? null : each.values[state.at]), each.unit]));
  drawLinks();
}
function table(place, names, rows) {
  const head = element("thead"), body = element("tbody"), line = element("tr");
  for (const name of names) { const cell = element("th", name); cell.scope = "col"; line.append(cell); }
  head.append(line);
  for (const row of rows) { const tr = element("tr"); for (const each of row) tr.append(element("td", each)); body.append(tr); }
  place.replaceChildren(head, body);
}
function drawWhy(why, texts) {
  if (!why.length) return $("why").replaceChildren(element("p", "No rules were given: --rules FILE tells why a source would be chosen."));
  $("why").replaceChildren(...why.map(each => {
    const made = element("table"), title = element("caption", `${each.class}: ${each.selected}${each.p === null ? "" : `, P = ${each.p}`}`);
    table(made, ["condition", "is", "value", "threshold", "margin (σ)", "P"], []);
    made.prepend(title);
    for (const [depth, text, outcome, value, threshold, margin, p] of each.rows) {
      const tr = element("tr"), first = element("td", texts[text]), kind = outcome === 1 ? "true" : outcome === 0 ? "false" : "missing";
      first.style.paddingLeft = `${.5 + depth}em`;
      tr.append(first, element("td", { true: "✓ true", false: "✗ false", missing: "? missing" }[kind], kind), ...[value, threshold, margin, p].map(x => element("td", number(x))));
      made.tBodies[0].append(tr);
    }
    return made;
  }));
}
function drawImages() {
  const place = document.querySelector("#image .views"), caption = document.querySelector("#image figcaption");
  $("image").classList.toggle("banded", state.bands); $("bands").setAttribute("aria-pressed", String(state.bands));
  $("bands").hidden = !target.colour;
  if (!target.colour) { place.replaceChildren(view(null, settings.bands.length ? "no cutout" : "no cutouts were given")); caption.textContent = ""; return; }
  const n = settings.bands.length;
  if (state.bands) place.replaceChildren(...settings.bands.map((band, k) => view(target.bands, band, k, n)));
  else place.replaceChildren(view(target.colour, "", 0, 1));
  const colours = Object.entries(settings.channels).map(([name, bands]) => `${name}: ${bands}`).join(", ");
  caption.textContent = `${Number(settings.side.toPrecision(3))}″ on a side; ${state.bands ? "each band by itself" : colours}${target.north ? "" : "; orientation not known"}`;
}
function view(data, band, k, n) {
  const made = element("div", undefined, n > 1 ? "view band" : "view");
  if (!data) { made.append(element("p", band)); return made; }
  const image = element("img");
  image.src = `data:image/jpeg;base64,${data}`; image.alt = band ? `Cutout of ${target.id} in ${band}` : `Cutout of ${target.id} in colour`;
  image.style.width = `${100 * n}%`; image.style.left = `${-100 * k}%`;
  made.append(image, marks(band));
  return made;
}
/* The scale bar, north and east, in units of a hundredth of the side. */
function marks(band) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 100"); svg.setAttribute("aria-hidden", "true");
  const line = (x1, y1, x2, y2, width) => {
    for (const [stroke, more] of [["#000", 2], ["#fff", 0]]) {
      const made = document.createElementNS(svg.namespaceURI, "line");
      for (const [name, value] of Object.entries({ x1, y1, x2, y2, stroke, "stroke-width": width + more })) made.setAttribute(name, value);
      svg.append(made);
    }
  };
  const write = (text, x, y) => { const made = document.createElementNS(svg.namespaceURI, "text"); made.setAttribute("x", x); made.setAttribute("y", y); made.textContent = text; svg.append(made); };
  const length = [60, 20, 10, 5, 2, 1, .5, .2].find(each => each < settings.side / 3) || .1, bar = 100 * length / settings.side;
  line(6, 93, 6 + bar, 93, 2.5); write(`${length}″`, 6 + bar / 2, 85);
  if (band) write(band, 8, 8);
  if (target.north) for (const [name, [x, y]] of [["N", target.north], ["E", target.east]]) {
    const cx = 84 - 5.5 * (target.north[0] + target.east[0]), cy = 84 + 5.5 * (target.north[1] + target.east[1]);
    line(cx, cy, cx + 11 * x, cy - 11 * y, 1.5); write(name, cx + 15.5 * x, cy - 15.5 * y);
  }
  return svg;
}
function drawLinks() {
  const ra = valueOf2("ra"), dec = valueOf2("dec");
  $("links").replaceChildren();
  if (ra === null || dec === null) return;
  const at = `${ra} ${dec >= 0 ? "+" : ""}${dec}`;
  for (const [name, address] of [
    ["Legacy Surveys", `https://www.legacysurvey.org/viewer?ra=${ra}&dec=${dec}&zoom=15&mark=${ra},${dec}`],
    ["SIMBAD", `https://simbad.cds.unistra.fr/simbad/sim-coo?Coord=${encodeURIComponent(at)}&Radius=10&Radius.unit=arcsec`],
    ["ESASky", `https://sky.esa.int/esasky/?target=${encodeURIComponent(at)}&fov=0.05`],
    ["Aladin", `https://aladin.cds.unistra.fr/AladinLite/?target=${encodeURIComponent(at)}&fov=0.05`]]) {
    const link = element("a", `${name} ↗`);
    link.href = address; link.target = "_blank"; link.rel = "noopener noreferrer";
    $("links").append(link);
  }
}
function valueOf2(name) { const value = name in list.byName ? valueOf(name, state.at) : null; return typeof value === "number" ? value : null; }

/* ---------------------------------------------------------------- notes */
function choices(place, name, kind, all, change) {
  for (const [value, title] of all) {
    const label = element("label", undefined, "choice"), input = element("input"), text = element("span", String(value));
    input.type = kind; input.name = name; input.value = String(value); input.setAttribute("aria-label", `${value}: ${title}`); label.title = title;
    input.addEventListener("change", () => change(value, input.checked));
    label.append(input, text); place.append(label);
  }
}
function drawNote() {
  const note = notes.get(ids[state.at]);
  for (const input of document.querySelectorAll("#quality input")) input.checked = input.value === String(note.quality);
  for (const input of document.querySelectorAll("#issue input")) input.checked = note.issue.includes(input.value);
  for (const [id, name] of Object.entries(FIELDS)) if (document.activeElement !== $(id)) { $(id).value = note[name]; drawn[name] = $(id).value; noted[name] = note[name]; }
  const done = ids.filter(id => notes.get(id).quality !== null).length;
  $("progress").textContent = `${done} of ${ids.length} with a quality`;
}
function change(what) { notes.set(ids[state.at], what); }
function quality(value) { change({ quality: notes.get(ids[state.at]).quality === value ? null : value }); }
function flag(letter) { const own = notes.get(ids[state.at]).issue; change({ issue: own.includes(letter) ? own.replace(letter, "") : own + letter }); }
/* What is being written belongs to the target it was written beside. A field says what was changed in it, and
   nothing of a note that it cannot show, such as a type of another program's. */
const FIELDS = { own_z: "z", own_type: "type", comment: "comment" }, drawn = { z: "", type: "", comment: "" }, noted = { ...drawn };
function keepFields() {
  const changed = {}, id = ids[state.at], note = notes.get(id);
  let isLate = false;
  for (const [field, name] of Object.entries(FIELDS)) {
    const value = $(field).value;
    if (value === drawn[name]) continue;
    if (name === "z" && !(Number.isFinite(Number(value)) && Number(value) > -1)) { say(`The redshift '${value}' is no number above -1, and was not kept.`, true); $(field).value = drawn[name]; continue; }
    changed[name] = value.trim();
    isLate = isLate || (note[name] !== noted[name] && note[name] !== changed[name]);  // another tab changed it meanwhile
    drawn[name] = value;
  }
  if (!Object.keys(changed).length) return;
  if (!isLate) { Object.assign(noted, changed); return notes.set(id, changed); }
  notes.lost(id, { ...note, ...changed }, note);
  for (const [field, name] of Object.entries(FIELDS)) { $(field).value = noted[name] = note[name]; drawn[name] = $(field).value; }
}
function undo() {
  const id = notes.undo();
  if (id === null) return;
  for (const each of Object.keys(FIELDS)) $(each).blur();
  if (rowOf.has(id) && id !== ids[state.at]) go(rowOf.get(id)); else drawNote();
}
function about(id) {
  const row = rowOf.get(id);
  if (row === undefined) return { row: Infinity, targetid: /^\d{1,18}$/.test(id) ? id : -1, ra: null, dec: null, class: null };
  const value = name => name in list.byName ? valueOf(name, row) : null, own = value("target_id");
  return { row, targetid: own !== null ? own : /^\d{1,18}$/.test(id) ? id : -1, ra: value("ra"), dec: value("dec"), class: value("class") };
}
function save(prospect) {
  keepFields();
  const text = notes.csv(about, prospect), link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `${settings.title.replace(/\.[^]*$/, "")}-${notes.scanner || "notes"}${prospect ? "-prospect" : ""}.csv`.replace(/[^\w.-]+/g, "_");
  document.body.append(link); link.click(); link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`Exported as ${link.download}.`);
}

/* ---------------------------------------------------------------- keys and buttons */
const KEYS = {
  j: () => step(1), k: () => step(-1), ArrowRight: () => step(1), ArrowLeft: () => step(-1), n: () => step(1), p: () => step(-1), w: nextWithout,
  R: () => flag("R"), r: () => flag("R"), C: () => flag("C"), S: () => flag("S"), s: () => flag("S"),
  c: () => $("comment").focus(), z: () => $("own_z").focus(), t: () => $("own_type").focus(), u: undo, o: () => $("frame").click(), b: () => $("bands").click(),
  "[": () => zoomBy(-1), "]": () => zoomBy(1), x: () => zoomTo(-1), f: () => $("column").focus(), e: () => save(false), "?": () => $("help").click(),
};
for (const [value] of QUALITIES) KEYS[value] = () => quality(value);
const writes = each => each instanceof HTMLSelectElement || (each instanceof HTMLInputElement && !["radio", "checkbox", "file"].includes(each.type));
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const inField = writes(event.target);
  if (event.key === "Escape" && inField) { event.target.blur(); $("target").focus({ preventScroll: true }); return; }
  if (inField || !Object.hasOwn(KEYS, event.key)) return;
  if (event.key.startsWith("Arrow") && event.target.type === "radio") return;
  event.preventDefault(); KEYS[event.key]();
});
function zoomTo(which) { plot.zoom(which); $("zoom").value = String(which); }
function zoomBy(by) { const n = settings.markers.length + 1; zoomTo((plot.zoomed + 1 + by + n) % n - 1); }

let charts = null;
function start() {
  $("cautions").textContent = settings.cautions.join(" ");
  choices($("quality"), "quality", "radio", QUALITIES, value => change({ quality: value }));
  choices($("issue"), "issue", "checkbox", FLAGS, value => flag(value));
  $("zoom").add(new Option("whole spectrum", "-1"));
  settings.markers.forEach(([name], k) => $("zoom").add(new Option(name, String(k))));
  const names = [...list.columns.map(each => each.name), ...Object.keys(NOTE_COLUMNS)];
  $("sort").add(new Option("the list's order", ""));
  for (const name of names) { $("column").add(new Option(name)); $("sort").add(new Option(name)); }
  const operators = () => { $("operator").replaceChildren(); for (const each of [...Object.keys(OPERATORS[kindOf($("column").value)]), ...Object.keys(GAPS)]) $("operator").add(new Option(each)); };
  $("column").addEventListener("change", operators); operators();
  $("filter").addEventListener("submit", event => {
    event.preventDefault();
    const name = $("column").value, operator = $("operator").value, written = $("value").value.trim(), kind = kindOf(name);
    let value = written;
    if (!(operator in GAPS)) {
      if (kind === "number" && (written === "" || !Number.isFinite(Number(written)))) return say(`'${written}' is no number, which the column ${name} holds.`, true);
      if (kind === "flag" && !["yes", "no", "true", "false"].includes(written)) return say(`The column ${name} is yes or no.`, true);
      value = kind === "number" ? Number(written) : kind === "flag" ? ["yes", "true"].includes(written) : written;
    } else value = "";
    state.filters.push({ name, operator, value }); refresh();
  });
  $("note").addEventListener("submit", event => { event.preventDefault(); keepFields(); $("target").focus({ preventScroll: true }); });
  for (const id of Object.keys(FIELDS)) $(id).addEventListener("change", keepFields);
  $("sort").addEventListener("change", () => { state.sort = $("sort").value; refresh(); });
  $("direction").addEventListener("click", () => { state.down = !state.down; $("direction").textContent = state.down ? "Descending" : "Ascending"; $("direction").setAttribute("aria-pressed", String(state.down)); refresh(); });
  $("rows_before").addEventListener("click", () => { state.first = Math.max(0, state.first - ROWS); drawRows(); });
  $("rows_after").addEventListener("click", () => { state.first += ROWS; drawRows(); });
  $("previous").addEventListener("click", () => step(-1)); $("next").addEventListener("click", () => step(1)); $("undo").addEventListener("click", undo);
  $("export").addEventListener("click", () => save(false)); $("prospect").addEventListener("click", () => save(true));
  $("help").addEventListener("click", () => { $("keys").hidden = !$("keys").hidden; $("help").setAttribute("aria-expanded", String(!$("keys").hidden)); });
  $("bands").addEventListener("click", () => { state.bands = !state.bands; if (target) drawImages(); });
  $("frame").addEventListener("click", () => { plot.observed = !plot.observed; $("frame").setAttribute("aria-pressed", String(plot.observed)); plot.draw(); });
  $("zoom").addEventListener("change", () => zoomTo(Number($("zoom").value)));
  $("load").addEventListener("change", async () => {
    const file = $("load").files[0];
    if (!file) return;
    const byTarget = new Map(ids.map(id => [String(about(id).targetid), id]));
    const n = notes.load(await file.text(), each => byTarget.get(each));
    say(n < 0 ? `${file.name} is no CSV of notes: it lacks VI_quality and ids.` : `${n} notes taken from ${file.name}.`, n < 0); $("load").value = "";
  });
  $("scanner").addEventListener("change", () => { keepFields(); remember($("scanner").value.trim()); });
  $("charts").addEventListener("toggle", () => {
    if (charts || !$("charts").open) return;
    charts = new Charts($("charts"), list, (name, low, high) => { state.filters.push({ name, operator: "between", value: low, high }); refresh(); });
    charts.current = state.at; charts.draw(state.shown);
  });
  addEventListener("pagehide", keepFields);
  addEventListener("hashchange", () => go(rowOf.get(decodeURIComponent(location.hash.slice(1)))));
  $("close").addEventListener("click", () => { alarms.lasting = []; drawAlarms(); $("target").focus({ preventScroll: true }); });
  if (served) { notes.takes = id => rowOf.has(id); $("kept").textContent = `Notes are kept in ${notes.file}.`; }
  notes.changed = () => { drawNote(); drawRows(); };
  let name = "";
  try { name = localStorage.getItem("targetsel: scanner") || ""; } catch (_) { /* said when a note is kept */ }
  $("scanner").value = name;
  refresh();
  let wanted;
  try { wanted = rowOf.get(decodeURIComponent(location.hash.slice(1))); } catch (_) { /* another page's */ }
  notes.open(name).then(() => { document.documentElement.dataset.ready = "yes"; });
  go(wanted === undefined ? 0 : wanted);
}
function remember(name) {
  try { localStorage.setItem("targetsel: scanner", name); } catch (_) { /* said when a note is kept */ }
  notes.open(name).then(() => say(name ? `Notes of ${name}.` : "Notes without a name."));
}
start();
