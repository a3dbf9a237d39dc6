// Small comforts; every screen works without them.
(() => {
  "use strict";
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Filters: what is left empty does not make the address long.
  $$("form.gw-filters").forEach((form) =>
    form.addEventListener("submit", () =>
      $$("input, select", form).forEach((field) => { if (!field.value) field.disabled = true; })));
  addEventListener("pageshow", () => $$("form.gw-filters :disabled").forEach((field) => { field.disabled = false; }));

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

  // What runs is looked at again every two seconds, while somebody looks.
  $$("[data-poll]").forEach((part) => {
    const said = document.querySelector("[data-poll-state]");
    const look = async () => {
      if (document.visibilityState === "visible" && !part.contains(document.activeElement)) {
        try {
          const answer = await fetch(part.dataset.poll, { headers: { accept: "text/html" } });
          if (!answer.ok) throw new Error(answer.statusText);
          const html = await answer.text();
          if (html !== seen) part.innerHTML = html;  // escaped by the server, as on the page
          seen = html;
          if (said) said.textContent = "Live, looked at " + new Date().toLocaleTimeString([], { hour12: false });
        } catch { if (said) said.textContent = "Datasette does not answer"; }
      }
      setTimeout(look, 2000);
    };
    let seen = "";
    setTimeout(look, 2000);
  });

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
