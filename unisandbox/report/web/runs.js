(() => {
  const $ = (id) => document.getElementById(id);
  const EVERY = 2000; // milliseconds
  const ticked = []; // in the order in which they were ticked
  const rows = new Map();

  function row(name) {
    const box = el("input", { type: "checkbox", id: `tick-${name}`, "aria-label": `compare ${name}` });
    box.addEventListener("change", () => {
      if (box.checked) ticked.push(name); else ticked.splice(ticked.indexOf(name), 1);
      offer();
    });
    const parts = {
      about: el("div", { class: "about" }), state: el("span", { class: "badge" }), bar: el("progress", { max: 1, "aria-label": `progress of ${name}` }),
      counts: el("span", { class: "counts" }), labels: el("span"),
    };
    const path = encodeURIComponent(name);
    const node = el("li", { class: "run" }, box,
      el("div", {}, el("a", { class: "name", href: `/run/${path}/` }, name), " ", parts.state, parts.about, parts.bar, " ", parts.counts),
      el("div", { class: "acts" }, el("a", { href: `/label/${path}/` }, "Label"), " ", parts.labels));
    return { node, ...parts };
  }

  function offer() {
    const link = $("compare");
    const enough = ticked.length > 1;
    link.setAttribute("aria-disabled", String(!enough));
    if (enough) link.href = `/compare?${new URLSearchParams(ticked.map((name) => ["run", name]))}`;
    else link.removeAttribute("href");
  }

  function update(one) {
    const { about, state, bar, counts, labels } = rows.get(one.name);
    state.textContent = one.state;
    state.className = `badge ${{ finished: "correct", running: "running", stopped: "rejected", broken: "incorrect" }[one.state]}`;
    about.textContent = one.problem || [one.tasks.join(", "), one.models.join(", "), one.started.slice(0, 16).replace("T", " ")].join(" · ");
    bar.hidden = one.state === "finished" || one.state === "broken";
    bar.value = (one.asked + one.judged) / Math.max(1, one.to_ask + one.to_judge);
    counts.textContent = one.state === "broken" ? ""
      : `asked ${one.asked}/${one.to_ask}, judged ${one.judged}/${one.to_judge}${one.errors ? `, ${one.errors} errors` : ""}`;
    labels.textContent = one.labels ? `${one.labels} labels` : "";
  }

  function draw(runs) {
    $("none").hidden = runs.length > 0;
    const names = new Set(runs.map((one) => one.name));
    for (const [name, { node }] of rows) if (!names.has(name)) { node.remove(); rows.delete(name); }
    for (const [i, one] of runs.entries()) { // in the order given, and what stands right stays: it may have the focus
      if (!rows.has(one.name)) rows.set(one.name, row(one.name));
      const { node } = rows.get(one.name);
      const there = $("runs").children[i] ?? null;
      if (there !== node) $("runs").insertBefore(node, there);
      update(one);
    }
  }

  async function again() {
    try {
      draw(await (await fetch("/runs.json")).json());
      $("lost").hidden = true;
    } catch {
      $("lost").hidden = false;
    }
    setTimeout(again, EVERY);
  }

  draw(JSON.parse($("data").textContent));
  setTimeout(again, EVERY);
})();
