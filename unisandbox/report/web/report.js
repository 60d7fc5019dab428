(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const list = $("list"), detail = $("detail"), form = $("filters");
  const several = data.runs.length > 1;
  const letter = (run) => String.fromCharCode(65 + run);
  const SIGNS = { correct: "✓", incorrect: "✗", rejected: "⊘", empty: "∅", refused: "✋", truncated: "✂", error: "!", open: "…" };
  const ROW = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  const AROUND = 5; // rows drawn beyond the window

  // --- what there is ---

  for (const item of data.items) {
    for (const answer of item.answers) {
      answer.run ??= 0; // zeros are left out of the data
      answer.seed ??= 0;
      answer.outcomes = answer.opinions?.map((one) => one.outcome) ?? [answer.finish === "error" ? "error" : "open"];
    }
  }
  const wrong = (item) =>
    item.answers.filter((answer) => !["correct", "open"].includes(answer.outcomes[0])).length;
  const failed = (item) => item.answers.some((a) => a.mode === "direct" && a.outcomes[0] !== "correct");
  const flips = (item) => (form.mode.value ? [item.flips?.[form.mode.value]].filter(Boolean) : Object.values(item.flips ?? {}));

  function words(item) {
    const parts = [item.task, item.sample, item.model, ...(item.causes ?? [])];
    for (const answer of item.answers) {
      parts.push(answer.prompt, answer.text, answer.thought, answer.error, answer.target);
      for (const one of answer.opinions ?? []) parts.push(one.reason, one.observed, ...(one.raw ?? []));
    }
    return parts.filter(Boolean).join("\n").toLowerCase();
  }
  const texts = new Map();
  const textOf = (item) => {
    let text = texts.get(item);
    if (text === undefined) texts.set(item, (text = words(item)));
    return text;
  };
  function readAhead(from = 0) { // so that the first search does not wait
    const until = Math.min(from + 500, data.items.length);
    for (let i = from; i < until; i++) textOf(data.items[i]);
    if (until < data.items.length) setTimeout(readAhead, 0, until);
  }
  setTimeout(readAhead, 300);

  // --- filters and order ---

  const SORTS = {
    sample: ["by sample", null],
    failed: ["failed first", (item) => (failed(item) ? 0 : 1)],
    wrong: ["most failures first", (item) => -wrong(item)],
    cause: ["by cause", (item) => (item.causes ?? ["~"])[0]],
  };
  if (several) SORTS.flip = ["changed first", (item) => (flips(item).includes("lost") ? 0 : flips(item).length ? 1 : 2)];
  const FIRST = several ? "flip" : "sample";

  const unique = (values) => [...new Set(values)];
  const all = (pick) => unique(data.items.flatMap(pick));
  const inOrder = (order, found) => order.filter((name) => found.includes(name));
  const CHOICES = {
    task: [["", "all"], ...all((item) => [item.task]).map((x) => [x, x])],
    model: [["", "all"], ...all((item) => [item.model]).map((x) => [x, x])],
    mode: [["", "any"], ...inOrder(data.modes, all((item) => item.answers.map((a) => a.mode))).map((x) => [x, x])],
    verdict: [["", "any"], ...inOrder(Object.keys(SIGNS), all((item) => item.answers.flatMap((a) => a.outcomes))).map((x) => [x, x === "open" ? "not judged yet" : x])],
    cause: [["", "any"], ...all((item) => item.causes ?? []).sort().map((x) => [x, x])],
    flip: [["", "all"], ["any", "changed"], ["lost", "got worse"], ["gained", "got better"]],
    judges: [["", "all"], ["differ", "disagree"]],
    sort: Object.entries(SORTS).map(([name, [text]]) => [name, text]),
  };
  for (const [name, choices] of Object.entries(CHOICES)) {
    form[name].append(...choices.map(([value, text]) => el("option", { value: value || undefined }, text)));
    for (const [i, [value]] of choices.entries()) form[name].options[i].value = value;
    const useless = choices.length < (["task", "model"].includes(name) ? 3 : 2)
      || (name === "flip" && !several) || (name === "judges" && !data.items.some((item) => item.differs));
    form[name].closest("label").hidden = useless;
  }
  form.sort.value = FIRST;

  const NAMES = ["q", "task", "model", "mode", "verdict", "cause", "flip", "judges", "sort"];

  function passing() {
    const { task, model, mode, verdict, cause, flip, judges } = Object.fromEntries(NAMES.map((n) => [n, form[n].value]));
    const wanted = form.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (item) =>
      (!task || item.task === task) && (!model || item.model === model)
      && (!cause || (item.causes ?? []).includes(cause))
      && (!judges || item.differs)
      && (!flip || flips(item).some((one) => flip === "any" || one === flip))
      && (!(mode || verdict) || item.answers.some((a) => (!mode || a.mode === mode) && (!verdict || a.outcomes.includes(verdict))))
      && wanted.every((word) => textOf(item).includes(word));
    const found = data.items.filter(fits);
    const key = SORTS[form.sort.value]?.[1];
    if (!key) return found;
    const keys = new Map(found.map((item) => [item, key(item)])); // the sort is stable: equals stay by sample
    return found.sort((a, b) => (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : 0));
  }

  // --- the list: only what is in the window is there ---

  let shown = [], chosen = -1;
  const drawn = new Map();

  function draw() {
    const top = list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / ROW) - AROUND);
    const last = Math.min(shown.length, Math.ceil((innerHeight - top) / ROW) + AROUND);
    for (const [i, node] of drawn) {
      if (i < first || i >= last) { node.remove(); drawn.delete(i); }
    }
    for (let i = last - 1, after = null; i >= first; i--) {
      let node = drawn.get(i);
      if (!node) { drawn.set(i, (node = row(shown[i], i))); list.insertBefore(node, after); }
      after = node;
    }
  }

  function filter() {
    const before = shown[chosen];
    shown = passing();
    for (const node of drawn.values()) node.remove();
    drawn.clear();
    list.replaceChildren();
    list.style.height = `${Math.max(1, shown.length) * ROW}px`;
    if (!shown.length) list.append(el("p", { class: "nothing" }, "No sample passes these filters."));
    $("count").textContent = `${shown.length} of ${data.items.length}`;
    chosen = shown.indexOf(before);
    if (chosen < 0 && shown.length) chosen = 0;
    draw();
    show();
  }

  // --- one row, and one sample in full ---

  const seedOf = (item) => unique(item.answers.map((a) => a.seed)).join(", ");
  const targetOf = (item) => (item.answers.find((a) => a.mode === "direct" && a.target) ?? item.answers.find((a) => a.target))?.target;
  const label = (answer) => answer.mode + (several ? ` ${letter(answer.run)}` : "");
  const source = (answer) => data.pictures[answer.image] ?? data.runs[answer.run].base + encodeURIComponent(answer.image);
  const sign = (outcome, who) =>
    el("span", { class: outcome, title: `${who ? `${who}: ` : ""}${outcome}` }, el("span", { "aria-hidden": "true" }, SIGNS[outcome] ?? "?"));

  function picture(answer, alt, lazy) {
    if (answer.gone) return el("div", { class: "gone" }, "the picture's file is gone");
    const image = el("img", { src: source(answer), alt, decoding: "async", loading: lazy ? "lazy" : "eager" });
    image.addEventListener("error", () => image.replaceWith(el("div", { class: "gone" }, "the picture cannot be read")), { once: true });
    return image;
  }

  function tile(item, answer) {
    const said = answer.outcomes;
    const alt = `${label(answer)}: picture, ${said.join(", ")}`;
    return el("div", { class: "tile" },
      answer.image ? picture(answer, alt, true) : el("div", { class: "words" }, answer.text ?? answer.error ?? answer.finish),
      el("div", { class: "name" }, label(answer), el("span", {}, ...said.map((one, i) => sign(one, answer.opinions?.[i].judge)))));
  }

  const link = (item) => `#${new URLSearchParams([...new URLSearchParams(location.hash.slice(1))].filter(([n]) => n !== "s").concat([["s", item.id]]))}`;
  const badges = (item) => [
    ...(item.causes ?? []).map((cause) => el("span", { class: "badge" }, cause)),
    ...Object.entries(item.flips ?? {}).map(([mode, what]) => el("span", { class: `badge ${what === "lost" ? "incorrect" : "correct"}` }, `${mode} ${what}`)),
    ...(item.differs ? [el("span", { class: "badge rejected" }, "judges disagree")] : []),
  ];

  function row(item, i) {
    const target = targetOf(item);
    const node = el("article", {
      class: "item", tabindex: "0", "aria-posinset": i + 1, "aria-setsize": shown.length, "aria-current": i === chosen ? "true" : undefined,
      "aria-label": `${item.task} ${item.sample}, ${item.model}: ${item.answers.map((a) => `${label(a)} ${a.outcomes.join(" ")}`).join(", ")}`,
    },
      el("h3", {}, el("a", { href: link(item), tabindex: "-1" }, `${item.task} ${item.sample}`), ...badges(item),
        el("span", { class: "rest" }, [item.model, item.repeat ? `repeat ${item.repeat}` : "", target && `target ${target}`].filter(Boolean).join(" · "))),
      el("p", { class: "prompt" }, item.answers[0].prompt ?? ""),
      el("div", { class: "tiles" }, ...item.answers.map((answer) => tile(item, answer))));
    node.style.transform = `translateY(${i * ROW}px)`;
    node.addEventListener("click", (event) => { event.preventDefault(); choose(i, true); });
    node.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); choose(i, true); } });
    return node;
  }

  function terms(...pairs) {
    return el("dl", {}, ...pairs.filter(([, value]) => value !== undefined && value !== "").flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  function show() {
    const item = shown[chosen];
    if (!item) { detail.replaceChildren(el("p", { class: "nothing" }, "No sample is chosen.")); return; }
    const close = el("button", { class: "close", type: "button" }, "Close");
    close.addEventListener("click", shut);
    const parts = [close,
      el("h3", {}, el("a", { href: link(item), title: "link to this sample" }, `${item.task} ${item.sample}`)),
      el("div", { class: "badges" }, ...badges(item)),
      terms(["model", item.model], ["target", targetOf(item)], ["unit", item.unit === item.sample ? "" : item.unit],
        ["repeat", item.repeat ? String(item.repeat) : ""], ["seed", seedOf(item)])];
    let prompt = "";
    for (const answer of item.answers) {
      parts.push(el("h4", {}, several ? `${answer.mode}, run ${letter(answer.run)} (${data.runs[answer.run].name})` : answer.mode,
        ...(answer.opinions ?? []).map((one) => el("span", { class: one.outcome }, `${SIGNS[one.outcome] ?? "?"} ${one.outcome}`)),
        ...(answer.opinions ? [] : [el("span", { class: "open" }, answer.finish === "error" ? "! error" : "… not judged yet")])));
      if (answer.image) {
        const image = picture(answer, `What ${answer.model} drew in mode ${answer.mode}`, false);
        parts.push(answer.gone || data.pictures[answer.image] ? image : el("a", { href: source(answer), target: "_blank", rel: "noopener" }, image));
      }
      parts.push(terms(
        ["prompt", answer.prompt === prompt ? "the same" : answer.prompt], ["thought", answer.thought], ["text", answer.text], ["error", answer.error],
        ["ended", answer.finish === "complete" ? "" : answer.finish],
        ["target", answer.target === targetOf(item) ? "" : answer.target],
        ...(answer.opinions ?? []).flatMap((one) => [
          [one.judge, [one.outcome, one.reason].filter(Boolean).join(": ")], ["saw", one.observed], ["in its words", (one.raw ?? []).join("\n")]])));
      prompt = answer.prompt;
    }
    detail.replaceChildren(...parts);
    detail.scrollTop = 0;
  }

  function choose(i, open = false, focus = true) {
    if (i < 0 || i >= shown.length) return;
    drawn.get(chosen)?.removeAttribute("aria-current");
    chosen = i;
    const bar = getComputedStyle(form).position === "sticky" ? form.offsetHeight : 0;
    const top = list.getBoundingClientRect().top + i * ROW;
    if (top < bar) scrollBy(0, top - bar - 4);
    else if (top + ROW > innerHeight) scrollBy(0, top + ROW - innerHeight + 4);
    draw();
    drawn.get(i)?.setAttribute("aria-current", "true");
    if (focus) drawn.get(i)?.focus({ preventScroll: true });
    show();
    remember(true);
    if (open) {
      document.body.classList.add("opened");
      if (getComputedStyle(detail).position === "fixed") detail.focus({ preventScroll: true });
    }
  }
  function shut() {
    document.body.classList.remove("opened");
    drawn.get(chosen)?.focus({ preventScroll: true });
  }

  // --- the address holds the filters and the sample, so that both can be shared ---

  function remember(sample) {
    const kept = NAMES.map((name) => [name, form[name].value]).filter(([name, value]) => value && !(name === "sort" && value === FIRST));
    if (sample && shown[chosen]) kept.push(["s", shown[chosen].id]);
    history.replaceState(null, "", kept.length ? `#${new URLSearchParams(kept)}` : location.pathname + location.search);
  }
  function recall() {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) { filter(); return; } // a heading of the page
    const kept = new URLSearchParams(hash);
    for (const name of NAMES) form[name].value = kept.get(name) ?? (name === "sort" ? FIRST : "");
    filter();
    const wanted = kept.get("s");
    const place = wanted ? shown.findIndex((item) => item.id === wanted) : -1;
    if (place >= 0) {
      list.scrollIntoView();
      choose(place, true);
    }
  }

  let waiting = 0;
  const soon = () => { waiting ||= requestAnimationFrame(() => { waiting = 0; draw(); }); };
  addEventListener("scroll", soon, { passive: true });
  const measure = () => { detail.style.setProperty("--bar", `${form.offsetHeight}px`); soon(); };
  addEventListener("resize", measure);
  addEventListener("hashchange", recall);
  form.addEventListener("input", () => { filter(); remember(false); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    for (const name of NAMES) form[name].value = name === "sort" ? FIRST : "";
    filter();
    remember(false);
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName);
    if (event.key === "Escape") {
      if (typing) document.activeElement.blur();
      shut();
    } else if (typing) {
      return;
    } else if (event.key === "/") {
      event.preventDefault();
      form.q.focus();
    } else {
      const inside = $("gallery").contains(document.activeElement);
      const step = { j: 1, k: -1, ...(inside && { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }) }[event.key];
      if (step) { event.preventDefault(); choose(Math.max(0, chosen + step), document.body.classList.contains("opened")); }
    }
  });
  measure();
  recall();
})();
