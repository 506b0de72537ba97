// Tables whose cells hold what strangers sent: text only, each in its own direction, never markup.

import { count, decimal, lately, moment, plain } from "./words.js";

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// What it is to a screen reader, in words: on a phone the rows are laid out as blocks, which takes the tag's own meaning.
function role(name, made) {
  made.setAttribute("role", name);
  return made;
}

function isolated(value, limit = 48) {
  const made = element("bdi", "", plain(value, limit));
  if (value !== null && String(value).length > limit) made.title = plain(value, 400);
  return made;
}

// A value that, once pressed, is what the page is filtered by.
function picker(name, value) {
  const button = element("button", "pick", isolated(value));
  button.type = "button";
  Object.assign(button.dataset, { pick: name, value });
  return button;
}

function time(seconds) {
  const made = element("time", "", lately(seconds));
  made.dateTime = new Date(seconds * 1000).toISOString();
  made.title = moment(seconds);
  return made;
}

function cell(kind, row, key, header) {
  const name = header ? "th" : "td";
  const value = row[key];
  if (kind === "count") return element(name, "number", value === null ? "–" : count(value));
  if (kind === "hours") return element(name, "number", value === null ? "–" : decimal(value));
  if (kind === "moment") return element(name, "time", value === null ? "–" : time(value));
  if (kind === "outcome") return element(name, value ? "outcome" : "outcome refused", value ? "counted" : "refused");
  if (kind === "status") return element(name, "number", value ? String(value) : "none");
  if (kind === "reason") return reason(row);
  if (kind === "key" && value !== null) return element(name, "key", isolated(value));
  if (value === null) return element(name, "none", "–");
  return element(name, "text", kind === "text" ? isolated(value) : picker(kind, value));
}

function reason(row) {
  if (!row.reason) return element("td", "none", "–");
  const made = element("td", "reason", isolated(row.reason, 200));
  if (row.remedy) made.append(element("small", "", row.remedy));
  return made;
}

const NUMBERS = new Set(["count", "hours", "status"]);

// columns: [[key, name, kind]]; the first one heads its row. Rows that a reader has not seen yet light up.
export function fill(table, caption, columns, rows, nothing) {
  const told = JSON.stringify([caption, rows]);
  if (table.told === told) return;
  const seen = table.told === undefined ? null : table.seen;
  const focused = table.contains(document.activeElement) ? document.activeElement.dataset : null;
  const heads = columns.map(([, name, kind]) => {
    const head = element("th", NUMBERS.has(kind) ? "number" : "", name);
    head.scope = "col";
    return role("columnheader", head);
  });
  const lines = rows.map((row) => {
    const cells = columns.map(([key, label, kind], index) => {
      const made = cell(kind, row, key, index === 0);
      made.dataset.label = label;
      if (index === 0) made.scope = "row";
      return role(index === 0 ? "rowheader" : "cell", made);
    });
    return role("row", element("tr", seen && row.id && !seen.has(row.id) ? "new" : "", ...cells));
  });
  if (!rows.length) {
    const empty = element("td", "nothing", nothing);
    empty.colSpan = columns.length;
    lines.push(role("row", element("tr", "", role("cell", empty))));
  }
  role("table", table).replaceChildren(
    element("caption", "", caption),
    role("rowgroup", element("thead", "", role("row", element("tr", "", ...heads)))),
    role("rowgroup", element("tbody", "", ...lines)),
  );
  table.told = told;
  table.seen = new Set(rows.map((row) => row.id));
  if (focused?.pick) {
    const same = [...table.querySelectorAll(".pick")];
    same.find((one) => one.dataset.pick === focused.pick && one.dataset.value === focused.value)?.focus();
  }
}

export const COLUMNS = {
  courses: [
    ["course_id", "Course", "text"], ["clicks", "Clicks", "count"], ["saves", "Saves", "count"],
    ["suggestions", "Suggestions", "count"], ["completions", "Completions", "count"], ["hours", "Hours", "hours"],
    ["events", "All events", "count"],
  ],
  types: [["type", "Type", "type"], ["events", "Events", "count"], ["people", "People", "count"], ["last_at", "Last", "moment"]],
  entities: [
    ["entity_id", "Entity", "entity_id"], ["events", "Events", "count"], ["people", "People", "count"],
    ["completions", "Completions", "count"], ["hours", "Hours", "hours"],
  ],
  time: [
    ["start", "From", "moment"], ["events", "Events", "count"], ["refused", "Refused", "count"],
    ["people", "People", "count"], ["entities", "Entities", "count"], ["completions", "Completions", "count"],
  ],
  calls: [
    ["received_at", "Time", "moment"], ["counted", "Outcome", "outcome"], ["status", "Status", "status"],
    ["type", "Type", "type"], ["course_id", "Course", "text"], ["user_id", "User", "text"],
    ["entity_id", "Entity", "entity_id"], ["key", "Key", "key"], ["reason", "What was wrong", "reason"],
  ],
};
