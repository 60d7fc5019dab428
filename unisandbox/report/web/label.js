(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const { questions, labels } = data;
  const KEYS = Object.fromEntries(data.choices.map((choice) => [choice[0], choice]));
  const open = (start = 0) => {
    for (let i = 0; i < questions.length; i++) {
      const place = (start + i) % questions.length;
      if (!(questions[place].id in labels)) return place;
    }
    return -1;
  };
  let place = Math.max(0, open());
  let busy = false;

  const buttons = data.choices.map((choice) => {
    const button = el("button", { type: "button", "data-label": choice }, choice);
    button.addEventListener("click", () => label(choice));
    return button;
  });
  $("choices").append(...buttons);

  function draw() {
    const question = questions[place];
    if (!question) {
      $("ask").textContent = "There is no judged picture in this run to label.";
      $("choices").hidden = true;
      return;
    }
    $("target").textContent = question.target;
    const image = el("img", { src: data.images + encodeURIComponent(question.image), alt: "the picture to label" });
    image.addEventListener("error", () => image.replaceWith("The picture cannot be read."), { once: true });
    $("frame").replaceChildren(image);
    $("rules").replaceChildren(...(data.rubrics[question.rubric] ?? []).map((rule) => el("p", {}, rule)));
    for (const button of buttons) button.setAttribute("aria-pressed", String(labels[question.id] === button.dataset.label));
    const given = questions.map((one) => labels[one.id]).filter(Boolean);
    const counts = data.choices.map((choice) => `${given.filter((one) => one === choice).length} ${choice}`).join(", ");
    $("state").textContent = `picture ${place + 1} of ${questions.length} · ${given.length} labelled: ${counts}`
      + (given.length === questions.length ? " · all done" : "");
  }

  async function send(path, body) {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }
  function tell(problem) {
    $("problem").textContent = problem;
    $("problem").hidden = !problem;
  }

  async function label(choice) {
    const question = questions[place];
    if (!question || busy) return;
    busy = true;
    try {
      await send("labels", { id: question.id, label: choice });
      tell("");
      labels[question.id] = choice;
      const next = open(place);
      place = next < 0 ? Math.min(place + 1, questions.length - 1) : next;
      draw();
      if ($("agreement").open) compare();
    } catch (error) {
      tell(`Not kept: ${error.message}. Is the viewer still running?`);
    } finally {
      busy = false;
    }
  }

  const figure = (one) => (one.value === null ? one.reason : `${one.value.toFixed(2)} [${one.low.toFixed(2)}, ${one.high.toFixed(2)}]`);
  async function compare() {
    const found = await (await fetch("agreement")).json();
    const cells = (tag, texts) => el("tr", {}, ...texts.map((text) => el(tag, {}, text)));
    $("agreement").querySelector("table").replaceChildren(
      ...(found.length ? [cells("th", ["judge", "pictures", "agree", "kappa"])] : [cells("td", ["No picture is labelled yes or no yet."])]),
      ...found.map((one) => cells("td", [one.judge, String(one.n), figure(one.agreed), figure(one.kappa)])));
  }
  $("agreement").addEventListener("toggle", () => { if ($("agreement").open) compare(); });
  $("export").addEventListener("click", async () => {
    try {
      const { images, labels } = await send("export", {});
      $("exported").textContent = `unisandbox calibrate JUDGE --images ${images} --labels ${labels}`;
    } catch (error) {
      tell(`Not exported: ${error.message}`);
    }
  });

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1, Backspace: -1 }[event.key];
    if (KEYS[event.key]) label(KEYS[event.key]);
    else if (step) {
      place = Math.min(Math.max(0, place + step), questions.length - 1);
      draw();
    }
  });
  draw();
})();
