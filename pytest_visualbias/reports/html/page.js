"use strict";
(() => {
  const table = document.querySelector(".results");
  if (!table) return;
  const controls = document.querySelector(".filters");
  const rest = document.getElementById("rest");
  const said = document.getElementById("shown");
  const text = controls.querySelector("input");
  const selects = [...controls.querySelectorAll("select")];
  const rows = [...table.tBodies].map((body) => ({
    body,
    cells: body.rows[0].cells,
    words: `${body.rows[0].textContent} ${body.dataset.words}`.toLowerCase(),
  }));

  const holds = (row) =>
    selects.every((one) => one.value === "" || row.body.dataset[one.name].split(" ").includes(one.value)) &&
    text.value.toLowerCase().split(/\s+/).every((word) => row.words.includes(word));

  // A long table is shown in part, so that what stands below it is not far away.
  const FIRST = 100;
  let most = FIRST;

  const show = () => {
    let count = 0;
    for (const row of rows) {
      const fits = holds(row);
      row.body.hidden = !fits || count >= most;
      count += fits ? 1 : 0;
    }
    rest.hidden = count <= most;
    const part = count > most ? `, of which the first ${most} are shown` : "";
    said.textContent = `${count} of ${rows.length} results${part}.`;
  };

  const filter = () => {
    most = FIRST;
    show();
  };

  // What has no value stays last, whichever way the others are sorted.
  const compare = (column, sign) => (one, other) => {
    const [a, b] = [one, other].map((row) => row.cells[column]);
    const [x, y] = [a, b].map((cell) => cell.dataset.v ?? cell.textContent.trim());
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * ("v" in a.dataset ? Number(x) - Number(y) : x.localeCompare(y));
  };

  const sort = (header) => {
    const way = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    for (const one of header.parentElement.cells) one.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", way);
    rows.sort(compare(header.cellIndex, way === "ascending" ? 1 : -1));
    table.append(...rows.map((row) => row.body));
    show();
  };

  const all = () => {
    most = Infinity;
    show();
  };

  const open = () => {
    const body = document.getElementById(location.hash.slice(1));
    const toggle = body && body.matches(".results tbody") && body.querySelector("details");
    if (!toggle) return;
    if (body.hidden) {
      clear();
      all();
    }
    toggle.open = true;
    body.scrollIntoView();
  };

  const clear = () => {
    text.value = "";
    for (const one of selects) one.value = "";
    filter();
  };

  controls.hidden = false;
  controls.addEventListener("input", filter);
  controls.addEventListener("change", filter);
  controls.addEventListener("submit", (event) => event.preventDefault());
  rest.addEventListener("click", all);
  controls.querySelector("button").addEventListener("click", clear);
  for (const header of table.tHead.rows[0].cells) {
    header.querySelector("button").addEventListener("click", () => sort(header));
  }
  for (const link of document.querySelectorAll("a[data-o]")) {
    link.addEventListener("click", () => {
      clear();
      selects.find((one) => one.name === "o").value = link.dataset.o;
      filter();
    });
  }
  window.addEventListener("hashchange", open);
  filter();
  open();
})();
