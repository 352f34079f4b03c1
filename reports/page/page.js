"use strict";
// The page is whole without this: it adds filters, buttons that copy commands, and opens what a link
// points at.
(() => {
  const form = document.querySelector(".filters");
  const all = [...document.querySelectorAll("details[data-verdict]")];
  const chapters = [...document.querySelectorAll(".chapter")];
  const words = new Map(all.map(d => [d, d.querySelector("summary").textContent.toLowerCase()]));
  const said = form.querySelector("output");
  const apply = () => {
    const text = form.elements.text.value.trim().toLowerCase();
    const level = form.elements.level.value, chapter = form.elements.chapter.value;
    const verdicts = new Set([...form.querySelectorAll("[name=verdict]:checked")].map(i => i.value));
    let shown = 0;
    for (const d of all) {
      const show = verdicts.has(d.dataset.verdict) && (!level || d.dataset.level === level) && (!chapter || d.dataset.chapter === chapter) && words.get(d).includes(text);
      d.hidden = !show;
      if (show) shown++;
    }
    for (const c of chapters) c.hidden = !c.querySelector("details:not([hidden])");
    said.textContent = shown === all.length ? `all ${shown} behaviors are shown` : `${shown} of ${all.length} behaviors are shown`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", e => e.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  form.querySelector("[data-do=open]").addEventListener("click", () => { for (const d of all) if (!d.hidden) d.open = true; });
  form.querySelector("[data-do=close]").addEventListener("click", () => { for (const d of all) d.open = false; });
  document.addEventListener("keydown", e => {
    if (e.key === "/" && !e.ctrlKey && !e.metaKey && !e.altKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      e.preventDefault();
      form.elements.text.focus();
    }
  });
  const copy = async (code, button) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch { // no secure origin, or not allowed: the reader copies what is selected
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  for (const code of document.querySelectorAll("code")) {
    if (!code.textContent.includes(" ")) continue; // a name, no command
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", () => copy(code, button));
    code.after(button);
  }
  const follow = () => {
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch { return; } // a link that somebody cut in the middle of a letter
    const target = id && document.getElementById(id);
    if (!target) return;
    if (target.matches("details")) {
      if (target.hidden) { form.reset(); for (const d of all) d.hidden = false; for (const c of chapters) c.hidden = false; }
      target.open = true;
      target.querySelector("summary").focus({ preventScroll: true });
    }
    target.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  apply();
  follow();
})();
