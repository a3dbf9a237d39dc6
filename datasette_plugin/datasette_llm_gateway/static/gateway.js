// Small comforts; every screen works without them.
(() => {
  "use strict";
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Filters: what is left empty does not make the address long.
  $$("form.gw-filters").forEach((form) =>
    form.addEventListener("submit", () =>
      $$("input, select", form).forEach((field) => { if (!field.value) field.disabled = true; })));
  addEventListener("pageshow", () => $$("form.gw-filters :disabled").forEach((field) => { field.disabled = false; }));

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
