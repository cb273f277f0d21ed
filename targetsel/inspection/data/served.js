"use strict";
/* Notes of a page that a server gives: they are kept in its file, and what it has not kept yet waits in the browser.

   A note says on which revision it was based. Where another tab has saved one since, the server refuses it: then the
   newer one is shown, and this one can be put back. */
const LOOKS = { seen: 3000, hidden: 20000 }, AGAIN = [1000, 2000, 4000, 8000];  // ms
const MOVED = "the server was started anew: open the address that it printed";

class ServedNotes extends Notes {
  /* `place` names the file and has a key for it; `alarm(text, lasting)` shows what must not be overlooked. */
  constructor(page, say, alarm, place) {
    super(`${page} ${place.key}`, say);
    this.alarm = alarm; this.file = place.file; this.revision = 0; this.bases = new Map(); this.waiting = new Map();
    this.trouble = ""; this.failures = 0; this.sending = false;
    const look = async () => { await this.look(); setTimeout(look, document.hidden ? LOOKS.hidden : LOOKS.seen); };
    setTimeout(look, LOOKS.seen);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.adopt().then(() => this.look()); });
    addEventListener("beforeunload", event => { if (this.waiting.size) event.preventDefault(); });
  }
  async open(scanner) {
    this.scanner = scanner; this.notes = new Map(); this.done = []; this.bases = new Map(); this.revision = 0;
    await this.adopt();
    await this.look();
    this.changed();
  }
  /* Take over what waits in the browser, such as of a tab that was closed before the server had it. */
  async adopt() {
    for (const [key, note] of await this.stored()) {
      if (!this.waiting.has(key)) this.waiting.set(key, { ...valid(note), base: Number.isInteger(note.base) ? note.base : 0 });
    }
    for (const [key, note] of this.waiting) {
      const [, , scanner, id] = this.parts(key);
      if (scanner === this.scanner) this.notes.set(id, valid(note));
    }
    this.send();
  }
  async keep(id, note) {
    const key = this.key(id), before = this.waiting.get(key), base = before ? before.base : this.bases.get(id) || 0;
    const waits = { ...note, base };
    this.notes.set(id, note); this.waiting.set(key, waits);
    this.here = this.store(key, waits);
    this.changed(id);
    this.send();
  }
  /* Send what waits, one after the other, until the server cannot keep any. */
  async send() {
    if (this.sending) return;
    this.sending = true;
    try {
      let next;
      while ((next = [...this.waiting].find(([, note]) => !note.refused)) && await this.post(...next));
    } finally { this.sending = false; }
    this.tell();
  }
  async post(key, sent) {
    const [, , scanner, id] = this.parts(key), { quality, issue, z, type, comment, base } = sent;
    const body = JSON.stringify({ id, scanner, base, quality, issue, z, type, comment });
    let answer, told;
    try {
      const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body, keepalive: body.length < 20000 };
      answer = await fetch("notes", asked);
      told = await answer.json();
    } catch (_) { return this.later("the server does not answer"); }
    if (answer.status === 404 || answer.status === 403) return this.later(MOVED);
    if (answer.status >= 500) return this.later(`${this.file} could not be written (${told.said})`);
    this.failures = 0; this.trouble = "";
    const now = this.waiting.get(key) || sent, isShown = scanner === this.scanner;
    if (answer.ok || answer.status === 409) {
      const isNew = now !== sent;
      if (answer.ok && isNew) { now.base = told.note.revision; this.store(key, now); }
      else { this.waiting.delete(key); this.forget(key, now); }
      if (isShown) this.bases.set(id, told.note.revision);
      if (isShown && !(answer.ok && isNew)) this.notes.set(id, valid(told.note));
      if (answer.ok) this.say(`Note on ${id} saved in ${this.file}.`);
      else this.lost(id, now, told.note, isShown);
      this.changed(id);
    } else { now.refused = told.said; this.tell(); }
    return true;
  }
  /* Another tab was first: its note is shown, and ours can be put back. */
  lost(id, ours, theirs, isShown = true) {
    if (isShown) this.done.push([id, valid(ours)]);
    this.alarm(`Another tab has saved a note on ${id} since, which is shown now (${words(theirs)}). Yours was not saved: ${words(ours)}. ` +
      (isShown ? "Undo (u) puts yours back." : ""), true);
  }
  later(trouble) {
    this.trouble = trouble;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), AGAIN[Math.min(this.failures++, AGAIN.length - 1)]);
    return false;
  }
  async tell() {
    const refused = [...this.waiting].filter(([, note]) => note.refused).map(([key, note]) => `the note on ${this.parts(key)[3]}: ${note.refused}`);
    const n = this.waiting.size, said = [...refused];
    if (this.trouble) said.push(this.trouble);
    if (!said.length) return this.alarm("");
    const kept = n ? await this.here : true, notes = n === 1 ? "1 note waits" : `${n} notes wait`;
    const where = kept === false ? "only in this tab, as the browser stores none: keep it open, or export them" : "in this browser";
    this.alarm(`${n ? "Not saved" : "Notes cannot be saved"}: ${said.join("; ")}. ${n ? `${notes} ${where}${this.trouble ? "; sent again every few seconds" : ""}.` : "What you note waits in this browser."}`);
  }
  /* See what other tabs have saved. */
  async look() {
    const scanner = this.scanner, since = this.revision;
    let told;
    try {
      const answer = await fetch(`notes?${new URLSearchParams({ scanner, since })}`);
      if (answer.status === 404) { this.trouble = MOVED; return this.tell(); }
      if (!answer.ok) throw new Error(answer.statusText);
      told = await answer.json();
    } catch (_) { this.trouble = "the server does not answer"; return this.tell(); }
    if (scanner !== this.scanner) return;
    if (told.revision < since) { this.revision = 0; return this.look(); }  // an older file was put in place
    let isNew = false;
    for (const note of told.notes) {
      if (note.revision <= (this.bases.get(note.id) || 0) || this.waiting.has(this.key(note.id))) continue;
      this.bases.set(note.id, note.revision); this.notes.set(note.id, valid(note)); isNew = true;
    }
    this.revision = told.revision;
    if (isNew) this.changed();
    if (this.waiting.size) this.send();
    else if (this.trouble) { this.trouble = ""; this.tell(); }
  }
  /* Another tab has changed what waits: it is its, or the server's by now. */
  heard(event) {
    if (!event.key || !this.waiting.has(event.key)) return;
    if (!event.newValue) this.waiting.delete(event.key);
    else try { this.waiting.set(event.key, JSON.parse(event.newValue)); } catch (_) { /* not ours */ }
  }
}
/* A note in words, for people to see what is in it. */
function words(note) {
  const parts = [];
  if (note.quality !== null) parts.push(`quality ${note.quality}`);
  for (const [name, title] of [["issue", "issue"], ["z", "redshift"], ["type", "type"], ["comment", "comment"]])
    if (note[name]) parts.push(`${title} '${note[name]}'`);
  return parts.join(", ") || "nothing noted";
}
