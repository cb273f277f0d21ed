"use strict";
/* The sky, two colours and a histogram of the list; dragging over one filters by what lies inside. */
const MARGIN = { left: 46, right: 10, top: 8, bottom: 30 };

class Charts {
  /* `list` has columns by name; `select(name, low, high)` adds a filter. */
  constructor(place, list, select) {
    this.list = list; this.select = select; this.charts = []; this.shown = null;
    const numbers = list.columns.filter(each => each.kind === "number").map(each => each.name);
    const has = name => numbers.includes(name), colours = numbers.filter(name => name.includes(" - "));
    const z = ["redshift", "z_spec", "zspec", "photoz"].find(has) || numbers[0];
    if (has("ra") && has("dec")) this.add(place, "Sky", [["ra", "dec"]], numbers, true);
    this.add(place, "Colours", [colours[0] || numbers[0], colours[1] || numbers[1] || numbers[0]], numbers);
    this.add(place, "Histogram", [z], numbers);
    new ResizeObserver(() => this.draw()).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }
  add(place, title, axes, numbers, fixed) {
    const figure = document.createElement("figure"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
    figure.className = "chart"; canvas.setAttribute("role", "img");
    const chart = { title, canvas, axes: fixed ? axes[0] : axes, start: null };
    caption.append(title + " ");
    if (!fixed) chart.axes.forEach((name, k) => {
      const pick = document.createElement("select");
      pick.setAttribute("aria-label", `${title}: ${k ? "vertical" : "horizontal"} axis`);
      for (const each of numbers) pick.add(new Option(each, each, false, each === name));
      pick.addEventListener("change", () => { chart.axes[k] = pick.value; this.draw(); });
      caption.append(pick);
    });
    figure.append(caption, canvas); place.append(figure); this.charts.push(chart);
    canvas.addEventListener("pointerdown", event => { chart.start = [event.offsetX, event.offsetY]; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", event => { if (chart.start) { this.paint(chart); this.box(chart, event); } });
    canvas.addEventListener("pointercancel", () => { chart.start = null; this.paint(chart); });
    canvas.addEventListener("pointerup", event => {
      const start = chart.start; chart.start = null;
      if (!start || !chart.scale || Math.abs(event.offsetX - start[0]) < 4) return this.paint(chart);
      const { x, y } = chart.scale, sides = [[chart.axes[0], x.back(start[0]), x.back(event.offsetX)]];
      if (chart.axes.length > 1) sides.push([chart.axes[1], y.back(start[1]), y.back(event.offsetY)]);
      for (const [name, one, other] of sides) this.select(name, Math.min(one, other), Math.max(one, other));
    });
  }
  /* Draw all again, with these rows as the shown ones. */
  draw(rows) { if (rows) this.shown = rows; for (const each of this.charts) this.paint(each); }
  paint(chart) {
    const canvas = chart.canvas, ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !this.shown) return;
    canvas.width = width * ratio; canvas.height = height * ratio;
    const ctx = canvas.getContext("2d"); ctx.scale(ratio, ratio); ctx.font = "11px system-ui, sans-serif";
    const values = chart.axes.map(name => this.list.byName[name].values), bars = chart.axes.length === 1 ? this.bars(values[0]) : null;
    const xs = limits(values[0]);
    if (!xs) { ctx.fillStyle = colour("--soft"); ctx.fillText("no values", 20, 30); chart.scale = null; return; }
    const flip = chart.axes[0] === "ra", ys = bars ? [0, Math.max(1, ...bars.all) * 1.05] : limits(values[1]) || [0, 1];
    const x = scale(xs, MARGIN.left, width - MARGIN.right, flip), y = scale(ys, height - MARGIN.bottom, MARGIN.top);
    chart.scale = { x, y };
    this.axes(ctx, chart, x, y, width, height);
    if (bars) {
      const step = (bars.high - bars.low) / bars.all.length;
      for (const [counts, fill] of [[bars.all, colour("--line")], [bars.shown, colour("--blue")]]) {
        ctx.fillStyle = fill;
        counts.forEach((n, k) => { const left = x.to(bars.low + k * step); ctx.fillRect(left, y.to(n), Math.max(1, x.to(bars.low + (k + 1) * step) - left - 1), y.to(0) - y.to(n)); });
      }
    } else {
      const inside = new Uint8Array(values[0].length);
      for (const row of this.shown) inside[row] = 1;
      for (const pass of [0, 1]) {
        ctx.fillStyle = pass ? colour("--blue") : colour("--line");
        for (let i = 0; i < inside.length; i++) if (inside[i] === pass && values[0][i] !== null && values[1][i] !== null)
          ctx.fillRect(x.to(values[0][i]) - 1.5, y.to(values[1][i]) - 1.5, 3, 3);
      }
      const at = this.current;
      if (at !== undefined && values[0][at] !== null && values[1][at] !== null) {
        ctx.strokeStyle = colour("--orange"); ctx.lineWidth = 2; ctx.beginPath(); ctx.arc(x.to(values[0][at]), y.to(values[1][at]), 6, 0, 7); ctx.stroke();
      }
    }
    canvas.setAttribute("aria-label", `${chart.title}: ${chart.axes.join(" and ")} of ${this.shown.length} sources shown, from ${xs[0].toPrecision(4)} to ${xs[1].toPrecision(4)}. The filters above select the same.`);
  }
  axes(ctx, chart, x, y, width, height) {
    ctx.strokeStyle = colour("--line"); ctx.fillStyle = colour("--soft"); ctx.lineWidth = 1; ctx.textAlign = "center";
    for (const tick of ticks(x.ends)) ctx.fillText(tick, x.to(tick), height - 17);
    ctx.textAlign = "right";
    for (const tick of ticks(y.ends)) ctx.fillText(tick, MARGIN.left - 4, y.to(tick) + 4);
    ctx.strokeRect(MARGIN.left, MARGIN.top, width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom);
    const name = each => { const unit = this.list.byName[each].unit; return unit ? `${each} [${unit}]` : each; };
    ctx.textAlign = "center"; ctx.fillText(name(chart.axes[0]), width / 2, height - 4);
    if (chart.axes[1]) { ctx.save(); ctx.translate(10, height / 2); ctx.rotate(-Math.PI / 2); ctx.fillText(name(chart.axes[1]), 0, 0); ctx.restore(); }
  }
  box(chart, event) {
    const ctx = chart.canvas.getContext("2d"), [left, top] = chart.start, flat = chart.axes.length === 1;
    ctx.fillStyle = colour("--band");
    ctx.fillRect(left, flat ? MARGIN.top : top, event.offsetX - left, flat ? chart.canvas.clientHeight - MARGIN.top - MARGIN.bottom : event.offsetY - top);
  }
  bars(values) {
    const ends = limits(values) || [0, 1], [low, high] = ends, n = 24, all = new Array(n).fill(0), shown = new Array(n).fill(0);
    const bin = value => Math.min(n - 1, Math.floor((value - low) / (high - low) * n));
    for (const value of values) if (value !== null) all[bin(value)]++;
    for (const row of this.shown) if (values[row] !== null) shown[bin(values[row])]++;
    return { low, high, all, shown };
  }
}
function limits(values) {
  let low = Infinity, high = -Infinity;
  for (const each of values) if (each !== null) { if (each < low) low = each; if (each > high) high = each; }
  if (low > high) return null;
  const pad = (high - low) * .03 || Math.abs(high) * .01 || 1;
  return [low - pad, high + pad];
}
function scale([low, high], from, to, flip) {
  if (flip) [low, high] = [high, low];
  return { ends: [low, high], to: value => from + (value - low) / (high - low) * (to - from), back: at => low + (at - from) / (to - from) * (high - low) };
}
function ticks([one, other]) {
  const low = Math.min(one, other), high = Math.max(one, other), raw = (high - low) / 4, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(each => each * power).find(each => each >= raw), found = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(Number(at.toPrecision(10)));
  return found;
}
