// How a value is written for a person. Types and ids are what a stranger sent: characters that steer the text
// are shown as their code points, and what is long is cut, with its length.

const STEERING = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu;
// Marks that stand on a letter can be piled up until they cover the lines above; no writing needs more than four.
const PILE = /(\p{M}{4})(\p{M}+)/gu;
const LANGUAGE = "en";

export function plain(value, limit = 80) {
  if (value === null || value === undefined) return "–";
  const all = String(value);
  if (!all.trim()) return all ? "(blank)" : "(empty)";
  const cut = Array.from(all.slice(0, 2 * limit)).slice(0, limit).join("");
  const shown = cut.replace(STEERING, (one) => `<U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
  const flat = shown.replace(PILE, (_, few, more) => `${few}<${count(Array.from(more).length)} more marks>`);
  return cut.length === all.length ? flat : `${flat}… (${count(all.length)} characters)`;
}

const whole = new Intl.NumberFormat(LANGUAGE);
const tenths = new Intl.NumberFormat(LANGUAGE, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = (value) => whole.format(value);
export const decimal = (value) => tenths.format(value);
export const many = (value, one, more = `${one}s`) => `${count(value)} ${value === 1 ? one : more}`;

const full = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("sv-SE", { timeStyle: "medium" });
const minutes = new Intl.DateTimeFormat("sv-SE", { timeStyle: "short" });
const day = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short" });

export const moment = (seconds) => (seconds === null ? "–" : full.format(seconds * 1000));

// The same without the day, where it is today's.
export function lately(seconds) {
  const today = day.format(Date.now()) === day.format(seconds * 1000);
  return (today ? clock : full).format(seconds * 1000);
}

// A moment on an axis: as much of it as a piece of time of this width needs.
export function tick(seconds, width, spansDays) {
  if (width >= 86400) return day.format(seconds * 1000);
  if (spansDays) return full.format(seconds * 1000).slice(5, 16);
  return (width < 60 ? clock : minutes).format(seconds * 1000);
}

export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

export function width(seconds) {
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [size, name] = units.find(([one]) => seconds % one === 0) ?? [1, "second"];
  return many(seconds / size, name);
}
