"use strict";
/* The spectrum of a target, drawn by uPlot: the predicted one with its interval, and a measured one. */
const MISSING = 65535, LEVELS = 65534, HALF_ZOOM = 120;

function unpack(packed) {
  const bytes = atob(packed.values), found = new Array(bytes.length / 2);
  for (let i = 0; i < found.length; i++) {
    const level = bytes.charCodeAt(2 * i) + 256 * bytes.charCodeAt(2 * i + 1);
    found[i] = level === MISSING ? null : packed.low + level / LEVELS * (packed.high - packed.low);
  }
  return found;
}
function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

class SpectrumPlot {
  constructor(settings, place, caption) {
    this.settings = settings; this.place = place; this.caption = caption;
    this.observed = false; this.zoomed = -1; this.target = null; this.plot = null;
    new ResizeObserver(() => this.resize()).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    for (const [event, is] of [["beforeprint", true], ["afterprint", false]]) addEventListener(event, () => {
      document.documentElement.toggleAttribute("data-print", is); this.draw();  // on paper, which is white
    });
  }
  get stretch() {
    const target = this.target, z = target.measured ? target.measured.z : target.z;
    return this.observed && z !== null && z !== undefined ? 1 + z : 1;
  }
  show(target) { this.target = target; this.draw(); }
  size() { return { width: Math.max(this.place.clientWidth, 200), height: 270 }; }
  resize() { if (this.plot && this.plot.width !== this.size().width) this.plot.setSize(this.size()); }
  draw() {
    if (this.plot) { this.plot.destroy(); this.plot = null; }
    this.place.replaceChildren();
    const target = this.target;
    if (!target) return;
    if (!target.predicted && !target.measured) {
      const text = document.createElement("p");
      text.textContent = target.said || "There is no predicted spectrum.";
      this.place.append(text); this.caption.textContent = ""; this.place.setAttribute("aria-label", text.textContent);
      return;
    }
    const n = this.settings.wavelength.length, none = new Array(n).fill(null);
    const flux = target.predicted ? unpack(target.predicted) : null;
    const low = flux ? flux.slice(0, n) : none, middle = flux ? flux.slice(n, 2 * n) : none, high = flux ? flux.slice(2 * n) : none;
    const measured = target.measured ? unpack(target.measured) : none;
    this.range = ends(flux ? [low, high, measured] : [measured]);
    const axis = { stroke: colour("--text"), grid: { stroke: colour("--line"), width: .5 }, ticks: { stroke: colour("--line") } };
    const line = (label, stroke, width) => ({ label, stroke, width, points: { show: false }, value: (_, v) => v === null ? "-" : v.toPrecision(4) });
    this.plot = new uPlot({
      ...this.size(), scales: { x: { time: false }, y: { range: () => this.range } },
      axes: [{ ...axis, space: 60 }, { ...axis, size: 44 }],
      series: [{ label: "Å", value: (_, v) => v === null ? "-" : v.toFixed(1) }, line("measured", colour("--measured"), 1), line("16 %", "transparent", 0),
        line("84 %", "transparent", 0), line("median", colour("--blue"), 1.6)],
      bands: [{ series: [3, 2], fill: colour("--band") }],
      cursor: { drag: { x: true, y: false } },
      hooks: { draw: [plot => this.mark(plot)] },
    }, [this.settings.wavelength.map(each => each * this.stretch), measured, low, high, middle], this.place);
    this.zoom(this.zoomed);
    this.tell();
  }
  mark(plot) {
    const ctx = plot.ctx, { top, height, left, width } = plot.bbox, ratio = devicePixelRatio || 1;
    ctx.save(); ctx.strokeStyle = ctx.fillStyle = colour("--mark"); ctx.lineWidth = ratio; ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.setLineDash([4 * ratio, 4 * ratio]);
    for (const [name, rest] of this.settings.markers) {
      const x = plot.valToPos(rest * this.stretch, "x", true);
      if (x < left || x > left + width) continue;
      ctx.beginPath(); ctx.moveTo(x, top); ctx.lineTo(x, top + height); ctx.stroke();
      ctx.save(); ctx.translate(x - 3 * ratio, top + 3 * ratio); ctx.rotate(-Math.PI / 2); ctx.textAlign = "right"; ctx.fillText(name, 0, 0); ctx.restore();
    }
    ctx.restore();
  }
  /* Zoom to a line by its place among the markers; -1: the whole spectrum. */
  zoom(which) {
    this.zoomed = which;
    if (!this.plot) return;
    const waves = this.settings.wavelength, marker = this.settings.markers[which];
    const [from, to] = marker ? [marker[1] - HALF_ZOOM, marker[1] + HALF_ZOOM] : [waves[0], waves[waves.length - 1]];
    this.plot.setScale("x", { min: from * this.stretch, max: to * this.stretch });
  }
  tell() {
    const target = this.target, parts = [];
    if (target.predicted) parts.push(`Blue: predicted, median and central 68 %${this.settings.calibrated ? " (calibrated)" : ""}, by ${this.settings.ensemble}.`);
    if (target.measured) parts.push(`Grey: measured at redshift ${target.measured.z} (${target.measured.from}), scaled to the prediction.`);
    parts.push(this.stretch === 1 ? "Rest-frame vacuum wavelength in Å." : `Observed vacuum wavelength in Å at redshift ${(this.stretch - 1).toPrecision(5)}.`);
    if (this.observed && this.stretch === 1) parts.push("No redshift is known of it.");
    parts.push("Flux per Å, median 1; dashed: places of lines. Drag to zoom.");
    this.caption.textContent = parts.join(" ");
    this.place.setAttribute("aria-label", "Spectrum. " + parts.join(" "));
  }
}
/* Ends of the flux without the utmost half per cent of pixels. */
function ends(series) {
  const values = series.flat().filter(each => each !== null).sort((a, b) => a - b);
  if (!values.length) return [0, 1];
  const at = share => values[Math.min(values.length - 1, Math.floor(share * values.length))];
  const low = Math.min(0, at(.005)), high = at(.997);
  return [low, high + .15 * (high - low || 1)];
}
