// The report page: asks for the report as long as somebody looks, and shows it. What a figure means is decided
// by the server; how a value is written, by words.js.

import { TimeChart, showFunnel, showShare } from "./charts.js";
import { COLUMNS, fill } from "./tables.js";
import { count, decimal, many, moment, plain, zone } from "./words.js";

const SHORTEST_WAIT = 400; // milliseconds between two looks: an event is to be seen within a second
const LONGEST_WAIT = 5000; // however long a report took
const find = (id) => document.getElementById(id);
const filters = find("filters");
const charts = [
  new TimeChart(find("time-events"), "Events and refused calls over time", [
    { key: "events", name: "Events", shape: "bar", style: "", sum: true },
    { key: "refused", name: "Refused calls", shape: "bar", style: "refused", sum: true },
  ], 180),
  new TimeChart(find("time-people"), "People and entities over time", [
    { key: "people", name: "People", shape: "line", style: "" },
    { key: "entities", name: "Entities", shape: "line", style: "second" },
  ], 120),
];
const endpoint = `${location.origin}/v2.0/events`;
let paused = false;
let version = "";
let asked = "";
let timer = 0;
let looking = false;
let again = false; // asked to look while it looked
let pressed = 0; // how often Pause was: what was asked for before is not shown afterwards

// --- what is asked for ---------------------------------------------------------------------------------------

function chosen() {
  const form = new FormData(filters);
  const query = new URLSearchParams();
  for (const name of ["type", "entity_id"]) if (form.get(name)) query.set(name, form.get(name));
  const period = form.get("period");
  if (period === "between") {
    for (const [field, name] of [["from", "since"], ["to", "until"]]) {
      const time = Date.parse(form.get(field));
      if (!Number.isNaN(time)) query.set(name, String(time / 1000));
    }
  } else if (period) {
    // Moved on in steps: between two of them nothing is computed anew.
    const step = Math.max(1, period / 300);
    query.set("since", String(Math.floor((Date.now() / 1000 - period) / step) * step));
  }
  return query;
}

function address(path, query) {
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

function withCalls(query) {
  const more = new URLSearchParams(query);
  if (find("only-refused").checked) more.set("calls", "refused");
  return more;
}

async function look() {
  clearTimeout(timer);
  again = looking;
  if (looking) return;
  looking = true;
  const began = performance.now();
  const before = pressed;
  let wait = SHORTEST_WAIT;
  try {
    const url = address("/emulator/report", withCalls(chosen()));
    const headers = url === asked && version ? { "if-none-match": version } : {};
    const answer = await fetch(url, { headers, cache: "no-store" });
    if (answer.status !== 304) {
      const report = await answer.json();
      if (!answer.ok) throw new Error(report.error);
      if (before === pressed) {
        asked = url;
        version = answer.headers.get("etag");
        show(report);
      }
      // A report that takes long is asked for less often, so that looking never becomes the load.
      wait = Math.min(Math.max(wait, 2 * (performance.now() - began)), LONGEST_WAIT);
    }
    state(paused ? "paused" : "live");
    trouble("");
  } catch (error) {
    wait = 2000;
    version = "";
    state("lost");
    trouble(error instanceof TypeError ? "The emulator cannot be reached. Is it still running? This page goes on trying." : plain(error.message, 300));
  } finally {
    looking = false;
    if (again) timer = setTimeout(look, 0);
    else if (!paused && !document.hidden) timer = setTimeout(look, wait);
  }
}

// --- what is shown -------------------------------------------------------------------------------------------

const set = (id, text) => {
  if (find(id).textContent !== text) find(id).textContent = text;
};

function state(name) {
  const chip = find("live");
  chip.dataset.state = name;
  set("live", { live: "Live", paused: "Paused", lost: "Not reachable" }[name]);
}

function trouble(text) {
  find("trouble").hidden = !text;
  set("trouble", text);
}

function show({ figures, calls, names, faults, key }) {
  showQuestions(figures);
  for (const name of ["events", "refused", "people", "searches", "completions"]) set(name, count(figures[name]));
  set("entities-count", count(figures.entities));
  find("refused").className = figures.refused ? "alarm" : "";
  for (const chart of charts) chart.show(figures.over_time, figures.width);
  showFunnel(find("funnel"), figures.funnel);
  const tell = (shown, all, what) => (shown.length < all ? `The first ${count(shown.length)} of ${count(all)} ${what}; all are in the CSV` : many(all, what.replace(/ies$/, "y").replace(/s$/, ""), what));
  fill(find("by-type"), tell(figures.by_type, figures.types, "types"), COLUMNS.types, figures.by_type, "No event yet");
  fill(find("by-entity"), tell(figures.by_entity, figures.entities, "entities"), COLUMNS.entities, figures.by_entity, "No event with an entity yet");
  const most = figures.courses.length >= 50 ? "The 50 with the most saves and completions; all are in the CSV" : many(figures.courses.length, "course");
  fill(find("courses"), most, COLUMNS.courses, figures.courses, "No event with a course yet");
  fill(find("time-table"), "Newest first", COLUMNS.time, figures.over_time.toReversed(), "Nothing yet");
  const refused = find("only-refused").checked;
  fill(find("calls"), `The latest ${count(calls.length)}, newest first`, COLUMNS.calls, calls, refused ? "No call was refused" : "No call yet");
  choices("types", names.type);
  choices("entities", names.entity);
  const planned = faults.faults.map((fault, index) => `${fault}: given ${many(faults.given[index], "time")}`);
  if (faults.latency_ms || faults.jitter_ms) planned.push(`each answer waits ${faults.latency_ms} ms${faults.jitter_ms ? ` and up to ${faults.jitter_ms} ms more` : ""}`);
  find("faults").hidden = !planned.length;
  find("faults").querySelector("ul").replaceChildren(...planned.map((line) => Object.assign(document.createElement("li"), { textContent: plain(line, 300) })));
  const nothing = !figures.events && !figures.refused && !filtered();
  find("welcome").hidden = !nothing;
  showExamples(key);
  for (const part of document.querySelectorAll("[data-later]")) part.hidden = nothing;
  set("span", figures.first_at === null ? "" : `Events from ${moment(figures.first_at)} to ${moment(figures.last_at)}.`);
}

function showQuestions(figures) {
  set("people-with-completion", count(figures.people_with_completion));
  const nobody = figures.completions_without_user;
  set("people-note", `of ${many(figures.people, "person", "people")} seen${nobody ? `; ${many(nobody, "completion")} without a user` : ""}`);
  showShare(find("people-with-completion-share"), figures.people_with_completion, figures.people);
  const ratio = figures.completions_per_hundred_searches;
  set("per-hundred", ratio === null ? "–" : decimal(ratio));
  showShare(find("per-hundred-share"), ratio ?? 0, 100);
  set("per-hundred-note", ratio === null ? "no search yet" : `${many(figures.completions, "completion")}, ${many(figures.searches, "search", "searches")}`);
  set("hours", figures.durations ? decimal(figures.hours) : "–");
  const unknown = figures.completions_without_duration;
  const missing = unknown ? `; ${many(unknown, "completion")} without a known duration` : "";
  set("hours-note", figures.durations ? `durations of ${many(figures.durations, "course")} known${missing}` : "the durations of the courses are not loaded");
}

// The key is null where this emulator was started with keys of its own: a page shows none of those.
function showExamples(key) {
  set("example", `curl -H 'x-api-key: ${key ?? "YOUR-KEY"}' '${endpoint}?type=course-save&course_id=7&user_id=ann'`);
  set("exports", `export OTEL_EXPORTER_OCM_ENDPOINT=${endpoint}\nexport OTEL_EXPORTER_OCM_API_KEY=${key ?? "YOUR-KEY"}`);
  find("which-key").hidden = key !== null;
}

function choices(id, values) {
  const told = JSON.stringify(values);
  if (find(id).told === told) return;
  find(id).told = told;
  find(id).replaceChildren(...values.map((value) => Object.assign(document.createElement("option"), { value })));
}

// --- what a person does --------------------------------------------------------------------------------------

const filtered = () => ["type", "entity_id", "period"].some((name) => filters.elements[name].value);

function refilter() {
  for (const label of filters.querySelectorAll(".between")) label.hidden = filters.elements.period.value !== "between";
  find("everything").hidden = !filtered();
  const query = chosen();
  for (const link of document.querySelectorAll("a.csv")) {
    const table = link.dataset.table;
    link.href = address(`/emulator/tables/${table}.csv`, table === "calls" ? withCalls(query) : query);
    link.setAttribute("aria-label", `${table} as CSV`);
  }
  version = "";
  const words = ["type", "entity_id"].map((name) => query.get(name)).filter(Boolean).map((value) => plain(value));
  look().then(() => set("said", filtered() ? `Showing ${find("events").textContent} events ${words.join(", ")}` : ""));
}

let typing = 0;
filters.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(refilter, 200);
});
filters.addEventListener("submit", (event) => event.preventDefault());
find("only-refused").addEventListener("change", refilter);
find("everything").addEventListener("click", () => {
  filters.reset();
  filters.elements.type.focus();
  refilter();
});
document.addEventListener("click", (event) => {
  const picked = event.target.closest?.(".pick");
  if (!picked) return;
  filters.elements[picked.dataset.pick].value = picked.dataset.value;
  refilter();
});
find("pause").addEventListener("click", () => {
  paused = !paused;
  pressed += 1;
  find("pause").setAttribute("aria-pressed", String(paused));
  state(paused ? "paused" : "live");
  if (!paused) look();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !paused) look();
});

find("durations").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  try {
    const answer = await fetch("/emulator/durations", { method: "PUT", headers: { "content-type": "text/csv" }, body: file });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    set("durations-help", `${many(told.courses, "course")} loaded`);
    await look();
  } catch (error) {
    set("durations-help", `Not loaded: ${plain(error.message, 300)}`);
    set("said", `Not loaded: ${plain(error.message, 300)}`);
  }
  event.target.value = "";
});

const theme = find("theme");
theme.value = localStorage.getItem("theme") ?? "auto";
const paint = () => {
  document.documentElement.dataset.theme = theme.value;
};
theme.addEventListener("change", () => {
  localStorage.setItem("theme", theme.value);
  paint();
});

paint();
set("endpoint", endpoint);
set("zone", zone());
refilter();
