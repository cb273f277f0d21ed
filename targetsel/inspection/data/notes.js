"use strict";
/* Notes: kept by the browser as they are made, undone, exported and loaded.

   A note is written to localStorage at once, for other tabs, and to IndexedDB, which the browser
   puts on the disk before it says so; what a crash loses of the one is in the other. */
const ISSUES = "RCS";
/* The columns of desihub/prospect since its version 1.2.0 (`vi_file_fields` of prospect/utilities.py), in its order;
   what it knows of DESI alone has its defaults. */
const PROSPECT = ["TARGETID", "EXPID", "NIGHT", "TILEID", "Spec_version", "Redrock_version",
  "Template_version", "Redrock_spectype", "Redrock_z", "Redrock_deltachi2", "VI_scanner", "VI_quality",
  "VI_issue", "VI_z", "VI_spectype", "VI_comment"];
const IN_ASCII = { ",": ";", "Å": "Angstrom", "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "λ": "lambda" };
const OURS = ["source_id", "ra", "dec", "class", "VI_time"];

class Notes {
  constructor(page, say) {
    this.page = page; this.say = say; this.scanner = ""; this.notes = new Map(); this.done = [];
    this.changed = () => {}; this.takes = () => true;
    this.disk = this.openDisk();
    addEventListener("storage", event => this.heard(event));
  }
  key(id) { return JSON.stringify(["targetsel", this.page, this.scanner, id]); }
  parts(key) {
    try { const parts = JSON.parse(key); return Array.isArray(parts) && parts[0] === "targetsel" ? parts : null; }
    catch (_) { return null; }
  }
  openDisk() {
    return new Promise(found => {
      try {
        const request = indexedDB.open("targetsel-inspect", 1);
        request.onupgradeneeded = () => request.result.createObjectStore("notes");
        request.onsuccess = () => found(request.result);
        request.onerror = request.onblocked = () => found(null);
      } catch (_) { found(null); }
    });
  }
  /* The notes of one person. */
  async open(scanner) {
    this.scanner = scanner; this.notes = new Map(); this.done = [];
    const stored = await this.stored();
    if (this.scanner !== scanner) return;
    for (const [key, note] of stored) {
      const parts = this.parts(key);
      if (parts[2] === scanner) this.notes.set(parts[3], valid(note));
    }
    this.changed();
  }
  /* All notes of the page, by key, from both places, the newer one of two. */
  async stored() {
    const found = new Map();
    const take = (key, note) => {
      const parts = this.parts(key), known = found.get(key);
      if (parts && parts[1] === this.page && note && (!known || known.time < note.time)) found.set(key, note);
    };
    try {
      for (let i = 0; i < localStorage.length; i++) {
        const key = localStorage.key(i);
        if (this.parts(key)) try { take(key, JSON.parse(localStorage.getItem(key))); } catch (_) { /* not ours */ }
      }
    } catch (_) { /* said when a note is kept */ }
    const disk = await this.disk;
    if (disk) await new Promise(done => {
      const request = disk.transaction("notes").objectStore("notes").openCursor();
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor) return done();
        take(cursor.key, cursor.value);
        cursor.continue();
      };
      request.onerror = done;
    });
    return found;
  }
  get(id) { return this.notes.get(id) || valid({}); }
  set(id, change) {
    const before = this.get(id), after = valid({ ...before, ...change, time: new Date().toISOString() });
    this.done.push([id, before]);
    this.keep(id, after);
  }
  undo() {
    const last = this.done.pop();
    if (!last) { this.say("Nothing to undo."); return null; }
    this.keep(last[0], { ...last[1], time: new Date().toISOString() });
    return last[0];
  }
  async keep(id, note) {
    this.notes.set(id, note);
    const stored = this.store(this.key(id), note);
    this.changed(id);
    if (await stored) this.say(`Note on ${id} saved.`);
    else this.say("The browser does not keep notes (storage is full or switched off): export them before you close the page.", true);
  }
  /* Put a note into both places; whether one of them took it. */
  async store(key, note) {
    let kept = false;
    try { localStorage.setItem(key, JSON.stringify(note)); kept = true; } catch (_) { /* below */ }
    const disk = await this.disk;
    if (disk) await new Promise(done => {
      try {
        const write = disk.transaction("notes", "readwrite", { durability: "strict" });
        write.objectStore("notes").put(note, key);
        write.oncomplete = () => { kept = true; done(); };
        write.onerror = write.onabort = done;
      } catch (_) { done(); }
    });
    return kept;
  }
  /* Take a note out of both places, unless a newer one is there. */
  async forget(key, note) {
    try { if (localStorage.getItem(key) === JSON.stringify(note)) localStorage.removeItem(key); } catch (_) { /* it was not there */ }
    const disk = await this.disk;
    if (!disk) return;
    const store = disk.transaction("notes", "readwrite").objectStore("notes"), request = store.get(key);
    request.onsuccess = () => { if (request.result && request.result.time <= note.time) store.delete(key); };
  }
  /* What was written here was based on a note that another tab has changed since. */
  lost(id, ours, theirs) {
    this.done.push([id, valid(ours)]);
    this.say(`Another tab has changed the note on ${id} since, which is shown now. Undo (u) puts yours back.`, true);
  }
  heard(event) {
    const parts = event.key === null ? null : this.parts(event.key);
    if (!parts || parts[1] !== this.page || parts[2] !== this.scanner || !event.newValue) return;
    try { this.notes.set(parts[3], valid(JSON.parse(event.newValue))); this.changed(parts[3]); } catch (_) { /* not ours */ }
  }
  /* The CSV of all notes that say something; `about` gives what the list knows of a source. For prospect it is as its
     own files: its columns alone, lines that end in \n, and texts without commas in ASCII. */
  csv(about, prospect) {
    const names = prospect ? PROSPECT : [...PROSPECT, ...OURS];
    const rows = [names];
    for (const [id, note] of [...this.notes].sort((a, b) => about(a[0]).row - about(b[0]).row)) {
      if (!isSomething(note)) continue;
      const known = about(id);
      const text = value => prospect ? inAscii(value) : value;
      rows.push([known.targetid, -1, -1, -1, -1, -1, -1, "", -1, -1, text(this.scanner),
        note.quality === null ? -1 : note.quality, note.issue, note.z, text(note.type), text(note.comment),
        ...(prospect ? [] : [id, known.ra, known.dec, known.class, note.time])]);
    }
    const end = prospect ? "\n" : "\r\n";
    return rows.map(row => row.map(cell).join(",")).join(end) + end;
  }
  /* Take notes of a CSV that was exported; how many. Notes that are newer here stay. */
  load(text, idOf) {
    const [names, ...rows] = parseCsv(text);
    const at = name => names.indexOf(name);
    if (at("VI_quality") < 0 || (at("source_id") < 0 && at("TARGETID") < 0)) return -1;
    let n = 0;
    for (const row of rows) {
      const value = name => at(name) < 0 ? "" : row[at(name)] || "";
      const id = value("source_id") || idOf(value("TARGETID"));
      if (!id || row.length < names.length || !this.takes(id)) continue;
      const note = valid({ quality: Number(value("VI_quality")), issue: value("VI_issue"), z: value("VI_z"),
        type: value("VI_spectype"), comment: value("VI_comment"), time: value("VI_time") });
      const known = this.notes.get(id);
      if (known && known.time >= note.time && isSomething(known)) continue;
      this.keep(id, note); n++;
    }
    return n;
  }
}
function valid(note) {
  const text = value => typeof value === "string" ? value : "";
  const quality = Number.isInteger(note.quality) && note.quality >= 0 && note.quality <= 4 ? note.quality : null;
  return { quality, issue: [...ISSUES].filter(each => text(note.issue).includes(each)).join(""), z: text(note.z),
    type: text(note.type), comment: text(note.comment), time: text(note.time) };
}
function isSomething(note) {
  return note.quality !== null || Boolean(note.issue || note.z || note.type || note.comment);
}
function inAscii(text) { return [...text].map(each => IN_ASCII[each] || (/[ -~]/.test(each) ? each : /\s/.test(each) ? " " : "?")).join(""); }
function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}
function parseCsv(text) {
  const rows = [[""]];
  let quoted = false;
  for (let i = text.charCodeAt(0) === 0xfeff ? 1 : 0; i < text.length; i++) {
    const char = text[i], row = rows[rows.length - 1];
    if (quoted && char === '"' && text[i + 1] === '"') { row[row.length - 1] += '"'; i++; }
    else if (char === '"') quoted = !quoted;
    else if (!quoted && char === ",") row.push("");
    else if (!quoted && char === "\n") rows.push([""]);
    else if (quoted || char !== "\r") row[row.length - 1] += char;
  }
  return rows.filter(row => row.length > 1 || row[0]);
}
