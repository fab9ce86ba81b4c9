/* Tables that can be sorted, filtered and downloaded. Without this script they are plain tables. */
document.addEventListener("DOMContentLoaded", () => {
  const DataTable = window.DataTable;
  const NUMBER = /^[-+]?[\d,]*\.?\d+%?(?=$|\s)/;
  const plain = (cell) => String(cell).replace(/<[^>]*>/g, "").replace(/&nbsp;/g, " ").trim();
  const isBlank = (text) => text === "" || text === "–";

  /* A number, an estimate with its deviation, or a dash where there is none. */
  const valueOf = (cell) => {
    const found = plain(cell).match(NUMBER);
    return found ? parseFloat(found[0].replace(/[,%]/g, "")) : NaN;
  };
  const lastBlank = (sign) => (a, b) =>
    Number.isNaN(a) || Number.isNaN(b) ? Number.isNaN(a) - Number.isNaN(b) : sign * (a - b);
  DataTable.type("estimate", {
    detect: (cell) => isBlank(plain(cell)) || NUMBER.test(plain(cell)),
    order: { pre: valueOf, asc: lastBlank(1), desc: lastBlank(-1) },
  });

  const scrolls = (table) => {
    const region = document.createElement("div");
    const name = table.caption ? table.caption.textContent.trim() : "Table";
    region.className = "table-scroll";
    region.tabIndex = 0;
    region.setAttribute("role", "region");
    region.setAttribute("aria-label", name);
    table.replaceWith(region);
    region.append(table);
  };

  /* What a cell is filtered by: its text, of a verdict the kind alone. */
  const kindOf = (cell) => {
    const box = document.createElement("div");
    box.innerHTML = cell;
    const mark = box.querySelector(".verdict");
    return mark ? mark.lastChild.textContent.trim() : box.textContent.trim();
  };

  /* A choice of the values of a column, for tables that name columns to filter by. */
  const choice = (column, name) => {
    const label = document.createElement("label");
    const select = document.createElement("select");
    const values = [...new Set(column.data().toArray().map(kindOf))].sort();
    select.append(new Option("all", ""), ...values.map((value) => new Option(value)));
    select.addEventListener("change", () => {
      const isChosen = (text, row) => kindOf(row[column.index()]) === select.value;
      column.search(select.value ? isChosen : "").draw();
    });
    label.append(`${name} `, select);
    return label;
  };

  document.querySelectorAll("article .cell_output:has(img)").forEach((output) => {
    output.tabIndex = 0;
    output.setAttribute("role", "region");
    output.setAttribute("aria-label", "Figure");
  });

  const tables = document.querySelectorAll("article table.dataframe, article table.table");
  tables.forEach((table, index) => {
    const head = table.tHead;
    const spans = table.querySelector("tbody [rowspan], tbody [colspan]");
    const rows = table.tBodies.length ? table.tBodies[0].rows.length : 0;
    if (DataTable && head && !spans && rows > 2) {
      const filters = (table.dataset.filter || "").split(",").filter(Boolean);
      const bar = () => {
        const box = document.createElement("div");
        box.className = "table-filters";
        return box;
      };
      const api = new DataTable(table, {
        paging: false,
        info: filters.length > 0,
        searching: rows > 12 || filters.length > 0,
        order: [],
        autoWidth: false,
        language: { search: "Search", info: "_TOTAL_ rows", infoEmpty: "no rows", infoFiltered: "of _MAX_" },
        layout: {
          topStart: filters.length ? bar : null,
          topEnd: rows > 12 || filters.length ? "search" : null,
          bottomStart: filters.length ? "info" : null,
          bottomEnd: {
            buttons: [{ extend: "csv", text: "CSV", filename: `${document.title.split(" — ")[0]} ${index + 1}` }],
          },
        },
      });
      const place = api.table().container().querySelector(".table-filters");
      const heads = [...head.rows[head.rows.length - 1].cells].map((cell) => cell.textContent.trim());
      filters.forEach((name) => place.append(choice(api.column(heads.indexOf(name)), name)));
    }
    scrolls(table);
  });
});
