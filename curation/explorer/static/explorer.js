// Keys, and heat over the picture without a new page. Everything here can be done without it.
"use strict";

const steps = () => [...document.querySelectorAll(".step")];
let current = -1;

function go(by) {
  const all = steps();
  if (!all.length) return;
  const focused = all.indexOf(document.activeElement.closest(".step"));
  current = Math.min(Math.max((focused < 0 ? current : focused) + by, 0), all.length - 1);
  all[current].focus();
  all[current].scrollIntoView({ block: "nearest" });
}

function judge(choice) {
  const row = document.activeElement.closest(".concept");
  const button = row && row.querySelector(`.verdict .${choice}`);
  if (button) button.click();
  return Boolean(button);
}

function glow(row) {
  const stage = document.querySelector(".stage");
  if (!stage || !row) return;
  let heat = stage.querySelector(".heat");
  const told = document.querySelector(".glow");
  if (heat && heat.getAttribute("src") === row.dataset.heat) {
    heat.remove();
    told.hidden = true;
    return;
  }
  if (!heat) {
    heat = document.createElement("img");
    heat.className = "heat";
    stage.append(heat);
  }
  heat.src = row.dataset.heat;
  heat.alt = `where ${row.dataset.word} shows`;
  told.querySelector("b").textContent = row.dataset.word;
  told.hidden = false;
}

function follow(rel) {
  const link = document.querySelector(`a[rel=${rel}]`);
  if (link) link.click();
  return Boolean(link);
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (typing && event.key === "Escape") typing.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    "/": () => document.getElementById("find")?.focus(),
    j: () => go(1),
    k: () => go(-1),
    y: () => judge("yes"),
    n: () => judge("no"),
    h: () => glow(document.activeElement.closest(".concept")),
    "[": () => follow("prev"),
    "]": () => follow("next"),
    Enter: () => {
      const link = document.activeElement.matches("tr.step, li.step") && document.activeElement.querySelector("a");
      return link ? link.click() : false;
    },
  };
  if (keys[event.key] && keys[event.key]() !== false) event.preventDefault();
});

document.addEventListener("click", (event) => {
  const where = event.target.closest("a.where");
  if (!where || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  glow(where.closest(".concept"));
});

// A judged row comes back as a new element: the focus goes on to the next that waits, as a person does.
document.addEventListener("htmx:afterSettle", () => {
  const all = steps();
  const judged = all[current] || null;
  const waiting = all.findIndex((row, at) => at >= current && !row.matches(".right, .wrong"));
  if (judged && !judged.matches(".right, .wrong")) judged.focus(); // it was taken back
  else if (waiting >= 0) all[(current = waiting)].focus();
  else if (judged) judged.focus();
});
document.addEventListener("focusin", (event) => {
  const at = steps().indexOf(event.target.closest(".step"));
  if (at >= 0) current = at;
});
