"use strict";

// Theme: as the system has it, or the one chosen here
const root = document.documentElement;
const theme = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
const nameTheme = () => { theme.textContent = isDark() ? "Light theme" : "Dark theme"; };
theme.hidden = false;
nameTheme();
dark.addEventListener("change", nameTheme);
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
  try { localStorage.setItem("schuss-theme", root.dataset.theme); } catch { /* for this visit only */ }
});

// Tables: a click on a heading sorts by its column, again turns it round; cells without a value stay at the end
function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
}
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}
function sort(heading) {
  const table = heading.closest("table");
  const column = heading.cellIndex;
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) {
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  }
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
  rows.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return ascending ? compare(a, b) : compare(b, a);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
for (const button of document.querySelectorAll("th[aria-sort] > button")) {
  button.addEventListener("click", () => sort(button.parentElement));
}

// On paper all that is folded is open
const folded = document.querySelectorAll("details");
addEventListener("beforeprint", () => { for (const part of folded) { part.dataset.was = part.open; part.open = true; } });
addEventListener("afterprint", () => { for (const part of folded) part.open = part.dataset.was === "true"; });
