"use strict";
// Sorting by a click on a column's head, hiding of a curve's series, and a check of the page itself:
// the root element ends with data-check="ok" or with what is wrong.
(function () {
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));

  function value(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.v === undefined) return cell.textContent;
    return cell.dataset.v === "" ? -Infinity : Number(cell.dataset.v);
  }

  function sort(head) {
    const table = head.closest("table");
    const column = head.cellIndex;
    const down = head.getAttribute("aria-sort") !== "descending";
    all("th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    rows.sort(function (a, b) {
      const x = value(a, column), y = value(b, column);
      const order = typeof x === "number" ? (x < y ? -1 : x > y ? 1 : 0) : x.localeCompare(y);
      return down ? -order : order;
    });
    rows.forEach((row) => body.appendChild(row));
  }

  all("th[aria-sort]").forEach(function (head) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", () => sort(head));
  });

  all("input[data-series]").forEach(function (box) {
    box.disabled = false;
    box.addEventListener("change", function () {
      all("." + box.dataset.series, box.closest("section")).forEach(function (group) {
        group.classList.toggle("off", !box.checked);
      });
    });
  });

  // A table shows equal ranks once; its rows say how many rows of the data they stand for.
  function faults() {
    const found = [];
    all("section[data-run]").forEach(function (section) {
      const data = JSON.parse(document.getElementById("data-" + section.dataset.run).textContent);
      const shown = all("table.rows tbody tr", section);
      const stands_for = shown.reduce((sum, row) => sum + Number(row.dataset.ranks), 0);
      const ledger = data.rows || [].concat.apply([], data.devices.map((device) => device.ledger));
      const expected = ledger.length + (data.rows ? 1 : 0);
      if (stands_for !== expected) found.push("rows " + stands_for + " of " + expected);
      const charts = Number(section.dataset.charts);
      if (all("svg.chart", section).length !== charts) found.push("charts are missing");
      all("svg.chart", section).forEach(function (svg) {
        if (!svg.querySelector("title") || !svg.querySelector("desc")) found.push("a chart has no title");
        if (/NaN|inf/.test(svg.innerHTML.replace(/<title>[^<]*<\/title>|<text[^>]*>[^<]*<\/text>/g, ""))) {
          found.push("a chart has no number");
        }
      });
      if (data.rows) {
        const word = section.querySelector(".verdict").classList.contains("fail");
        if (word !== (data.verdict !== "within_tolerance")) found.push("the headline contradicts the data");
      }
    });
    return found;
  }

  // Sorts every sortable column twice, compares the order, and puts the rows back.
  function sorting_faults() {
    const found = [];
    all("table").forEach(function (table) {
      const body = table.tBodies[0];
      const before = Array.from(body.rows);
      all("th[aria-sort] button", table).forEach(function (button) {
        const head = button.closest("th");
        button.click();
        button.click();
        const seen = Array.from(body.rows).map((row) => value(row, head.cellIndex));
        for (let i = 1; i < seen.length; ++i) {
          const rising = typeof seen[i] === "number" ? seen[i - 1] <= seen[i]
                                                     : seen[i - 1].localeCompare(seen[i]) <= 0;
          if (!rising) found.push("column " + head.textContent + " does not sort");
        }
      });
      before.forEach((row) => body.appendChild(row));
      all("th[aria-sort]", table).forEach((head) => head.setAttribute("aria-sort", "none"));
    });
    return found;
  }

  const root = document.documentElement;
  let found;
  try {
    found = faults();
    if (location.hash === "#check") {
      const sortable = all("th[aria-sort]").length;
      found = found.concat(sorting_faults(), sortable === 0 ? ["nothing sorts"] : []);
      all("input[data-series]").forEach(function (box) {
        box.click();
        if (!document.querySelector("." + box.dataset.series + ".off")) found.push("a series stays");
        box.click();
      });
    }
  } catch (error) {
    found = ["stopped: " + error.message];
  }
  root.dataset.rows = String(all("table.rows tbody tr").length);
  root.dataset.charts = String(all("svg.chart").length);
  root.dataset.check = found.length === 0 ? "ok" : "failed: " + found.join("; ");
})();
