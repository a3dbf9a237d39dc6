// Small comforts; every screen works without them.
(() => {
  "use strict";
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Filters: what is left empty does not make the address long.
  $$("form[method=get]").forEach((form) =>
    form.addEventListener("submit", () =>
      $$("input, select", form).forEach((field) => { if (!field.value) field.disabled = true; })));
  addEventListener("pageshow", () => $$("form[method=get] :disabled").forEach((field) => { field.disabled = false; }));

  // A narrow window shows a part of the navigation: the part where one is.
  document.querySelector(".gw-nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // Copy: the text of an element (#id), or of an address of ours.
  $$("[data-copy]").forEach((button) => {
    if (!navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const from = button.dataset.copy;
      const label = button.textContent;
      try {
        const text = from[0] === "#" ? document.querySelector(from).textContent : await (await fetch(from)).text();
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch { button.textContent = "Not copied"; }
      setTimeout(() => { button.textContent = label; }, 1500);
    });
  });

  // What runs is looked at again when the recorder was written, or else every two seconds; while
  // somebody looks, and not under somebody's cursor.
  const parts = $$("[data-poll]");
  if (parts.length) {
    const said = document.querySelector("[data-poll-state]");
    const say = (text) => { if (said && said.textContent !== text) said.textContent = text; };
    const OFTEN = 2000, SELDOM = 10000, SILENT = 4000, STALE = 30000;
    const seen = new Map();
    let stream = null, told = false, kept = !window.EventSource, timer = 0, late = 0, busy = false, again = false;

    // What is over changes when something ends; else only its ages do.
    const ids = () => $$("[id]", parts[0]).map((one) => one.id).join();
    let listed = ids(), last = Date.now();
    const due = () => ids() !== listed || Date.now() - last > STALE;

    const held = (part) => {
      const chosen = getSelection();
      return part.contains(document.activeElement) || (chosen.type === "Range" && part.contains(chosen.anchorNode));
    };
    const show = (part, html) => {
      if (html === seen.get(part)) return;
      seen.set(part, html);
      const open = $$("details", part).map((one) => one.open);
      part.innerHTML = html;  // escaped by the server, as on the page
      $$("details", part).forEach((one, index) => { if (open[index]) one.open = true; });
      if (part.querySelector("[data-over]")) location.reload();
    };
    const look = async () => {
      if (busy) { again = true; return; }
      busy = true; again = false;
      clearTimeout(timer);
      try {
        for (const part of parts) {
          if (held(part) || (part !== parts[0] && !due())) continue;
          const answer = await fetch(part.dataset.poll, { headers: { accept: "text/html" } });
          if (!answer.ok) throw new Error(answer.statusText);
          const html = await answer.text();
          if (held(part)) continue;
          show(part, html);
          if (part !== parts[0]) { listed = ids(); last = Date.now(); }
        }
        say(parts.some(held) ? "Waits while you are in it" : "Live, looked at " + new Date().toLocaleTimeString([], { hour12: false }));
      } catch { say("Datasette does not answer"); }
      busy = false;
      if (again) look(); else plan();
    };
    const plan = () => {
      clearTimeout(timer);
      if (document.visibilityState === "visible") timer = setTimeout(look, told && !parts.some(held) ? SELDOM : OFTEN);
    };
    const by = (events) => { told = events; document.body.dataset.live = events ? "events" : "looks"; };

    // Where no event comes a proxy keeps the stream back; then looking is the way.
    const listen = () => {
      if (kept || stream) return;
      stream = new EventSource(parts[0].dataset.changes);
      late = setTimeout(() => { kept = true; leave(); plan(); }, SILENT);
      stream.addEventListener("written", () => { clearTimeout(late); by(true); look(); });
      stream.addEventListener("error", () => {
        clearTimeout(late);
        by(false);
        if (stream?.readyState === EventSource.CLOSED) { kept = true; leave(); }
        plan();
      });
    };
    const leave = () => { clearTimeout(late); stream?.close(); stream = null; by(false); };
    const wake = () => {
      if (document.visibilityState === "visible") { look(); listen(); } else { clearTimeout(timer); leave(); }
    };
    document.addEventListener("visibilitychange", wake);
    addEventListener("pagehide", leave);
    addEventListener("pageshow", (event) => { if (event.persisted) wake(); });
    by(false);
    if (document.visibilityState === "visible") { plan(); listen(); }
  }

  // Keys: / goes to the text filter, j and k through the rows, Enter opens.
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "/") {
      const field = document.querySelector("[data-key='/']");
      if (field) { event.preventDefault(); field.focus(); field.select(); }
    } else if (event.key === "j" || event.key === "k") {
      const rows = $$("[data-row]");
      const here = rows.findIndex((row) => row.classList.contains("is-here"));
      const next = rows[Math.max(0, Math.min(rows.length - 1, here + (event.key === "j" ? 1 : -1)))];
      if (!next) return;
      rows.forEach((row) => row.classList.toggle("is-here", row === next));
      next.querySelector("a")?.focus({ preventScroll: true });
      next.scrollIntoView({ block: "nearest" });
    }
  });
})();
