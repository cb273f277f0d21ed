"use strict";
/* The labelled sources that are most alike to the target: pictures, and what is true of them beside what is predicted. */
function drawAlike(target, sources) {
  const place = $("alike"), about = settings.alike;
  $("alike_part").hidden = !about;
  if (!about) return;
  $("alike_about").textContent = `The ${about.k} of ${about.n} labelled sources in ${about.name} whose predicted spectra are most like this one's. Distance: root mean square of the differences of latents, in standard deviations of this target's posterior. In brackets: what was predicted of them.`;
  if (!target.alike.length) return place.replaceChildren(element("p", "Nothing was predicted of this target, so nothing is known to be alike."));
  const found = target.alike.map(([at, distance, own]) => ({ ...sources[at], distance, own }));
  const made = element("table"), head = element("thead"), body = element("tbody"), line = element("tr");
  const cell = (name, text, row) => { const one = element(name, text); if (name === "th") one.scope = "col"; row.append(one); return one; };
  cell("th", "", line); cell("th", "predicted here", line);
  for (const each of found) cell("th", each.own ? `${each.id} (this target)` : each.id, line);
  head.append(line);
  const row = (title, here, values) => { const tr = element("tr"); cell("td", title, tr); cell("td", here, tr); for (const each of values) cell("td", each, tr); body.append(tr); };
  if (found.some(each => each.picture)) {
    const tr = element("tr"); cell("td", "cutout", tr); cell("td", "", tr);
    for (const each of found) {
      const own = cell("td", each.picture ? undefined : "no cutout", tr);
      if (!each.picture) continue;
      const image = element("img"); image.src = `data:image/jpeg;base64,${each.picture}`; image.alt = `Cutout of ${each.id} in colour`; image.className = "small";
      own.append(image);
    }
    body.append(tr);
  }
  row("distance", "", found.map(each => number(each.distance)));
  row("redshift", number(target.z), found.map(each => number(each.z)));
  settings.lines.forEach(({ symbol, unit }, k) => row(unit ? `${symbol} [${unit}]` : symbol, number(target.lines[k][1]), found.map(each => {
    const before = each.predicted[k] === null ? "" : ` (${number(each.predicted[k])})`;
    return each.true[k] === null ? before.trim() : number(each.true[k]) + before;
  })));
  made.append(head, body); place.replaceChildren(made);
}
